import asyncio
from typing import Any

import pytest

from duologue.errors import Busy, CallTimeout
from duologue.runtime import (
    NO_REPLY,
    ActorDied,
    ActorSystem,
    CallingSelf,
    NoProc,
    Outcome,
    Refuse,
    Reply,
    ReplyTo,
    Stop,
)
from duologue.runtime.testing import VirtualTimeLoop
from tests.runtime.actors import Do, Echo, Ledger, Probe, boom, turns


def _keep(me: Probe, reply_to: ReplyTo[Any]) -> Any:
    me.state = reply_to
    return NO_REPLY


KEEP = Do(_keep)


async def test_a_call_returns_what_the_handler_returned(system: ActorSystem):
    ref = system.spawn(Probe())
    assert await ref.call(Echo("x")) == "x"
    assert await ref.call(Do(lambda me, reply_to: None)) is None


async def test_an_answer_may_come_later_from_another_actor(system: ActorSystem):
    owner, other = system.spawn(Probe()), system.spawn(Probe())
    answer = owner.call(
        Do(lambda me, reply_to: (other.cast(lambda _: reply_to.reply("from afar")), NO_REPLY)[1])
    )
    assert await answer == "from afar"


async def test_several_calls_are_under_way_at_once_and_are_answered_in_the_order_of_completion(
    system: ActorSystem,
):
    ref = system.spawn(Probe())
    kept: list[ReplyTo[Any]] = []
    done: list[int] = []
    for number in range(3):
        answer = ref.call(Do(lambda me, reply_to: (kept.append(reply_to), NO_REPLY)[1]))
        answer.add_done_callback(lambda _, number=number: done.append(number))
    await turns()
    for reply_to in reversed(kept):
        reply_to.reply(None)
        await turns()
    assert done == [2, 1, 0]


async def test_a_refused_request_raises_at_the_caller_and_the_actor_goes_on(system: ActorSystem):
    ref = system.spawn(Probe())
    with pytest.raises(Busy, match="streaming"):
        await ref.call(Do(lambda me, reply_to: Refuse(Busy("streaming"))))
    with pytest.raises(Busy, match="streaming"):
        await ref.call(Do(lambda me, reply_to: (reply_to.fail(Busy("streaming")), NO_REPLY)[1]))
    assert await ref.call(Echo("still here")) == "still here"


async def test_an_error_that_a_future_can_not_hold_does_not_hurt_the_actor(system: ActorSystem):
    ref = system.spawn(Probe())
    with pytest.raises(RuntimeError, match="StopIteration"):
        await ref.call(Do(lambda me, reply_to: Refuse(StopIteration("x"))))
    assert await ref.call(Echo()) == "hello"


async def test_a_call_to_an_ended_actor_fails_at_once(system: ActorSystem):
    ref = await system.start(Probe())
    await ref.stop()
    with pytest.raises(NoProc):
        await ref.call(Echo())


async def test_the_default_timeout_is_five_seconds_and_never_early(system: ActorSystem):
    ref = system.spawn(Probe())
    began = system.now()
    with pytest.raises(CallTimeout, match="Probe"):
        await ref.call(KEEP)
    assert 5.0 <= system.now() - began <= 5.04


async def test_a_timeout_does_not_cancel_the_work_and_its_late_answer_is_dropped_and_counted(
    system: ActorSystem, ledger: Ledger
):
    actor = Probe()
    ref = system.spawn(actor)
    with pytest.raises(CallTimeout):
        await ref.call(KEEP, timeout=0.1)
    assert not actor.state.open
    actor.state.reply("too late")
    assert system.statistics().late_replies_total == 1
    assert ledger.events == [("late", "Probe")]
    assert await ref.call(Echo()) == "hello"


async def test_an_async_handler_goes_on_after_its_caller_timed_out(system: ActorSystem):
    finished = asyncio.Event()

    async def slow(me: Probe, reply_to: ReplyTo[Any]) -> str:
        await asyncio.sleep(1.0)
        finished.set()
        return "late"

    ref = system.spawn(Probe())
    with pytest.raises(CallTimeout):
        await ref.call(Do(slow), timeout=0.5)
    await finished.wait()
    await turns()
    assert system.statistics().late_replies_total == 1


async def test_a_caller_that_is_cancelled_does_not_disturb_the_actor(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)

    async def caller() -> None:
        await ref.call(KEEP, timeout=60.0)

    task = asyncio.create_task(caller())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert system.statistics().waiting_calls == 0
    actor.state.reply("nobody hears")
    assert system.statistics().late_replies_total == 1
    assert await ref.call(Echo()) == "hello"


