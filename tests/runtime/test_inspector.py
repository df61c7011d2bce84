import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from duologue.errors import CallTimeout
from duologue.runtime import (
    NO_REPLY,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    CallingSelf,
    Continue,
    Inspector,
    NoProc,
    ReplyTo,
    Stop,
    Supervisor,
)
from duologue.runtime.testing import VirtualTimeLoop
from tests.runtime.actors import Do, Echo, Probe, Trapper, boom, log_of, turns, worker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualTimeLoop,
    "uvloop": uvloop.new_event_loop,
}


class Account(Probe):
    __slots__ = ("__secret", "_balance")

    def __init__(self, balance: int = 100) -> None:
        super().__init__()
        self._balance = balance
        self.__secret = "mine"

    def describe(self) -> dict[str, object]:
        return {"balance": self._balance}


class Loose(Probe):  # without slots of its own: it has a dictionary
    def __init__(self) -> None:
        super().__init__()
        self.anything = 1


def _invent(state: dict[str, Any]) -> dict[str, Any]:
    state["unknown"] = 1  # in what it was given, too
    state["_balance"] = 0
    return state


def _leave(state: object) -> Any:
    raise SystemExit


# State.


async def test_the_state_is_shown_by_attribute_names(system: ActorSystem):
    ref = await system.start(Account())
    state = await Inspector(ref).get_state()
    assert (state["_balance"], state["_Account__secret"], state["log"]) == (100, "mine", ["init"])
    assert "ctx" not in state
    assert (await Inspector(await system.start(Loose())).get_state())["anything"] == 1
    assert await Inspector(ref).describe() == {"balance": 100}


async def test_the_state_can_be_replaced(system: ActorSystem):
    actor = Account()
    inspector = Inspector(await system.start(actor))
    state = await inspector.replace_state(lambda state: {"_balance": state["_balance"] + 1})
    assert state["_balance"] == actor._balance == 101


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda state: 1 / 0, ZeroDivisionError),
        (lambda state: {"_balance": 1, "unknown": 2}, AttributeError),
        (_invent, AttributeError),
        (lambda state: 7, TypeError),
        (_leave, RuntimeError),
    ],
)
async def test_a_function_that_fails_leaves_the_state_and_the_actor_as_they_were(
    system: ActorSystem, function: Any, error: type[Exception]
):
    actor = Account()
    ref = await system.start(actor)
    with pytest.raises(error):
        await Inspector(ref).replace_state(function)
    assert actor._balance == 100
    assert await ref.call(Echo()) == "hello"


async def test_it_comes_before_messages_that_wait(system: ActorSystem):
    actor = Probe()
    ref = await system.start(actor)
    for number in range(1000):
        ref.cast(number)
    state = await Inspector(ref).get_state()
    assert len(state["log"]) <= 1000
    assert (await log_of(ref))[1:] == list(range(1000))


async def test_it_waits_for_an_async_callback_and_for_a_continue(system: ActorSystem):
    release = asyncio.Event()

    async def half(me: Probe) -> Continue:
        me.state = "half"
        await release.wait()
        return Continue()

    def finish(me: Probe, argument: Any) -> None:
        me.state = "whole"

    actor = Probe(on_continue=finish)
    ref = await system.start(actor)
    ref.cast(half)
    asked = asyncio.ensure_future(Inspector(ref).get_state())
    await turns()
    assert actor.state == "half"
    assert not asked.done()
    release.set()
    assert (await asked)["state"] == "whole"


async def test_it_waits_for_the_start(system: ActorSystem):
    release = asyncio.Event()

    async def load(me: Probe) -> None:
        await release.wait()
        me.state = "loaded"

    asked = asyncio.ensure_future(Inspector(system.spawn(Probe(on_init=load))).get_state())
    await turns()
    assert not asked.done()
    release.set()
    assert (await asked)["state"] == "loaded"


