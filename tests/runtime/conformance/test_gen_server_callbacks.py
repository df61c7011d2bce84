"""gen_server_SUITE, what callbacks do: cases 13 to 18 and 20 to 22."""

import asyncio
from typing import Any

import pytest

from duologue.errors import CallTimeout
from duologue.runtime import (
    HIBERNATE,
    IDLE,
    NO_REPLY,
    NORMAL,
    Actor,
    ActorDied,
    ActorSystem,
    Continue,
    ExitReason,
    Inspector,
    NoProc,
    Ref,
    Reply,
    Stop,
    WhenIdle,
    multi_call,
)
from tests.runtime.actors import Do, Echo, Ledger, Probe, boom, log_of, turns
from tests.runtime.conformance.conftest import Elapsed
from tests.runtime.conformance.remote import BlackHole, NodeDown


class Bare(Actor):
    """Overrides nothing."""

    __slots__ = ()


# 13. info


async def test_gen_server_info(system: ActorSystem):
    ref = await system.start(Probe())
    ref.info("hi")
    ref.info(("nested", 1))
    assert (await log_of(ref))[1:] == ["hi", ("nested", 1)]


async def test_gen_server_undef_handle_info(system: ActorSystem, caplog: pytest.LogCaptureFixture):
    ref = await system.start(Bare())
    ref.info("hello")
    await turns()
    assert ref.alive
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "stray message of type str" in caplog.text


async def test_gen_server_undef_in_handle_info(system: ActorSystem):
    def undef(me: Probe, message: Any) -> None:
        me.no_such_function()  # type: ignore[attr-defined]

    ref = await system.start(Probe(on_info=undef))
    ref.info("hello")
    reason = await ref.wait()
    assert reason.detail == "AttributeError"
    assert "no_such_function" in (reason.message or "")


# 14. continue


@pytest.mark.parametrize("where", ["init", "reply", "noreply", "cast", "info"])
async def test_gen_server_continue(system: ActorSystem, where: str):
    """A marker that was sent before it is handled after it; a chain stays together."""
    log: list[Any] = []
    wanted = Continue(2)
    ref = system.spawn(
        Probe(
            log,
            on_init=lambda me: wanted if where == "init" else None,
            on_info=lambda me, message: wanted if message == "go" else None,
            on_continue=lambda me, left: Continue(left - 1) if left else None,
        )
    )
    match where:
        case "reply":
            ref.call_nowait(Do(lambda me, _: Reply("x", then=wanted)), lambda outcome: log.append("answered"))
        case "noreply":
            ref.call_nowait(Do(lambda me, _: wanted), lambda outcome: None, timeout=None)
        case "cast":
            ref.cast(lambda me: wanted)
        case "info":
            ref.info("go")
    ref.cast("marker")
    found = [entry for entry in await log_of(ref) if entry not in ("init", "go")]
    before = ["answered"] if where == "reply" else []
    assert found == [*before, ("continue", 2), ("continue", 1), ("continue", 0), "marker"]
    ref.kill()