async def test_a_caller_that_is_cancelled_before_its_request_is_handled_gets_nothing(system: ActorSystem):
    ref = system.spawn(Probe())
    answer = ref.call(Echo())
    answer.cancel()
    await turns()
    assert ref.alive
    assert system.statistics().late_replies_total == 1


async def test_without_a_timeout_a_call_waits_as_long_as_it_takes(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)
    answer = ref.call(KEEP, timeout=None)
    await asyncio.sleep(1_000_000.0)
    actor.state.reply("at last")
    assert await answer == "at last"


async def test_a_second_answer_is_dropped_and_counted_apart(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)
    answer = ref.call(KEEP)
    await turns()
    actor.state.reply("first")
    actor.state.reply("second")
    actor.state.fail(ValueError())
    assert await answer == "first"
    statistics = system.statistics()
    assert (statistics.duplicate_replies_total, statistics.late_replies_total) == (2, 0)


async def test_a_crash_in_the_handler_reaches_the_caller_at_once(system: ActorSystem):
    ref = system.spawn(Probe())
    began = system.now()
    with pytest.raises(ActorDied, match="ZeroDivisionError") as died:
        await ref.call(Do(lambda me, reply_to: 1 / 0))
    assert died.value.reason.detail == "ZeroDivisionError"
    assert system.now() == began


async def test_calls_that_wait_and_calls_that_were_put_off_hear_of_the_end_at_once(system: ActorSystem):
    ref = system.spawn(Probe())
    put_off = ref.call(KEEP)
    ref.cast(boom)
    waiting = ref.call(Echo())
    for answer in (put_off, waiting):
        with pytest.raises(ActorDied):
            await answer
    assert system.statistics().waiting_calls == 0


async def test_raising_one_of_our_errors_crashes_too(system: ActorSystem):
    def refuse(me: Probe, reply_to: ReplyTo[Any]) -> None:
        raise Busy("raised, not returned")

    ref = system.spawn(Probe())
    with pytest.raises(ActorDied):
        await ref.call(Do(refuse))
    assert not ref.alive


async def test_the_answer_of_a_stop_comes_after_terminate_even_when_that_raises(system: ActorSystem):
    log: list[Any] = []

    def fail(me: Probe, reason: object) -> None:
        log.append("terminating")
        raise ValueError

    ref = system.spawn(Probe(on_terminate=fail))
    answer = ref.call(Do(lambda me, reply_to: Stop(reply="bye")))
    answer.add_done_callback(lambda _: log.append("answered"))
    assert await answer == "bye"
    await turns()
    assert log == ["terminating", "answered"]
    assert not ref.alive


async def test_the_answer_of_a_stop_waits_for_an_async_terminate(system: ActorSystem):
    async def slow(me: Probe, reason: object) -> None:
        await asyncio.sleep(2.0)

    ref = system.spawn(Probe(on_terminate=slow))
    began = system.now()
    assert await ref.call(Do(lambda me, reply_to: Stop(reply="bye"))) == "bye"
    assert system.now() - began == pytest.approx(2.0)


async def test_reply_answers_first_and_then_does_the_other_thing(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log))
    assert await ref.call(Do(lambda me, reply_to: Reply("x", then=Stop()))) == "x"
    await ref.wait()
    assert log[-1][0] == "terminate"


async def test_an_actor_that_calls_itself_is_told_so_at_once(system: ActorSystem):
    async def ask_myself(me: Probe, reply_to: ReplyTo[Any]) -> str:
        for timeout in (5.0, None):
            with pytest.raises(CallingSelf):
                await me.ctx.ref.call(Echo(), timeout)
        with pytest.raises(CallingSelf):
            await me.ctx.ref.stop()
        with pytest.raises(CallingSelf):
            await me.ctx.ref.wait()
        return "told"

    ref = system.spawn(Probe())
    assert await ref.call(Do(ask_myself)) == "told"


async def test_a_task_of_the_actor_may_call_it(system: ActorSystem):
    ref = system.spawn(Probe())

    async def ask(me: Probe) -> str:
        return await me.ctx.ref.call(Echo("from its task"))

    assert await ref.call(Do(lambda me, _: str(me.ctx.spawn(ask(me), name="asker").name))) == "asker"
    await turns()


async def test_what_a_call_costs_does_not_depend_on_the_callers_mailbox(system: ActorSystem):
    busy = Probe()
    caller = system.spawn(busy)
    server = system.spawn(Probe())
    answered: list[int] = []

    async def ask(me: Probe, reply_to: ReplyTo[Any]) -> str:
        for number in range(1000):
            caller.cast(number)
            await server.call(Echo())
        answered.append(len(me.log))
        return "done"

    assert await caller.call(Do(ask)) == "done"
    assert answered == [1]  # nothing but init: no answer went through its mailbox