async def test_who_asks_an_actor_that_hangs_or_ends_hears_of_it(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast(lambda me: asyncio.Event().wait())
    await turns()
    with pytest.raises(CallTimeout):
        await Inspector(ref).get_state(timeout=0.05)
    asked = asyncio.ensure_future(Inspector(ref).get_state())
    await turns()
    ref.kill()
    with pytest.raises(ActorDied):
        await asked
    with pytest.raises(NoProc):
        await Inspector(ref).get_state()
    with pytest.raises(NoProc):
        Inspector(ref).statistics()


async def test_an_actor_can_not_wait_for_its_own_turn(system: ActorSystem):
    async def look(me: Probe, reply_to: ReplyTo[Any]) -> str:
        with pytest.raises(CallingSelf):
            await Inspector(me.ctx.ref).get_state()
        return "told"

    assert await (await system.start(Probe())).call(Do(look)) == "told"


async def test_it_finds_the_next_life_by_name(system: ActorSystem):
    inspector = Inspector(system.registry.via("the one"))
    with pytest.raises(NoProc, match="the one"):
        await inspector.get_state()
    await system.start(Account(7), name="the one")
    assert (await inspector.get_state())["_balance"] == 7


# Suspension.


async def test_a_suspended_actor_takes_nothing_and_loses_nothing(system: ActorSystem):
    actor = Probe()
    ref = await system.start(actor)
    inspector = Inspector(ref)
    ref.cast("before")
    await turns()
    await inspector.suspend()
    await inspector.suspend()
    answer = ref.call(Echo("later"))
    for number in range(5):
        ref.cast(number)
    await turns()
    assert (actor.log, inspector.statistics().state, ref.alive) == (["init", "before"], "suspended", True)
    assert inspector.statistics().mailbox == 6
    assert (await inspector.replace_state(lambda state: {"state": "new"}))["state"] == "new"
    await inspector.resume()
    assert await answer == "later"
    assert (await log_of(ref))[2:] == [0, 1, 2, 3, 4]
    await inspector.resume()
    assert await ref.call(Echo()) == "hello"


async def test_it_can_be_suspended_in_the_middle_of_a_full_mailbox(system: ActorSystem):
    actor = Probe()
    ref = await system.start(actor)
    for number in range(500):
        ref.cast(number)
    await Inspector(ref).suspend()
    taken = len(actor.log)
    await turns()
    assert len(actor.log) == taken
    await Inspector(ref).resume()
    assert (await log_of(ref))[1:] == list(range(500))


async def test_resuming_at_once_does_not_run_two_callbacks_at_a_time(system: ActorSystem):
    running: list[str] = []

    async def slow(me: Probe) -> None:
        assert not running
        running.append("slow")
        await asyncio.sleep(0)
        running.clear()

    ref = await system.start(Probe())
    inspector = Inspector(ref)
    for _ in range(5):
        suspending = asyncio.ensure_future(inspector.suspend())
        ref.cast(slow)
        resuming = asyncio.ensure_future(inspector.resume())
        ref.cast(slow)
        await asyncio.gather(suspending, resuming)
    assert await ref.call(Echo()) == "hello"


async def test_calls_to_a_suspended_actor_keep_their_deadlines(system: ActorSystem):
    ref = await system.start(Probe())
    await Inspector(ref).suspend()
    for _ in range(2):  # the first finds no queue, the second one
        with pytest.raises(CallTimeout):
            await ref.call(Echo(), timeout=0.05)


@pytest.mark.parametrize("how", ["stop", "kill", "exit", "parent", "own task"])
async def test_a_suspended_actor_still_ends_when_it_is_told_to(system: ActorSystem, how: str):
    sup = Supervisor([worker("child", kind=Trapper)])
    supervisor = await system.start(sup)
    child = sup.child("child")
    assert child is not None

    now = asyncio.Event()

    async def stop_it(me: Probe) -> None:
        await now.wait()
        me.ctx.stop(SHUTDOWN)

    child.cast(lambda me: me.ctx.spawn(stop_it(me)) and None)
    await turns()
    await Inspector(child).suspend()
    child.cast("never")
    match how:
        case "stop":
            assert await child.stop() == NORMAL
        case "kill":
            child.kill()
        case "exit":
            Inspector(child)._process().trap_exits = False
            child.exit(SHUTDOWN)
        case "parent":
            await supervisor.stop()
        case "own task":
            now.set()
    await child.wait()


async def test_a_timer_that_rings_meanwhile_waits(system: ActorSystem):
    actor = Probe()
    ref = await system.start(actor)
    ref.cast(lambda me: me.ctx.start_timer("t", 0.01, "ring"))
    await turns()
    await Inspector(ref).suspend()
    await asyncio.sleep(0.05)
    assert "ring" not in actor.log
    await Inspector(ref).resume()
    assert (await log_of(ref))[-1] == "ring"


# Statistics, trace, log and hooks.


async def test_statistics_of_one_actor(system: ActorSystem):
    ref, other = await system.start(Probe(), name="one"), await system.start(Probe())
    inspector = Inspector(ref)

    def get_busy(me: Probe) -> None:
        me.ctx.start_timer("t", 60.0, "ring")
        me.ctx.spawn(asyncio.Event().wait(), name="work")
        me.ctx.link(other)

    other.cast(lambda me: me.ctx.monitor(ref) and None)
    ref.cast(get_busy)
    unanswered = ref.call(Do(lambda me, reply_to: NO_REPLY))
    await turns()
    found = inspector.statistics()
    assert (found.name, found.kind, found.state, found.mailbox, found.handled) == (
        "one",
        "Probe",
        "running",
        0,
        2,
    )
    assert (found.tasks, found.timers, found.links, found.watched_by) == (("work",), ("t",), 1, 1)
    assert (found.unanswered, found.restarts, found.last_reason, found.counts) == (1, 0, None, None)
    assert found.started_at <= system.now()
    unanswered.cancel()


async def test_restarts_and_the_last_crash_are_in_the_statistics(system: ActorSystem):
    sup = Supervisor([worker("a", name="a")])
    await system.start(sup)
    inspector = Inspector(system.registry.via("a"))
    first = sup.child("a")
    assert first is not None
    first.cast(boom)
    await turns(100)
    found = inspector.statistics()
    assert (found.restarts, str(found.last_reason)) == (1, "error: ValueError")


async def test_counting_is_by_kind_and_only_when_it_was_asked_for(system: ActorSystem):
    ref = await system.start(Probe())
    inspector = Inspector(ref)
    ref.cast("not counted")
    await turns()
    inspector.count()
    await ref.call(Echo())
    ref.cast(1)
    ref.cast(2)
    ref.info(3)
    await turns()
    counts = inspector.statistics().counts
    assert counts is not None
    assert (counts.calls, counts.casts, counts.infos) == (1, 2, 1)
    assert counts.busy >= 0.0
    inspector.count(on=False)
    assert inspector.statistics().counts is None


async def test_a_hook_sees_what_comes_in_what_goes_out_and_a_crash(system: ActorSystem):
    async def slow(me: Probe, reply_to: ReplyTo[Any]) -> str:
        await asyncio.sleep(0)
        return "slow answer"

    ref = await system.start(Probe())
    seen: list[tuple[str, str, Any]] = []
    Inspector(ref).install("test", lambda event: seen.append((event.phase, event.callback, event.value)))
    request = Do(slow)
    await ref.call(request)
    ref.info("info")
    ref.cast(boom)
    reason = await ref.wait()
    assert seen == [
        ("in", "handle_call", request),
        ("out", "handle_call", "slow answer"),
        ("in", "handle_info", "info"),
        ("out", "handle_info", None),
        ("in", "handle_cast", boom),
        ("crash", "handle_cast", reason),
    ]


async def test_a_stop_is_seen_too(system: ActorSystem):
    ref = await system.start(Probe())
    seen: list[str] = []
    Inspector(ref).install("test", lambda event: seen.append(event.callback))
    await ref.stop()
    assert seen == ["stop"]


async def test_a_hook_that_raises_is_reported_and_removed_and_the_others_go_on(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    ref = await system.start(Probe())
    seen: list[Any] = []

    def bad(event: object) -> None:
        raise SystemExit("a private text")

    inspector = Inspector(ref)
    inspector.install("bad", bad)
    inspector.install("good", seen.append)
    assert await ref.call(Echo()) == "hello"
    await ref.call(Echo())
    assert len(seen) == 4
    assert caplog.text.count("hook bad") == 1
    assert "private" not in caplog.text


async def test_the_last_events_are_kept_on_demand_and_drawn_without_private_text(system: ActorSystem):
    ref = await system.start(Probe(), name="logged")
    inspector = Inspector(ref)
    assert inspector.log() == []
    inspector.keep_log(3)
    for number in range(5):
        ref.cast(f"private {number}")
    await turns()
    events = inspector.log()
    assert [event.value for event in events] == [None, "private 4", None]
    assert str(events[1]).endswith("logged in handle_cast str")
    assert "private" not in repr(events) + str(events[1])
    inspector.keep_log(0)
    assert inspector.log() == []


async def test_with_nothing_installed_the_actor_has_no_overseer(system: ActorSystem):
    ref: Any = await system.start(Probe())
    inspector = Inspector(ref)
    await inspector.get_state()
    inspector.install("hook", lambda event: None)
    inspector.count()
    inspector.keep_log(1)
    await inspector.suspend()
    assert ref.overseer is not None
    await inspector.resume()
    inspector.remove("hook")
    inspector.remove("never there")
    inspector.count(on=False)
    inspector.keep_log(0)
    await ref.call(Echo())
    assert ref.overseer is None


async def test_tracing_changes_nothing_of_what_callbacks_do(system: ActorSystem):
    """The slow way and the quick way are two pieces of code; this holds them together."""

    async def life(traced: bool) -> list[Any]:
        actor = Trapper(on_info=lambda me, message: Continue(message) if message == "go on" else None)
        ref = await system.start(actor)
        if traced:
            Inspector(ref).install("test", lambda event: None)
        peer = await system.start(Probe())
        ref.cast(lambda me: me.ctx.link(peer))
        ref.info("go on")
        answers = [await ref.call(Echo("x")), await ref.call(Do(lambda me, reply_to: _later(reply_to)))]
        peer.kill()
        await turns()
        ref.cast(lambda me: me.ctx.start_timer("t", 0.0, "ring"))
        await asyncio.sleep(0.001)
        ref.cast(lambda me: Continue("last"))
        answers.append(await ref.call(Do(lambda me, _: Stop(reply="bye"))))
        await ref.wait()
        return [
            *answers,
            *(type(entry) if not isinstance(entry, str | tuple) else entry for entry in actor.log),
        ]

    assert await life(False) == await life(True)


def _later(reply_to: ReplyTo[Any]) -> Any:
    asyncio.get_running_loop().call_soon(reply_to.reply, "later")
    return NO_REPLY