async def test_gen_server_continue_stop(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(
        Probe(log, on_init=lambda me: Continue(), on_continue=lambda me, _: Stop(ExitReason.shutdown("done")))
    )
    ref.cast("never")
    assert await ref.wait() == ExitReason.shutdown("done")
    assert log == ["init", ("continue", None), ("terminate", ExitReason.shutdown("done"))]


# 15. handle_event_timeout


async def test_gen_server_handle_event_timeout(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast(lambda me: WhenIdle(1.0, "timeout"))
    await asyncio.sleep(3.0)
    assert (await log_of(ref))[1:] == ["timeout"]


@pytest.mark.virtual_time
async def test_gen_server_handle_event_timeout_interrupted(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast(lambda me: WhenIdle(1.0, "timeout"))
    await asyncio.sleep(0.9)
    ref.cast("user message")
    await asyncio.sleep(10.0)
    assert (await log_of(ref))[1:] == ["user message"]


async def test_gen_server_handle_event_timeout_zero(system: ActorSystem):
    ref = await system.start(Probe())
    ref.cast(lambda me: WhenIdle(0, "timeout"))
    await turns()
    assert (await log_of(ref))[1:] == ["timeout"]
    ref.cast(lambda me: WhenIdle(0, "timeout"))
    ref.cast("waits already")
    await turns()
    assert (await log_of(ref))[1:] == ["timeout", "waits already"]


@pytest.mark.virtual_time
async def test_gen_server_handle_event_timeout_plain(system: ActorSystem):
    """A system message neither ends the wait nor starts it anew."""
    actor = Probe(on_info=lambda me, message: me.log.append(system.now()))
    ref = await system.start(actor)
    ref.cast(lambda me: WhenIdle(1.0))
    for _ in range(3):
        await asyncio.sleep(0.3)
        await Inspector(ref).get_state()
    await asyncio.sleep(1.0)
    assert actor.log == ["init", IDLE, pytest.approx(1.0)]


@pytest.mark.virtual_time
async def test_gen_server_handle_event_timeout_hibernate(system: ActorSystem):
    actor = Probe(on_info=lambda me, message: me.log.append(system.now()))
    ref = await system.start(actor)
    ref.cast(lambda me: WhenIdle(1.0, hibernate=True))
    await turns()
    assert Inspector(ref).statistics().state == "hibernating"
    await asyncio.sleep(2.0)
    assert actor.log == ["init", IDLE, pytest.approx(1.0)]
    assert Inspector(ref).statistics().state == "running"


# 16. hibernate, auto_hibernate


class Hibernating(Probe):
    __slots__ = ("slept",)

    def __init__(self, **hooks: Any) -> None:
        super().__init__(**hooks)
        self.slept = 0

    def hibernate(self) -> None:
        self.slept += 1


class AutoHibernating(Hibernating):
    __slots__ = ()
    hibernate_after = 5.0


def _state(ref: Ref[Any]) -> str:
    return Inspector(ref).statistics().state


@pytest.mark.parametrize("where", ["init", "continue", "call", "cast", "info"])
async def test_gen_server_hibernate(system: ActorSystem, where: str):
    actor = Hibernating(
        on_init=lambda me: HIBERNATE if where == "init" else Continue() if where == "continue" else None,
        on_continue=lambda me, argument: HIBERNATE,
        on_info=lambda me, message: HIBERNATE if message == "sleep" else None,
    )
    ref = await system.start(actor)
    match where:
        case "call":
            assert await ref.call(Do(lambda me, _: Reply("x", then=HIBERNATE))) == "x"
        case "cast":
            ref.cast(lambda me: HIBERNATE)
        case "info":
            ref.info("sleep")
    await turns()
    assert (_state(ref), actor.slept) == ("hibernating", 1)
    assert (await Inspector(ref).get_state())["slept"] == 1  # a system message: it goes on sleeping
    assert (_state(ref), actor.slept) == ("hibernating", 1)
    assert await ref.call(Echo()) == "hello"
    assert _state(ref) == "running"


async def test_gen_server_auto_hibernate(system: ActorSystem):
    actor = AutoHibernating()
    ref = await system.start(actor)
    await asyncio.sleep(6.0)
    assert (_state(ref), actor.slept) == ("hibernating", 1)
    await Inspector(ref).get_state()
    assert _state(ref) == "hibernating"
    assert await ref.call(Echo()) == "hello"
    await asyncio.sleep(6.0)
    assert (_state(ref), actor.slept) == ("hibernating", 2)


# 17. get_state


async def test_gen_server_get_state(system: ActorSystem):
    actor = Probe()
    actor.state = self_ = object()
    ref = await system.start(actor, name="state")
    for target in (ref, system.registry.via("state")):
        assert (await Inspector(target).get_state())["state"] is self_
    await Inspector(ref).suspend()
    assert (await Inspector(ref).get_state())["state"] is self_
    await ref.stop()
    with pytest.raises(NoProc):
        await Inspector(ref).get_state()


# 18. replace_state


@pytest.mark.parametrize("suspended", [False, True])
async def test_gen_server_replace_state(system: ActorSystem, suspended: bool):
    actor = Probe()
    actor.state = "state"
    inspector = Inspector(await system.start(actor))
    if suspended:
        await inspector.suspend()
    assert (await inspector.replace_state(lambda state: {"state": (state["state"], 1)}))["state"] == (
        "state",
        1,
    )
    with pytest.raises(ZeroDivisionError):
        await inspector.replace_state(lambda state: {"state": 1 / 0})
    with pytest.raises(AttributeError, match="unknown"):
        await inspector.replace_state(lambda state: {"state": "half", "unknown": 1})
    assert (await inspector.get_state())["state"] == ("state", 1)
    assert _state(actor.ctx.ref) == ("suspended" if suspended else "running")


# 20. undef


@pytest.mark.parametrize("callback", ["handle_call", "handle_cast", "handle_continue"])
async def test_gen_server_undef(system: ActorSystem, callback: str):
    class Continues(Bare):
        def init(self) -> Continue:
            return Continue("x")

    ref = system.spawn(Continues() if callback == "handle_continue" else Bare())
    if callback == "handle_call":
        with pytest.raises(ActorDied, match="UnhandledRequest"):
            await ref.call(Echo())
    elif callback == "handle_cast":
        ref.cast("hello")
    reason = await ref.wait()
    assert reason.detail == "UnhandledRequest"
    assert f"no {callback} for" in (reason.message or "")


async def test_gen_server_undef_init(system: ActorSystem):
    """An actor needs no init; one that can't be made is not even started."""
    ref = await system.start(Bare())
    assert ref.alive
    with pytest.raises(TypeError, match="only an Actor"):
        await system.start(object())  # type: ignore[type-var]


@pytest.mark.parametrize("reason", [NORMAL, ExitReason("crash")])
async def test_gen_server_undef_terminate(system: ActorSystem, reason: ExitReason):
    ref = await system.start(Bare())
    assert await ref.stop(reason) == reason


async def test_gen_server_undef_in_terminate(system: ActorSystem):
    def undef(me: Probe, reason: ExitReason) -> None:
        me.no_such_function()  # type: ignore[attr-defined]

    ref = await system.start(Probe(on_terminate=undef))
    assert (await ref.stop()).detail == "AttributeError"


# 21. format_status


class Redacting(Probe):
    __slots__ = ()

    def describe(self) -> dict[str, object]:
        return {"shown": "formatted"}


async def test_gen_server_error_format_status(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    actor = Redacting()
    actor.state = "a secret"
    ref = await system.start(actor)
    assert await Inspector(ref).describe() == {"shown": "formatted"}
    ref.cast(boom)
    await ref.wait()
    assert "formatted" in caplog.text
    assert "secret" not in caplog.text
    assert "private" not in caplog.text


async def test_gen_server_terminate_crash_format(system: ActorSystem, caplog: pytest.LogCaptureFixture):
    def crash(me: Probe, reason: ExitReason) -> None:
        raise ValueError("a private text")

    ref = await system.start(Redacting(on_terminate=crash))
    assert (await ref.stop()).detail == "ValueError"
    assert "crashed in terminate" in caplog.text
    assert "formatted" in caplog.text


@pytest.mark.parametrize("error", [ValueError("a private text"), SystemExit("a private text")])
async def test_gen_server_crash_in_format_status(
    system: ActorSystem, caplog: pytest.LogCaptureFixture, error: BaseException
):
    class Broken(Probe):
        __slots__ = ()

        def describe(self) -> dict[str, object]:
            raise error

    ref = await system.start(Broken())
    with pytest.raises((ValueError, RuntimeError)):
        await Inspector(ref).describe()
    assert await ref.call(Echo()) == "hello"
    ref.cast(boom)
    assert (await ref.wait()).detail == "ValueError"
    assert "crashed in handle_cast" in caplog.text
    assert "describe of Broken" in caplog.text
    assert "private" not in caplog.text


# 22. multicall


async def test_gen_server_multicall_down(system: ActorSystem, elapsed: Elapsed):
    ref = await system.start(Probe())
    down = NodeDown("down")
    found = await multi_call([ref, down], Echo("x"))
    assert found.replies == {ref: "x"}
    assert {target: type(error) for target, error in found.failed.items()} == {down: NoProc}
    elapsed.check(0.0, 0.0)


async def test_gen_server_multicall_recv_opt_timeout(system: ActorSystem, elapsed: Elapsed):
    """Late answers arrive nowhere: an actor that asked finds nothing in its mailbox."""
    quick, hole = await system.start(Probe()), BlackHole("hole")
    slow_actor = Probe()
    slow = await system.start(slow_actor)

    async def ask(me: Probe, _: Any) -> int:
        request = Do(lambda other, reply_to: _keep(other, reply_to) if other is slow_actor else "x")
        found = await multi_call([quick, slow, hole], request, timeout=1.0)
        assert {type(error) for error in found.failed.values()} == {CallTimeout}
        return len(found.replies)

    asker = await system.start(Probe())
    assert await asker.call(Do(ask)) == 1
    elapsed.check(1.0, 1.04)
    slow_actor.state.reply("late")
    await turns()
    assert await log_of(asker) == ["init"]
    assert system.statistics().late_replies_total == 1


def _keep(me: Probe, reply_to: Any) -> Any:
    me.state = reply_to
    return NO_REPLY
