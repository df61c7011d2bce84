"""When terminate runs, in which order an end is told, and who can not hold it up."""

import asyncio
import contextlib
from typing import Any

import pytest

from duologue.errors import CallTimeout
from duologue.runtime import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    ExitReason,
    NoProc,
    ReplyTo,
    Stop,
)
from tests.runtime.actors import Do, Echo, Ledger, Probe, Trapper, boom, turns


def _terminations(log: list[Any]) -> list[ExitReason]:
    return [entry[1] for entry in log if isinstance(entry, tuple) and entry[0] == "terminate"]


async def test_terminate_runs_after_a_stop(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log))
    ref.cast(lambda me: Stop(ExitReason("odd")))
    assert await ref.wait() == ExitReason("odd")
    assert _terminations(log) == [ExitReason("odd")]


async def test_terminate_runs_after_a_crash(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log))
    ref.cast(boom)
    reason = await ref.wait()
    assert _terminations(log) == [reason]


async def test_terminate_runs_for_a_trapping_actor_when_its_parent_asks_for_the_end(system: ActorSystem):
    log: list[Any] = []
    parent = system.spawn(Probe())
    child = system.spawn(Trapper(log), link_to=parent)
    parent.cast(lambda me: me.ctx.exit(child, SHUTDOWN))
    assert await child.wait() == SHUTDOWN
    assert log == ["init", ("terminate", SHUTDOWN)]  # it never was an Exit info


async def test_terminate_does_not_run_when_killed(system: ActorSystem):
    log: list[Any] = []
    ref = await system.start(Trapper(log))
    ref.kill()
    assert await ref.wait() == KILLED
    assert _terminations(log) == []


async def test_terminate_does_not_run_for_a_non_trapping_actor_that_a_signal_ends(system: ActorSystem):
    log: list[Any] = []
    ref = await system.start(Probe(log))
    ref.exit(SHUTDOWN)
    assert await ref.wait() == SHUTDOWN
    assert _terminations(log) == []


async def test_messages_before_the_parents_signal_are_handled_first_by_a_trapping_actor(system: ActorSystem):
    log: list[Any] = []
    parent = system.spawn(Probe())
    child = system.spawn(Trapper(log), link_to=parent)

    def send(me: Probe) -> None:
        child.cast("before")
        me.ctx.exit(child, SHUTDOWN)
        child.cast("after")

    parent.cast(send)
    await child.wait()
    assert log == ["init", "before", ("terminate", SHUTDOWN)]


async def test_an_exception_in_terminate_replaces_the_reason(system: ActorSystem):
    ref = system.spawn(Probe(on_terminate=lambda me, reason: 1 / 0))
    ref.cast(lambda me: Stop())
    assert (await ref.wait()).detail == "ZeroDivisionError"


