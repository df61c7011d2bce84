"""Callbacks: what they may return, and what then happens."""

import asyncio
import contextvars
from typing import Any

import pytest

from duologue.runtime import (
    IGNORED,
    NORMAL,
    Actor,
    ActorDied,
    ActorSystem,
    Continue,
    ExitReason,
    Ignore,
    Refuse,
    Reply,
    ReplyTo,
    StartFailed,
    StartIgnored,
    Stop,
    SystemStopped,
)
from tests.runtime.actors import Do, Echo, Ledger, Probe, boom, log_of, turns


class Bare(Actor):
    """Overrides nothing."""

    __slots__ = ()


# Starting.


async def test_spawn_runs_nothing_in_the_callers_stack_and_messages_wait_for_init(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)
    ref.cast("early")
    assert actor.log == []
    assert ref.alive
    assert await log_of(ref) == ["init", "early"]


async def test_start_returns_after_init_even_an_async_one(system: ActorSystem):
    async def load(me: Probe) -> None:
        await asyncio.sleep(3.0)
        me.log.append("loaded")

    actor = Probe(on_init=load)
    ref = system.spawn(actor)
    ref.cast("early")
    await ref.wait_started()
    assert actor.log[:2] == ["init", "loaded"]
    assert system.now() == pytest.approx(3.0)
    assert await log_of(ref) == ["init", "loaded", "early"]
    await ref.wait_started()


@pytest.mark.parametrize(
    ("on_init", "reason"),
    [
        (boom, ExitReason("error", "ValueError", "a private text")),
        (lambda me: Stop(ExitReason("quota")), ExitReason("quota")),
        (lambda me: Refuse(ValueError("no")), ExitReason("error", "ValueError", "no")),
        (lambda me: 7, ExitReason("bad_return", "init returned int")),
        (lambda me: asyncio.sleep(60), ExitReason("start_timeout")),
    ],
)
async def test_five_failing_starts_in_a_row_give_the_same_answer_and_leave_the_name_free(
    system: ActorSystem, on_init: Any, reason: ExitReason
):
    log: list[Any] = []
    for _ in range(5):
        with pytest.raises(StartFailed) as failed:
            await system.start(Probe(log, on_init=on_init), name="unlucky", start_timeout=1.0)
        assert failed.value.reason == reason
        assert system.whereis("unlucky") is None
    assert log == ["init"] * 5  # terminate is not run


async def test_ignore_is_no_failure_and_reports_nothing(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    def not_me(me: Probe) -> None:
        raise Ignore

    with pytest.raises(StartIgnored) as ignored:
        await system.start(Probe(on_init=not_me))
    assert ignored.value.reason == IGNORED
    assert (ledger.events, caplog.text) == ([], "")


async def test_a_refusal_in_init_reports_nothing_but_a_raise_does(system: ActorSystem, ledger: Ledger):
    with pytest.raises(StartFailed):
        await system.start(Probe(on_init=lambda me: Refuse(ValueError())))
    assert ledger.events == []
    with pytest.raises(StartFailed):
        await system.start(Probe(on_init=boom))
    assert ledger.events == [("crashed", "Probe", "error: ValueError")]


async def test_who_waits_for_a_start_that_failed_before_is_told(system: ActorSystem):
    ref = system.spawn(Probe(on_init=boom))
    await turns()
    with pytest.raises(StartFailed):
        await ref.wait_started()


async def test_messages_to_an_actor_that_does_not_start_fail_like_those_to_a_dead_one(system: ActorSystem):
    ref = system.spawn(Probe(on_init=boom))
    with pytest.raises(ActorDied):
        await ref.call(Echo())


async def test_nothing_starts_after_the_system_was_shut_down(system: ActorSystem):
    await system.shutdown()
    with pytest.raises(SystemStopped):
        system.spawn(Probe())


# Continue.


async def test_continue_from_init_runs_before_messages_that_wait_and_may_chain(system: ActorSystem):
    def chain(me: Probe, argument: int) -> Continue | None:
        return Continue(argument - 1) if argument else None

    ref = system.spawn(Probe(on_init=lambda me: Continue(2), on_continue=chain))
    ref.cast("early")
    assert await log_of(ref) == ["init", ("continue", 2), ("continue", 1), ("continue", 0), "early"]


async def test_continue_from_a_call_runs_after_the_answer_and_before_the_next_message(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log))
    ref.call_nowait(
        Do(lambda me, reply_to: Reply("x", then=Continue("more"))),
        lambda outcome: log.append(outcome.result()),
    )
    ref.cast("next")
    assert await log_of(ref) == ["init", "x", ("continue", "more"), "next"]


