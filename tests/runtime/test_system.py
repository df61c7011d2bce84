import asyncio
from typing import Any

import pytest

from duologue.runtime import KILLED, SHUTDOWN, ActorSystem, ExitReason
from duologue.telemetry import Telemetry
from tests.runtime.actors import Do, Probe, Trapper, boom, turns


async def test_a_system_in_which_nothing_runs_has_no_task_and_no_timer():
    before = len(asyncio.all_tasks())
    system = ActorSystem()
    loop: Any = asyncio.get_running_loop()
    assert (len(asyncio.all_tasks()), loop._scheduled) == (before, [])
    await system.shutdown()


async def test_several_systems_share_a_loop_and_know_nothing_of_each_other():
    one, other = ActorSystem(), ActorSystem()
    mine, yours = one.spawn(Probe(), name="same"), other.spawn(Probe(), name="same")
    assert one.whereis("same") is mine
    await one.shutdown()
    assert (mine.alive, yours.alive) == (False, True)
    await other.shutdown()


async def test_shutdown_ends_the_roots_last_started_first():
    system = ActorSystem()
    log: list[str] = []
    for name in "abc":
        system.spawn(Trapper(on_terminate=lambda me, reason, name=name: log.append(name)))
    await turns()
    await system.shutdown()
    assert log == ["c", "b", "a"]


async def test_shutdown_kills_what_takes_too_long():
    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    system = ActorSystem()
    hung, mortal = system.spawn(Trapper(on_terminate=forever)), system.spawn(Probe())
    await turns()
    await system.shutdown(timeout=3.0)
    assert (hung.exit_reason, mortal.exit_reason) == (KILLED, SHUTDOWN)
    assert system.now() == pytest.approx(3.0)


async def test_shutdown_may_be_called_again():
    system = ActorSystem()
    system.spawn(Probe())
    await system.shutdown()
    await system.shutdown()


async def test_the_clock_can_be_passed_in():
    system = ActorSystem(clock=lambda: 1000.0)
    ref = system.spawn(Probe())
    assert await ref.call(Do(lambda me, _: me.ctx.now()), timeout=None) == 1000.0
    assert system.now() == 1000.0
    await system.shutdown()


async def test_statistics_count_what_happened(system: ActorSystem):
    ref = system.spawn(Probe())
    system.spawn(Probe())
    waiting = ref.call(Do(lambda me, _: asyncio.sleep(1.0)))
    await turns()
    statistics = system.statistics()
    assert (statistics.actors, statistics.started_total, statistics.waiting_calls) == (2, 2, 1)
    await waiting
    assert system.statistics().waiting_calls == 0
    with pytest.raises(AttributeError):
        statistics.actors = 7  # type: ignore[misc]


async def test_the_context_knows_the_system_the_ref_the_parent_and_the_telemetry(system: ActorSystem):
    parent = system.spawn(Probe())
    child = system.spawn(Probe(), link_to=parent)
    seen = await child.call(Do(lambda me, _: [me.ctx.system, me.ctx.ref, me.ctx.parent, me.ctx.telemetry]))
    assert seen == [system, child, parent, system.telemetry]
    assert await parent.call(Do(lambda me, _: me.ctx.parent)) is None


async def test_a_telemetry_that_raises_is_detached_and_hurts_nobody(caplog: pytest.LogCaptureFixture):
    class Broken(Telemetry):
        def actor_crashed(self, *, actor: str, reason: str) -> None:
            raise ValueError

    system = ActorSystem(telemetry=Broken())
    ref = system.spawn(Probe())
    ref.cast(boom)
    assert (await ref.wait()).detail == "ValueError"
    assert "actor_crashed of telemetry raised" in caplog.text
    assert type(system.telemetry) is Telemetry
    await system.shutdown()
