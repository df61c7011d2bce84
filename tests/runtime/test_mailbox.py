import asyncio
from typing import Any, ClassVar

import pytest

from duologue.runtime import (
    NO_REPLY,
    ActorSystem,
    Down,
    ExitReason,
    MailboxOverflow,
    Outcome,
    Overflow,
    TaskDone,
)
from tests.runtime.actors import Do, Echo, Ledger, Probe, log_of, turns


class Bounded(Probe):
    __slots__ = ()
    mailbox_max: ClassVar[int | None] = 3


class DropsOldest(Bounded):
    __slots__ = ()
    overflow = Overflow.DROP_OLDEST


class StopsWhenFull(Bounded):
    __slots__ = ()
    overflow = Overflow.STOP


async def test_messages_are_handled_in_the_order_of_sending_whatever_their_kind(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(1)
    ref.info(2)
    answer = ref.call(Do(lambda me, _: me.log.append(3)))
    ref.cast(4)
    await answer
    assert (await log_of(ref))[1:] == [1, 2, 3, 4]


async def test_an_idle_actor_has_no_queue_no_task_and_no_timer(system: ActorSystem):
    ref: Any = await system.start(Probe())
    await ref.call(Echo(), timeout=None)
    await turns()
    assert ref.queue is None
    assert (ref.timers, ref.tasks, ref.owed, ref.ties) == (None, None, None, None)
    assert len(asyncio.all_tasks()) == 1


async def test_a_handler_never_runs_in_the_senders_stack(system: ActorSystem):
    ref = await system.start(Probe())
    seen: list[str] = []
    ref.cast(lambda me: seen.append("handled"))
    seen.append("sent")
    await turns()
    assert seen == ["sent", "handled"]


async def test_an_actor_may_send_to_itself_without_end_and_others_are_still_served(system: ActorSystem):
    def again(me: Probe) -> None:
        me.ctx.ref.cast(again)

    flooding, other = system.spawn(Probe()), system.spawn(Probe())
    flooding.cast(again)
    for _ in range(10):
        assert await other.call(Echo("served")) == "served"
    flooding.kill()
    await flooding.wait()


async def test_a_turn_of_the_loop_handles_at_most_64_messages_of_one_actor(system: ActorSystem):
    actor = Probe()
    ref = await system.start(actor)
    for number in range(200):
        ref.cast(number)
    served: list[int] = []
    for _ in range(4):
        await asyncio.sleep(0)
        served.append(len(actor.log) - 1)
    assert served == [64, 128, 192, 200]


async def test_a_turn_takes_no_further_message_after_two_milliseconds(ledger: Ledger):
    now = [0.0]

    def work(me: Probe) -> None:
        now[0] += 0.0015
        me.log.append("worked")

    system = ActorSystem(telemetry=ledger, stopwatch=lambda: now[0])
    actor = Probe([])
    ref = await system.start(actor)
    for _ in range(5):
        ref.cast(work)
    await asyncio.sleep(0)
    assert actor.log == ["init", "worked", "worked"]
    await system.shutdown()


async def test_a_handler_that_holds_the_loop_is_named(ledger: Ledger):
    now = [0.0]

    def hold(me: Probe) -> None:
        now[0] += 0.2

    system = ActorSystem(telemetry=ledger, stopwatch=lambda: now[0], hold_limit=0.1)
    ref = system.spawn(Probe())
    ref.cast("quick")
    ref.cast(hold)
    await turns()
    assert ledger.events == [("held", "Probe", "function")]
    await system.shutdown()


async def test_a_full_mailbox_drops_the_newest_and_counts(system: ActorSystem):
    ref = await system.start(Bounded())
    for number in range(5):
        ref.cast(number)
    ref.info("info")
    await turns()
    assert (await log_of(ref))[1:] == [0, 1, 2]
    assert system.statistics().dropped_messages_total == 3


async def test_a_full_mailbox_may_drop_the_oldest_but_never_a_call(system: ActorSystem):
    ref = await system.start(DropsOldest())
    answer = ref.call(Echo("kept"))
    for number in range(5):
        ref.cast(number)
    assert await answer == "kept"
    assert (await log_of(ref))[1:] == [3, 4]


async def test_a_full_mailbox_may_stop_the_actor(system: ActorSystem, ledger: Ledger):
    ref = await system.start(StopsWhenFull())
    for number in range(5):
        ref.cast(number)
    assert await ref.wait() == ExitReason("overflow")
    assert ledger.events == [("crashed", "StopsWhenFull", "overflow")]


async def test_a_call_to_a_full_mailbox_is_refused_at_once(system: ActorSystem):
    ref = await system.start(Bounded())
    outcomes: list[Outcome[Any]] = []
    for number in range(3):
        ref.cast(number)
    answer = ref.call(Echo())
    ref.call_nowait(Echo(), outcomes.append)
    assert answer.done()
    with pytest.raises(MailboxOverflow, match="3 messages"):
        await answer
    await turns()
    assert isinstance(outcomes[0].error, MailboxOverflow)
    assert await ref.call(Echo("room again")) == "room again"


async def test_what_the_kernel_sends_never_overflows(system: ActorSystem):
    other = system.spawn(Probe())
    ref = await system.start(Bounded())

    async def fill(me: Probe) -> None:
        me.ctx.monitor(other)
        me.ctx.start_timer("t", 1.0, "ring")
        me.ctx.spawn(asyncio.sleep(1.0), name="work")
        await asyncio.sleep(0.5)
        for number in range(3):
            me.ctx.ref.cast(number)
        other.kill()
        await asyncio.sleep(1.0)

    ref.cast(fill)
    await asyncio.sleep(5.0)
    log = (await log_of(ref))[1:]
    assert log[:3] == [0, 1, 2]
    assert {type(entry) for entry in log[3:]} == {Down, TaskDone, str}


async def test_a_message_may_be_anything_even_what_the_kernel_uses(system: ActorSystem):
    one, other = system.spawn(Probe()), system.spawn(Probe())

    def forward(me: Probe, reply_to: Any) -> Any:
        other.cast([reply_to])
        other.cast((0, "not a call", None))
        return NO_REPLY

    answer = one.call(Do(forward))
    await turns()
    _, (reply_to,), entry = await log_of(other)
    assert entry == (0, "not a call", None)
    reply_to.reply("forwarded")
    assert await answer == "forwarded"