async def test_continue_from_cast_info_and_a_call_without_an_answer(system: ActorSystem):
    ref = system.spawn(Probe(on_info=lambda me, message: Continue("info")))
    ref.cast(lambda me: Continue("cast"))
    ref.info("i")
    unanswered = ref.call(Do(lambda me, reply_to: Continue("call")))
    ref.cast("last")
    assert (await log_of(ref))[1:] == [
        ("continue", "cast"),
        "i",
        ("continue", "info"),
        ("continue", "call"),
        "last",
    ]
    assert not unanswered.done()
    unanswered.cancel()


async def test_an_async_continue_holds_the_mailbox(system: ActorSystem):
    async def load(me: Probe, argument: Any) -> None:
        await asyncio.sleep(1.0)
        me.log.append("loaded")

    ref = await system.start(Probe(on_init=lambda me: Continue(), on_continue=load))
    assert system.now() == 0.0  # init has returned, loading goes on
    assert await log_of(ref) == ["init", ("continue", None), "loaded"]


async def test_stop_from_continue(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log, on_init=lambda me: Continue(), on_continue=lambda me, argument: Stop()))
    assert await ref.wait() == NORMAL
    assert log[-1] == ("terminate", NORMAL)


async def test_an_endless_chain_of_continues_does_not_hold_the_loop(system: ActorSystem):
    ref = system.spawn(Probe(on_init=lambda me: Continue(), on_continue=lambda me, argument: Continue()))
    other = system.spawn(Probe())
    assert await other.call(Echo("served")) == "served"
    ref.kill()
    await ref.wait()


# What callbacks must not do.


@pytest.mark.parametrize("async_", [False, True])
async def test_a_handler_that_returns_the_wrong_thing_stops_the_actor_and_says_so(
    system: ActorSystem, async_: bool
):
    async def wrong_later(me: Probe) -> str:
        await asyncio.sleep(0)
        return "wrong"

    ref = system.spawn(Probe())
    ref.cast(wrong_later if async_ else lambda me: "wrong")
    answer = ref.call(Echo())
    assert await ref.wait() == ExitReason("bad_return", "handle_cast returned str")
    with pytest.raises(ActorDied, match="handle_cast returned str"):
        await answer


@pytest.mark.parametrize(
    ("send", "callback"),
    [
        (lambda ref: ref.cast("x"), "handle_cast"),
        (lambda ref: ref.call_nowait(Echo(), lambda outcome: None), "handle_call"),
    ],
)
async def test_an_unknown_call_or_cast_stops_the_actor_and_names_the_callback(
    system: ActorSystem, send: Any, callback: str
):
    ref = system.spawn(Bare())
    send(ref)
    reason = await ref.wait()
    assert reason.detail == "UnhandledRequest"
    assert reason.message is not None
    assert callback in reason.message


async def test_continue_without_a_handler_stops_the_actor(system: ActorSystem):
    class Forgetful(Actor):
        def init(self) -> Continue:
            return Continue("x")

    reason = await system.spawn(Forgetful()).wait()
    assert reason.detail == "UnhandledRequest"