# call_nowait


async def test_the_callback_runs_inside_the_answering_before_what_the_actor_does_next(system: ActorSystem):
    log: list[str] = []

    def answer_and_emit(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        log.append("before")
        reply_to.reply("x")
        log.append("after")
        return NO_REPLY

    ref = system.spawn(Probe())
    ref.call_nowait(Do(answer_and_emit), lambda outcome: log.append(outcome.result()))
    await turns()
    assert log == ["before", "x", "after"]


async def test_the_callback_is_called_once_for_an_answer_a_failure_a_timeout_and_a_death(system: ActorSystem):
    outcomes: list[Outcome[Any]] = []
    ref = system.spawn(Probe())
    ref.call_nowait(Echo("x"), outcomes.append)
    ref.call_nowait(Do(lambda me, reply_to: Refuse(Busy("no"))), outcomes.append)
    ref.call_nowait(KEEP, outcomes.append, timeout=1.0)
    await asyncio.sleep(2.0)
    ref.call_nowait(KEEP, outcomes.append)
    ref.cast(boom)
    await ref.wait()
    assert [type(outcome.error) for outcome in outcomes] == [type(None), Busy, CallTimeout, ActorDied]
    assert [outcome.ok for outcome in outcomes] == [True, False, False, False]
    with pytest.raises(Busy):
        outcomes[1].result()


async def test_the_callback_is_never_called_before_call_nowait_returned(system: ActorSystem):
    ref = await system.start(Probe())
    await ref.stop()
    outcomes: list[Outcome[Any]] = []
    ref.call_nowait(Echo(), outcomes.append)
    assert outcomes == []
    await turns()
    assert isinstance(outcomes[0].error, NoProc)


async def test_a_callback_that_raises_hits_neither_the_actor_nor_the_loop(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    def raising(outcome: Outcome[Any]) -> None:
        raise SystemExit("a private text")

    ref = system.spawn(Probe())
    ref.call_nowait(Echo(), raising)
    assert await ref.call(Echo("alive")) == "alive"
    assert "on_reply" in caplog.text
    assert "private" not in caplog.text


async def test_an_outcome_shows_no_value(system: ActorSystem):
    assert repr(Outcome("private")) == "Outcome(ok)"
    assert repr(Outcome(error=ValueError("private"))) == "Outcome(ValueError)"


@pytest.mark.parametrize("timeout", [5, 5.0])
async def test_the_deadline_holds_wherever_the_request_waits(system: ActorSystem, timeout: float):
    """In the handler, behind an async one, behind a full turn's worth of messages, and behind a slow start or end."""

    async def hang(me: Probe, *args: Any) -> None:
        await asyncio.Event().wait()

    in_handler = system.spawn(Probe())
    behind = system.spawn(Probe())
    behind.cast(hang)
    far_behind = system.spawn(Probe())
    far_behind.cast(hang)
    for number in range(200):
        far_behind.cast(number)
    starting = system.spawn(Probe(on_init=hang))
    ending = await system.start(Probe(on_terminate=hang))
    ending.cast(lambda me: Stop())
    began = system.now()
    answers = [in_handler.call(Do(hang), timeout)]
    answers += [ref.call(Echo(), timeout) for ref in (behind, far_behind, starting, ending)]
    for answer in answers:
        with pytest.raises(CallTimeout):
            await answer
    assert 5.0 <= system.now() - began <= 5.04
    for ref in (in_handler, behind, far_behind, starting, ending):
        ref.kill()


async def test_a_call_that_waits_for_the_second_turn_has_its_deadline(system: ActorSystem):
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    ref = await system.start(Probe())
    for _ in range(63):
        ref.cast(lambda me: None)
    ref.cast(lambda me: asyncio.Event().wait())
    answer = ref.call(Echo(), timeout=1.0)  # the 65th
    with pytest.raises(CallTimeout):
        await answer
    ref.kill()


async def test_a_callback_behind_a_handler_that_hangs_is_called_at_its_deadline(system: ActorSystem):
    outcomes: list[Outcome[Any]] = []
    ref = await system.start(Probe())
    ref.cast(lambda me: asyncio.Event().wait())
    await turns()
    ref.call_nowait(Echo(), outcomes.append, timeout=2.0)
    await asyncio.sleep(2.1)
    assert [type(outcome.error) for outcome in outcomes] == [CallTimeout]
    ref.kill()
