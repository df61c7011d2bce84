"""gen_server_SUITE, from the start to the call: cases 1 to 12 and 19."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from duologue.errors import CallTimeout
from duologue.runtime import (
    IDLE,
    NO_REPLY,
    NOCONNECTION,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    AlreadyRegistered,
    CallingSelf,
    Continue,
    Down,
    ExitReason,
    Ignore,
    NoProc,
    Pipeline,
    Ref,
    Refuse,
    Registry,
    ReplyTo,
    StartFailed,
    StartIgnored,
    Stop,
    WhenIdle,
)
from tests.runtime.actors import Do, Echo, Ledger, Probe, Trapper, log_of, turns
from tests.runtime.conformance.conftest import Elapsed
from tests.runtime.conformance.remote import BlackHole, NodeDown


def _delayed(seconds: float, value: Any = "delayed") -> Do:
    """Answered after some time by a task, while the server goes on."""

    def handle(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        async def answer() -> None:
            await asyncio.sleep(seconds)
            reply_to.reply(value)

        me.ctx.spawn(answer())
        return NO_REPLY

    return Do(handle)


def _crash_with(reason: ExitReason) -> Do:
    return Do(lambda me, _: Stop(reason))


# 1. start


async def test_gen_server_start_anonymous(system: ActorSystem):
    ref = await system.start(Probe())
    assert await ref.call(Echo()) == "hello"
    assert await ref.stop() == NORMAL
    with pytest.raises(NoProc):
        await ref.call(Echo())


async def test_gen_server_start_link(system: ActorSystem):
    async def start_linked(me: Probe, reply_to: ReplyTo[Any]) -> Ref[Any]:
        return await me.ctx.system.start(Probe(), link_to=me.ctx.ref)

    parent = await system.start(Probe())
    child = await parent.call(Do(start_linked))
    parent.exit(ExitReason("crash"))
    assert await child.wait() == ExitReason("crash")


async def test_gen_server_start_monitor(system: ActorSystem):
    def start_monitored(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        child = me.ctx.system.spawn(Probe())
        return child, me.ctx.monitor(child)

    watcher = await system.start(Probe())
    child, monitor = await watcher.call(Do(start_monitored))
    await child.stop()
    assert (await log_of(watcher))[1:] == [Down(monitor, child, NORMAL)]


@pytest.mark.parametrize("how", ["local", "global", "via"])
async def test_gen_server_start_named(system: ActorSystem, how: str):
    """The system's own names, a registry of one's own, and refs that find either."""
    registry: Registry[Any] = system.registry if how == "local" else Registry()
    ref = await system.start(Probe(), name="my_test_name" if how == "local" else None)
    if how != "local":
        registry.register("my_test_name", ref)
    target = registry.via("my_test_name") if how == "via" else registry.whereis("my_test_name")
    assert target is not None
    assert await target.call(Echo()) == "hello"
    with pytest.raises(AlreadyRegistered) as taken:
        if how == "local":
            await system.start(Probe(), name="my_test_name")
        else:
            registry.register("my_test_name", await system.start(Probe()))
    assert taken.value.ref is ref
    await target.stop()
    assert registry.whereis("my_test_name") is None
    with pytest.raises(NoProc):
        await target.call(Echo())


async def test_gen_server_start_init_timeout(system: ActorSystem, elapsed: Elapsed):
    with pytest.raises(StartFailed, match="start_timeout"):
        await system.start(Probe(on_init=lambda me: asyncio.sleep(10.0)), name="slow", start_timeout=1.0)
    elapsed.check(1.0, 1.04)
    assert system.whereis("slow") is None


# 2. loop_start_fail


def _raise(error: BaseException) -> Callable[[Probe], None]:
    def init(me: Probe) -> None:
        raise error

    return init


@pytest.mark.parametrize(
    ("on_init", "reason"),
    [
        pytest.param(lambda me: Stop(ExitReason("failed_to_start")), "failed_to_start", id="stop"),
        pytest.param(lambda me: Refuse(ValueError("no")), "error: ValueError", id="error"),
        pytest.param(_raise(Ignore()), "ignored", id="ignore"),
        pytest.param(lambda me: 7, "bad_return: init returned int", id="bad return"),
        pytest.param(_raise(ZeroDivisionError()), "error: ZeroDivisionError", id="raise"),
        pytest.param(_raise(SystemExit(1)), "error: SystemExit", id="exit"),
        pytest.param(lambda me: asyncio.sleep(60.0), "start_timeout", id="timeout"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
async def test_gen_server_loop_start_fail(system: ActorSystem, on_init: Any, reason: str, linked: bool):
    parent: Any = await system.start(Trapper())
    for _ in range(5):
        with pytest.raises(StartFailed) as failed:
            await system.start(
                Probe(on_init=on_init), name="unlucky", start_timeout=0.5, link_to=parent if linked else None
            )
        assert str(failed.value.reason) == reason
        assert system.whereis("unlucky") is None
        assert parent.ties is None or not parent.ties.links
    ref = await system.start(Probe(), name="unlucky")
    assert await ref.call(Echo()) == "hello"


async def test_gen_server_start_link_fail_and_the_parent(system: ActorSystem):
    """Rule 26: a graceful failure spares a linked parent that does not trap exits, a stop does not."""
    for on_init, survives in (
        (lambda me: Refuse(ValueError()), True),
        (_raise(Ignore()), True),
        (lambda me: Stop(ExitReason("crash")), False),
        (_raise(ValueError()), False),
    ):
        parent = await system.start(Probe())
        child = system.spawn(Probe(on_init=on_init), link_to=parent)
        await child.wait()
        await turns()
        assert parent.alive is survives


# 3. start_event_timeout_zero


async def test_gen_server_start_event_timeout_zero(system: ActorSystem):
    def init(me: Probe) -> WhenIdle:
        me.ctx.start_timer("later", 0.0, "self-message")
        return WhenIdle(0)

    ref = await system.start(Probe(on_init=init))
    await asyncio.sleep(0.5)
    assert (await log_of(ref))[1:] == [IDLE, "self-message"]


# 4. stop1 - stop7


@pytest.mark.parametrize(
    "reason", [NORMAL, SHUTDOWN, ExitReason.shutdown("term"), ExitReason("odd", "{reason}")]
)
async def test_gen_server_stop(system: ActorSystem, reason: ExitReason):
    log: list[Any] = []
    ref = await system.start(Probe(log))
    assert await ref.stop(reason) == reason
    assert not ref.alive
    assert log[-1] == ("terminate", reason)
    with pytest.raises(NoProc):
        await ref.stop(reason)


async def test_gen_server_stop_timeout(system: ActorSystem):
    ref = await system.start(Probe(on_terminate=lambda me, reason: asyncio.sleep(10.0)))
    with pytest.raises(CallTimeout):
        await ref.stop(timeout=1.0)
    assert await ref.wait() == NORMAL


async def test_gen_server_stop_invalid_timeout(system: ActorSystem):
    ref = await system.start(Probe())
    with pytest.raises(TypeError):
        await ref.stop(timeout="infinity")  # type: ignore[arg-type]
    await turns()
    assert await ref.call(Echo()) == "hello"


async def test_gen_server_stop_by_name(system: ActorSystem):
    await system.start(Probe(), name="to_stop")
    via = system.registry.via("to_stop")
    assert await via.stop() == NORMAL
    with pytest.raises(NoProc):
        await via.stop()


# 5. stop8 - stop10: another node


async def test_gen_server_stop_remote(system: ActorSystem):
    with pytest.raises(NoProc) as failed:
        await NodeDown("far away").stop()
    assert failed.value.reason == NOCONNECTION
    registry: Registry[str] = Registry()
    with pytest.raises(NoProc) as failed:
        await registry.via("global").stop()
    assert failed.value.reason == NOPROC


# 6. crash


@pytest.mark.parametrize(
    ("reason", "reports"),
    [(NORMAL, 0), (SHUTDOWN, 0), (ExitReason.shutdown("reason"), 0), (ExitReason("crashed"), 1)],
)
async def test_gen_server_crash(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture, reason: ExitReason, reports: int
):
    """Of another reason than a clean one there is one report. It names the server; of its client nothing is known."""
    ref = await system.start(Probe(), name="crashing")
    with pytest.raises(ActorDied) as died:
        await ref.call(_crash_with(reason))
    assert died.value.reason == reason
    assert len(caplog.records) == len(ledger.events) == reports
    assert all("crashing" in record.getMessage() for record in caplog.records)


# 7. call


async def test_gen_server_call_delayed_replies(system: ActorSystem, elapsed: Elapsed):
    ref = await system.start(Probe())
    one, two = ref.call(_delayed(1.0, 1)), ref.call(_delayed(1.0, 2))
    assert [await one, await two] == [1, 2]
    elapsed.check(1.0, 1.04)  # and not 2: they were under way together


async def test_gen_server_call_timeout(system: ActorSystem, elapsed: Elapsed):
    ref = await system.start(Probe())
    with pytest.raises(CallTimeout):
        await ref.call(_delayed(60.0), timeout=1.0)
    elapsed.check(1.0, 1.04)
    assert await ref.call(Echo()) == "hello"


async def test_gen_server_call_bad_return(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast(lambda me: "badreturn")
    with pytest.raises(ActorDied) as died:
        await ref.call(Echo())
    assert died.value.reason == ExitReason("bad_return", "handle_cast returned str")


# 8. send_request


async def test_gen_server_send_request(system: ActorSystem):
    ref = await system.start(Probe())
    request = ref.call(_delayed(1.0))
    await asyncio.wait((request,), timeout=0)
    assert not request.done()
    assert await request == "delayed"

    pipeline: Pipeline[str] = Pipeline()
    pipeline.send("waited", ref, _delayed(1.0))
    assert await pipeline.wait(0) is None
    found = await pipeline.wait(5.0)
    assert found is not None
    assert found[1].result() == "delayed"


async def test_gen_server_send_request_errors_are_values(system: ActorSystem):
    dead = await system.start(Probe())
    await dead.stop()
    ending = await system.start(Probe())
    pipeline: Pipeline[str] = Pipeline()
    pipeline.send("noproc", dead, Echo())
    pipeline.send("noconnection", NodeDown("far away"), Echo())
    pipeline.send("shutdown", ending, _crash_with(SHUTDOWN))
    reasons = {}
    while (found := await pipeline.wait()) is not None:
        error = found[1].error
        assert isinstance(error, ActorDied)
        reasons[found[0]] = error.reason
    assert reasons == {"noproc": NOPROC, "noconnection": NOCONNECTION, "shutdown": SHUTDOWN}


# 9. send_request_receive_reqid_collection


@pytest.mark.parametrize("take", ["wait", "receive"])
async def test_gen_server_send_request_reqid_collection(system: ActorSystem, take: str):
    ref = await system.start(Probe())
    pipeline: Pipeline[int] = Pipeline()
    for label, seconds in ((1, 3.0), (2, 1.0), (3, 2.0)):
        pipeline.send(label, ref, _delayed(seconds, label * 10))
    found = []
    while (next_one := await getattr(pipeline, take)(60.0)) is not None:
        found.append((next_one[0], next_one[1].result()))
    assert found == [(2, 20), (3, 30), (1, 10)]


@pytest.mark.virtual_time
async def test_gen_server_send_request_receive_reqid_collection_timeout(
    system: ActorSystem, elapsed: Elapsed
):
    """One absolute deadline for all; then wait keeps what is left and receive abandons it."""
    ref = await system.start(Probe())
    pipeline: Pipeline[int] = Pipeline()
    for label in (1, 2, 3):
        pipeline.send(label, ref, _delayed(float(label)))
    deadline = system.loop.time() + 2.5
    assert [(await pipeline.wait(deadline=deadline) or "?")[0] for _ in range(2)] == [1, 2]
    assert await pipeline.wait(deadline=deadline) is None
    elapsed.check(2.5, 2.5)
    assert pipeline.labels() == [3]
    with pytest.raises(CallTimeout):
        await pipeline.receive(0.1)
    assert pipeline.labels() == []
    await asyncio.sleep(1.0)
    assert system.statistics().late_replies_total == 1


async def test_gen_server_send_request_receive_reqid_collection_error(system: ActorSystem):
    ref = await system.start(Probe())
    pipeline: Pipeline[str] = Pipeline()
    pipeline.send("label", ref, Echo())
    with pytest.raises(ValueError, match="label"):
        pipeline.send("label", ref, Echo())
    pipeline.send("crash", ref, Do(lambda me, _: 1 / 0))
    assert [(await pipeline.receive() or "?")[0] for _ in range(2)] == ["label", "crash"]
    assert await pipeline.receive() is None


# 10. calling_self


@pytest.mark.parametrize("timeout", [5.0, None])
@pytest.mark.parametrize("how", ["ref", "local", "via"])
async def test_gen_server_calling_self(
    system: ActorSystem, elapsed: Elapsed, timeout: float | None, how: str
):
    async def ask(me: Probe, reply_to: ReplyTo[Any]) -> None:
        names = me.ctx.system.registry
        target: Any = {"ref": me.ctx.ref, "local": names.whereis("me"), "via": names.via("me")}[how]
        await target.call(Echo(), timeout)

    ref = await system.start(Probe(), name="me")
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(ask))
    assert died.value.reason.detail == CallingSelf.__name__
    elapsed.check(0.0, 0.0)


# 11. call_remote_n2/n3


async def test_gen_server_call_remote_n2_n3(system: ActorSystem):
    with pytest.raises(NoProc) as failed:
        await NodeDown("far away").call(Echo())
    assert (failed.value.reason, failed.value.actor) == (NOCONNECTION, "far away")


# 12. cast, cast_fast


async def test_gen_server_cast(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast("one")
    system.registry.via("nobody").cast("lost")
    assert (await log_of(ref))[1:] == ["one"]
    await ref.stop()
    ref.cast("lost")


async def test_gen_server_cast_fast(system: ActorSystem, elapsed: Elapsed):
    hole = BlackHole("no such node")
    for _ in range(1000):
        hole.cast("lost")
    elapsed.check(0.0, 1.0)
    with pytest.raises(CallTimeout):
        await hole.call(Echo(), timeout=1.0)


# 19. call_with_huge_message_queue


async def test_gen_server_call_with_huge_message_queue(system: ActorSystem):
    """Calls of an actor in whose mailbox 100,000 messages wait cost less than ten times those of one with none."""
    server = await system.start(Probe())

    async def ask(me: Probe, reply_to: ReplyTo[Any]) -> float:
        began = time.process_time()
        for _ in range(300):
            await server.call(Echo())
        return time.process_time() - began

    caller = await system.start(Probe())
    alone = min([await caller.call(Do(ask), None) for _ in range(3)])
    flooded: Any = await system.start(Probe())
    answers = []
    for _ in range(3):
        answers.append(flooded.call(Do(ask), None))
        for number in range(33_000):
            flooded.cast(number)
    crowded = min([await answer for answer in answers])
    assert crowded < 10 * alone
    assert await flooded.call(Echo(), None) == "hello"


async def test_gen_server_call_order_with_continue(system: ActorSystem):
    """What a caller sends after its call is handled after what the call's continue did."""
    ref = await system.start(Probe(on_continue=lambda me, argument: None))
    ref.call_nowait(Do(lambda me, _: Continue("first")), lambda outcome: None)
    ref.cast("second")
    assert (await log_of(ref))[1:] == [("continue", "first"), "second"]


async def test_gen_server_start_ignored_is_not_a_failure_of_the_server(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(StartIgnored):
        await system.start(Probe(on_init=_raise(Ignore())))
    assert caplog.text == ""