async def test_a_stray_info_is_reported_by_type_and_survived(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    ref = system.spawn(Bare())
    ref.info("a private text")
    await turns()
    assert ref.alive
    assert "stray message of type str" in caplog.text
    assert "private" not in caplog.text


# Async handlers.


async def test_the_mailbox_waits_for_an_async_handler(system: ActorSystem):
    async def slow(me: Probe) -> None:
        me.log.append("slow begins")
        await asyncio.sleep(1.0)
        me.log.append("slow ends")

    ref = system.spawn(Probe())
    ref.cast(slow)
    ref.cast("next")
    assert await log_of(ref) == ["init", "slow begins", "slow ends", "next"]


async def test_async_handlers_may_return_all_that_others_may(system: ActorSystem):
    async def reply_and_go_on(me: Probe, reply_to: ReplyTo[Any]) -> Reply:
        await asyncio.sleep(0)
        return Reply("x", then=Continue("more"))

    async def plain(me: Probe, reply_to: ReplyTo[Any]) -> int:
        return 7

    async def stop(me: Probe, reply_to: ReplyTo[Any]) -> Stop:
        return Stop(reply="bye")

    ref = system.spawn(Probe())
    assert await ref.call(Do(reply_and_go_on)) == "x"
    assert await ref.call(Do(plain)) == 7
    assert (await log_of(ref))[-1] == ("continue", "more")
    assert await ref.call(Do(stop)) == "bye"
    assert await ref.wait() == NORMAL


async def test_a_future_may_be_returned_and_is_awaited(system: ActorSystem):
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ref = system.spawn(Probe())
    answer = ref.call(Do(lambda me, reply_to: future))
    await turns()
    future.set_result("from the future")
    assert await answer == "from the future"


async def test_a_crash_of_an_async_handler_is_a_crash(system: ActorSystem):
    async def fail(me: Probe, reply_to: ReplyTo[Any]) -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    ref = system.spawn(Probe())
    with pytest.raises(ActorDied, match="ZeroDivisionError"):
        await ref.call(Do(fail))


# One report.


async def test_a_crash_is_reported_once_with_its_place_and_without_private_text(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    class Described(Probe):
        def describe(self) -> dict[str, object]:
            return {"turns": 3}

    ref = system.spawn(Described(), name="described")
    ref.cast(boom)
    await ref.wait()
    assert ledger.events == [("crashed", "Described", "error: ValueError")]
    assert len(caplog.records) == 1
    for part in ("described", "handle_cast", "ValueError", "'turns': 3", "in boom"):
        assert part in caplog.text
    assert "private" not in caplog.text


async def test_a_describe_that_fails_does_not_break_the_report(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    class Broken(Probe):
        def describe(self) -> dict[str, object]:
            raise ValueError

    ref = system.spawn(Broken())
    ref.cast(boom)
    assert (await ref.wait()).detail == "ValueError"
    assert "crashed in handle_cast" in caplog.text
    assert "describe of" in caplog.text


@pytest.mark.parametrize("reason", [NORMAL, ExitReason("shutdown"), ExitReason.shutdown("drained")])
async def test_a_clean_end_is_silent(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture, reason: ExitReason
):
    ref = system.spawn(Probe())
    ref.cast(lambda me: Stop(reason))
    assert await ref.wait() == reason
    assert (ledger.events, caplog.text) == ([], "")


# Context variables.


async def test_an_actor_does_not_see_the_context_variables_of_who_started_it_or_of_others(
    system: ActorSystem,
):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("the starter's")
    one, two = system.spawn(Probe()), system.spawn(Probe())
    one.cast(lambda me: variable.set("one's") and None)

    async def read_in_task(me: Probe, reply_to: ReplyTo[Any]) -> str:
        return variable.get()

    assert await one.call(Do(lambda me, reply_to: variable.get())) == "one's"
    assert await one.call(Do(read_in_task)) == "one's"
    assert await two.call(Do(lambda me, reply_to: variable.get())) == "unset"
    assert variable.get() == "the starter's"