async def test_an_exception_in_an_async_terminate_replaces_the_reason(system: ActorSystem, ledger: Ledger):
    async def fail(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(1.0)
        raise ZeroDivisionError

    ref = system.spawn(Probe(on_terminate=fail))
    assert (await ref.stop()).detail == "ZeroDivisionError"
    assert ledger.events == [("crashed", "Probe", "error: ZeroDivisionError")]


async def test_stop_waits_for_the_end_and_handles_what_was_sent_before(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(log))
    ref.cast("before")
    assert await ref.stop() == NORMAL
    assert not ref.alive
    assert log == ["init", "before", ("terminate", NORMAL)]
    with pytest.raises(NoProc):
        await ref.stop()


async def test_a_stop_that_takes_too_long_times_out_and_still_is_to_happen(system: ActorSystem):
    async def slow(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(3.0)

    ref = system.spawn(Probe(on_terminate=slow))
    with pytest.raises(CallTimeout):
        await ref.stop(timeout=1.0)
    assert ref.alive
    assert await ref.wait() == NORMAL
    assert system.now() == pytest.approx(3.0)


async def test_ctx_stop_ends_after_the_callback_and_before_what_waits(system: ActorSystem):
    log: list[Any] = []

    def stop(me: Probe) -> None:
        me.ctx.stop(ExitReason("enough"))
        me.log.append("the rest of the callback")

    ref = system.spawn(Probe(log))
    ref.cast(stop)
    ref.cast("never handled")
    assert await ref.wait() == ExitReason("enough")
    assert log == ["init", "the rest of the callback", ("terminate", ExitReason("enough"))]


async def test_calls_that_wait_during_terminate_hear_of_the_end(system: ActorSystem):
    async def slow(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(1.0)

    ref = system.spawn(Probe(on_terminate=slow))
    ref.cast(lambda me: Stop())
    await turns()
    with pytest.raises(ActorDied) as died:
        await ref.call(Echo(), timeout=60.0)
    assert died.value.reason == NORMAL
    assert system.now() == pytest.approx(1.0)


async def test_kill_ends_a_terminate_that_takes_too_long(system: ActorSystem):
    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    ref = system.spawn(Probe(on_terminate=forever))
    ref.cast(lambda me: Stop())
    await turns()
    ref.kill()
    assert await ref.wait() == KILLED


async def test_kill_right_after_the_stop_does_not_wait_for_terminate_either(system: ActorSystem):
    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    ref = await system.start(Probe(on_terminate=forever))
    ref.cast(lambda me: Stop())
    ref.kill()
    assert await ref.wait() == KILLED


async def test_kill_cancels_an_async_handler_and_its_caller_hears_of_it(system: ActorSystem):
    cancelled = asyncio.Event()

    async def forever(me: Probe, reply_to: ReplyTo[Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    ref = system.spawn(Probe())
    answer = ref.call(Do(forever))
    await turns()
    ref.kill()
    with pytest.raises(ActorDied, match="killed"):
        await answer
    assert cancelled.is_set()


async def test_a_handler_that_swallows_its_cancellation_becomes_a_zombie_and_holds_nobody_up(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    release = asyncio.Event()

    async def stubborn(me: Probe) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    ref = system.spawn(Probe())
    ref.cast(stubborn)
    await turns()
    began = system.now()
    ref.kill()
    assert await ref.wait() == KILLED
    assert system.now() - began == pytest.approx(1.0)  # the grace
    assert (system.statistics().zombies, system.statistics().zombies_total) == (1, 1)
    assert ledger.events == [("zombie", "Probe")]
    assert "did not end within" in caplog.text
    release.set()
    await turns()
    assert (system.statistics().zombies, system.statistics().zombies_total) == (0, 1)


async def test_an_end_is_told_in_order_name_answer_monitor(system: ActorSystem):
    log: list[Any] = []
    ref = system.spawn(Probe(), name="mine")

    def seen(what: str) -> None:
        log.append((what, system.whereis("mine") is None, ref.alive))

    watcher = system.spawn(Probe(on_info=lambda me, message: seen("down")))
    watcher.cast(lambda me: me.ctx.monitor(ref) and None)
    await turns()
    ref.call_nowait(Do(lambda me, reply_to: Stop(reply="bye")), lambda outcome: seen("answer"))
    await turns()
    assert log == [("answer", True, False), ("down", True, False)]


async def test_a_dead_actors_state_is_not_kept_by_its_ref(system: ActorSystem):
    import gc
    import weakref

    class Held:
        pass

    def start() -> tuple[Any, "weakref.ref[Held]"]:
        actor = Probe()
        actor.state = Held()
        return system.spawn(actor), weakref.ref(actor.state)

    ref, held = start()
    ref.cast(boom)
    await ref.wait()
    gc.collect()
    assert held() is None


async def test_an_exit_while_init_waits_ends_the_start(system: ActorSystem):
    ref = system.spawn(Probe(on_init=lambda me: asyncio.sleep(60.0)))
    waiting = asyncio.ensure_future(ref.wait_started())
    await turns()
    ref.exit(SHUTDOWN)
    with pytest.raises(Exception, match="did not start: shutdown"):
        await waiting
    assert system.now() == 0.0


async def test_a_task_may_stop_its_idle_actor(system: ActorSystem):
    async def enough(me: Probe) -> None:
        await asyncio.sleep(1.0)
        me.ctx.stop(ExitReason("enough"))

    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(enough(me)) and None)
    assert await ref.wait() == ExitReason("enough")
