import asyncio
from typing import Any

import pytest

from duologue.runtime import (
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    CallingSelf,
    Down,
    Exit,
    ExitReason,
    NoProc,
    Outcome,
    ReplyTo,
    Supervisor,
    multi_call,
)
from tests.runtime.actors import Do, Echo, Probe, Trapper, boom, log_of, turns, worker


async def test_it_reaches_whoever_has_the_name_over_restarts(system: ActorSystem):
    sup = Supervisor([worker("a", name="the one")])
    await system.start(sup)
    via = system.registry.via("the one")
    first = via.resolve()
    assert await via.call(Echo()) == "hello"
    via.cast(boom)
    await turns(100)
    assert await via.call(Echo("again")) == "again"
    assert via.resolve() is not first
    assert (via.name, via.alive, via.exit_reason) == ("the one", True, None)
    await via.wait_started()


async def test_with_nobody_there_calls_fail_and_the_rest_is_lost(system: ActorSystem):
    via = system.registry.via("nobody")
    for wait in (via.call(Echo()), via.stop(), via.wait_started()):
        with pytest.raises(NoProc, match="nobody"):
            await wait
    outcomes: list[Outcome[Any]] = []
    via.call_nowait(Echo(), outcomes.append)
    assert outcomes == []
    await turns()
    assert isinstance(outcomes[0].error, NoProc)
    via.cast(1)
    via.info(2)
    via.exit(SHUTDOWN)
    via.kill()
    assert await via.wait() == NOPROC
    assert (via.alive, via.exit_reason) == (False, NOPROC)
    assert list((await multi_call([via], Echo())).failed) == [via]


async def test_a_name_that_is_none_is_nobodys(system: ActorSystem):
    with pytest.raises(NoProc, match="None"):
        await system.registry.via(None).call(Echo())  # type: ignore[arg-type]


async def test_everything_that_a_ref_does_works_through_it(system: ActorSystem):
    actor = Trapper()
    await system.start(actor, name="x")
    via = system.registry.via("x")
    outcomes: list[Outcome[Any]] = []
    via.call_nowait(Echo(), outcomes.append)
    via.info("info")
    via.exit(SHUTDOWN)
    await turns()
    assert outcomes[0].result() == "hello"
    assert actor.log[1:] == ["info", Exit(None, SHUTDOWN)]
    assert await via.stop() == NORMAL
    await system.start(Probe(), name="x")
    waiting = asyncio.ensure_future(via.wait())
    await turns()
    via.kill()
    assert (await waiting).kind == "killed"


async def test_monitors_links_and_signals_go_through_it(system: ActorSystem):
    ref, via = await system.start(Probe(), name="x"), system.registry.via("x")
    watcher = await system.start(Trapper())

    def tie(me: Probe) -> None:
        me.ctx.monitor(via)
        me.ctx.link(via)

    watcher.cast(tie)
    await turns()
    watcher.cast(lambda me: me.ctx.exit(via, ExitReason("told")))
    await ref.wait()
    down, exited = (await log_of(watcher))[1:]
    assert (type(down), down.ref, down.reason.kind) == (Down, ref, "told")
    assert (type(exited), exited.ref, exited.reason.kind) == (Exit, ref, "told")

    watcher.cast(tie)  # now there is nobody
    watcher.cast(lambda me: me.ctx.unlink(via))
    watcher.cast(lambda me: me.ctx.exit(via, SHUTDOWN))
    await turns()
    down, exited = (await log_of(watcher))[3:]
    assert (down.ref, down.reason, exited.reason) == (via, NOPROC, NOPROC)


async def test_calling_oneself_is_found_out(system: ActorSystem):
    async def ask(me: Probe, reply_to: ReplyTo[Any]) -> str:
        with pytest.raises(CallingSelf):
            await me.ctx.system.registry.via("x").call(Echo())
        return "told"

    ref = await system.start(Probe(), name="x")
    assert await ref.call(Do(ask)) == "told"


async def test_a_callback_that_raises_is_reported(system: ActorSystem, caplog: pytest.LogCaptureFixture):
    def bad(outcome: object) -> None:
        raise SystemExit("a private text")

    system.registry.via("nobody").call_nowait(Echo(), bad)
    await turns()
    assert "on_reply of nobody" in caplog.text
    assert "private" not in caplog.text
