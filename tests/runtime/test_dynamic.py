import asyncio
import gc
import weakref
from typing import Any

import pytest

from duologue.errors import TooMany
from duologue.runtime import (
    BRUTAL_KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    BadChildSpec,
    ChildError,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    ExitReason,
    Ignore,
    NoProc,
    Restart,
    StartFailed,
    StartIgnored,
    Supervisor,
)
from tests.runtime.actors import Echo, Ledger, Probe, Trapper, boom, stop_with, turns, worker


async def test_a_child_is_there_at_once_and_takes_messages(system: ActorSystem):
    sup = DynamicSupervisor()
    system.spawn(sup)
    ref = sup.start_child_nowait(worker("a"))
    assert sup.children() == [ref]
    assert await ref.call(Echo()) == "hello"


async def test_start_child_waits_for_init(system: ActorSystem):
    sup = DynamicSupervisor()
    system.spawn(sup)
    await sup.start_child(worker("a", on_init=lambda me: asyncio.sleep(1.0)))
    assert system.now() == pytest.approx(1.0)


async def test_a_child_whose_init_is_slow_holds_nobody_up(system: ActorSystem):
    sup = DynamicSupervisor()
    system.spawn(sup)
    slow = asyncio.ensure_future(sup.start_child(worker("slow", on_init=lambda me: asyncio.sleep(5.0))))
    await turns()
    await sup.start_child(worker("quick"))
    assert system.now() == 0.0
    await slow


@pytest.mark.parametrize("restart", Restart)
async def test_a_first_init_that_fails_is_told_and_not_tried_again(system: ActorSystem, restart: Restart):
    attempts: list[int] = []

    def fail(me: Probe) -> None:
        attempts.append(1)
        raise ValueError

    sup = DynamicSupervisor()
    ref = await system.start(sup)
    with pytest.raises(StartFailed):
        await sup.start_child(worker("a", restart=restart, on_init=fail))
    await turns()
    assert (len(attempts), len(sup), ref.alive) == (1, 0, True)


async def test_a_child_that_ignores_is_dropped_on_start_and_on_restart(system: ActorSystem):
    first = [True]

    def once(me: Probe) -> None:
        if not first.pop() if first else True:
            raise Ignore

    def never(me: Probe) -> None:
        raise Ignore

    sup = DynamicSupervisor()
    await system.start(sup)
    with pytest.raises(StartIgnored):
        await sup.start_child(worker("never", on_init=never))
    ref = await sup.start_child(worker("once", on_init=once))
    ref.cast(boom)
    await turns()
    assert len(sup) == 0


async def test_permanent_and_transient_children_are_restarted_as_new_refs(
    system: ActorSystem, ledger: Ledger
):
    sup = DynamicSupervisor(intensity=10)
    system.spawn(sup)
    permanent = sup.start_child_nowait(worker("p"))
    transient = sup.start_child_nowait(worker("t", restart=Restart.TRANSIENT))
    permanent.cast(stop_with(NORMAL))
    transient.cast(boom)
    await turns()
    children = sup.children()
    assert len(children) == 2
    assert permanent not in children
    assert transient not in children
    assert ledger.events.count(("restarted", "Probe")) == 2


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, ExitReason.shutdown("x")])
async def test_a_transient_child_that_ends_cleanly_is_gone(system: ActorSystem, reason: ExitReason):
    sup = DynamicSupervisor()
    system.spawn(sup)
    sup.start_child_nowait(worker("t", restart=Restart.TRANSIENT)).cast(stop_with(reason))
    await turns()
    assert len(sup) == 0


async def test_a_crash_of_a_temporary_child_is_its_own(system: ActorSystem):
    sup = DynamicSupervisor(intensity=0)
    ref = system.spawn(sup)
    others = [
        sup.start_child_nowait(worker(f"t{number}", restart=Restart.TEMPORARY)) for number in range(100)
    ]
    for other in others[:99]:
        other.cast(boom)
    await turns()
    assert ref.alive
    assert sup.children() == [others[99]]


async def test_nothing_that_could_start_a_temporary_child_is_kept(system: ActorSystem):
    class Argument:
        pass

    def spec(argument: Argument) -> ChildSpec:
        return ChildSpec("t", lambda: Probe([argument]) and Probe(), Restart.TEMPORARY)

    argument = Argument()
    kept = weakref.ref(argument)
    sup = DynamicSupervisor()
    system.spawn(sup)
    sup.start_child_nowait(spec(argument))
    await turns()
    del argument
    gc.collect()
    assert kept() is None
    assert len(sup) == 1


async def test_more_restarts_than_allowed_end_the_children_and_the_supervisor(system: ActorSystem):
    sup = DynamicSupervisor(intensity=2, period=5.0)
    ref = system.spawn(sup)
    log: list[str] = []
    sup.start_child_nowait(worker("other", log, kind=Trapper))
    sup.start_child_nowait(worker("a"))
    for _ in range(3):
        sup.children()[-1].cast(boom)
        await turns()
    assert await ref.wait() == SHUTDOWN
    assert log == ["start other", "stop other"]
    with pytest.raises(NoProc):
        sup.start_child_nowait(worker("late"))


async def test_failing_restarts_count_and_trip(system: ActorSystem):
    attempts: list[int] = []

    def only_once(me: Probe) -> None:
        attempts.append(1)
        if len(attempts) > 1:
            raise ValueError

    sup = DynamicSupervisor(intensity=5)
    ref = system.spawn(sup)
    sup.start_child_nowait(worker("a", on_init=only_once)).cast(boom)
    assert await ref.wait() == SHUTDOWN
    assert len(attempts) == 6


async def test_a_start_function_that_raises_on_restart_is_tried_again_and_counts_as_a_child(
    system: ActorSystem,
):
    failures = [0]

    def start() -> Probe:
        if failures[0]:
            failures[0] -= 1
            raise ValueError
        return Probe()

    sup = DynamicSupervisor(intensity=1_000_000, max_children=1)
    ref = system.spawn(sup)
    child = sup.start_child_nowait(ChildSpec("a", start))
    failures[0] = 1_000_000
    child.cast(boom)
    await turns()
    assert (len(sup), sup.children()) == (1, [])
    with pytest.raises(TooMany):
        sup.start_child_nowait(worker("b"))
    failures[0] = 0
    await turns()
    assert len(sup.children()) == 1
    failures[0] = 1_000_000
    sup.children()[0].cast(boom)
    await turns()
    assert await ref.stop() == NORMAL


async def test_a_start_function_that_raises_at_first_raises_at_the_caller(system: ActorSystem):
    def start() -> Probe:
        raise ZeroDivisionError

    sup = DynamicSupervisor()
    ref = system.spawn(sup)
    with pytest.raises(ZeroDivisionError):
        sup.start_child_nowait(ChildSpec("a", start))
    await turns()
    assert (ref.alive, len(sup)) == (True, 0)


async def test_there_are_at_most_max_children(system: ActorSystem):
    sup = DynamicSupervisor(max_children=2)
    system.spawn(sup)
    first = sup.start_child_nowait(worker("a", restart=Restart.TEMPORARY))
    sup.start_child_nowait(worker("b"))
    with pytest.raises(TooMany, match="2 children"):
        sup.start_child_nowait(worker("c"))
    await first.stop()
    await turns()
    sup.start_child_nowait(worker("c"))


async def test_terminate_child_ends_it_for_good(system: ActorSystem):
    sup = DynamicSupervisor()
    system.spawn(sup)
    ref = sup.start_child_nowait(worker("a"))
    await sup.terminate_child(ref)
    assert (ref.alive, len(sup)) == (False, 0)
    await turns()
    assert len(sup) == 0
    with pytest.raises(ChildError, match="not_found"):
        await sup.terminate_child(ref)


async def test_children_stop_in_parallel_with_one_timer_for_each_patience(system: ActorSystem):
    async def slow(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(1.0)

    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    sup = DynamicSupervisor()
    ref = system.spawn(sup)
    slow_ones = [sup.start_child_nowait(worker("s", kind=Trapper, on_terminate=slow)) for _ in range(50)]
    hung = [
        sup.start_child_nowait(worker("h", kind=Trapper, on_terminate=forever, shutdown=2.0))
        for _ in range(50)
    ]
    brutal = sup.start_child_nowait(worker("b", kind=Trapper, on_terminate=forever, shutdown=BRUTAL_KILL))
    await turns()
    assert await ref.stop() == NORMAL
    assert system.now() == pytest.approx(2.0)
    assert {await child.wait() for child in slow_ones} == {SHUTDOWN}
    assert {await child.wait() for child in [*hung, brutal]} == {KILLED}


async def test_it_takes_children_before_its_own_init_ran(system: ActorSystem):
    sup = DynamicSupervisor()
    ref = system.spawn(sup)
    child = sup.start_child_nowait(worker("a"))
    child.kill()
    await turns()
    assert ref.alive
    assert len(sup.children()) == 1


async def test_a_supervisor_that_does_not_run_starts_nothing(system: ActorSystem):
    with pytest.raises(NoProc):
        DynamicSupervisor().start_child_nowait(worker("a"))


async def test_significant_children_are_refused(system: ActorSystem):
    sup = DynamicSupervisor()
    system.spawn(sup)
    with pytest.raises(BadChildSpec, match="significant"):
        sup.start_child_nowait(worker("a", restart=Restart.TEMPORARY, significant=True))


async def test_under_a_supervisor_it_is_restarted_empty(system: ActorSystem):
    made: list[DynamicSupervisor] = []

    def dynamic() -> DynamicSupervisor:
        made.append(DynamicSupervisor(intensity=0))
        return made[-1]

    await system.start(Supervisor([ChildSpec("dynamic", dynamic, type=ChildType.SUPERVISOR)]))
    made[0].start_child_nowait(worker("a")).cast(boom)
    await turns(100)
    assert len(made) == 2
    assert len(made[1]) == 0
    assert (await made[1].start_child(worker("a"))).alive


async def test_unexpected_messages_are_reported_and_dropped(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    ref = system.spawn(DynamicSupervisor())
    ref.cast("stray")
    ref.info("stray")
    await turns()
    assert ref.alive
    assert caplog.text.count("stray message") == 2


async def test_ten_thousand_children_start_and_stop(system: ActorSystem):
    sup = DynamicSupervisor()
    ref = system.spawn(sup)
    children: list[Any] = [
        sup.start_child_nowait(worker(f"c{number}", restart=Restart.TEMPORARY)) for number in range(10_000)
    ]
    await turns()
    assert len(sup) == 10_000
    await ref.stop()
    assert not any(child.alive for child in children)


async def test_the_end_of_many_children_holds_nobody_up_and_leaves_no_timer(system: ActorSystem):
    sup = DynamicSupervisor()
    ref = await system.start(sup)
    bystander = await system.start(Probe())
    for number in range(2000):
        sup.start_child_nowait(worker(str(number), restart=Restart.TEMPORARY))
    await turns()
    before = system.statistics().actors
    ending = asyncio.ensure_future(ref.stop())
    served = []
    while not ending.done():
        await bystander.call(Echo())
        served.append(system.statistics().actors)
    assert len({count for count in served if 2 < count < before}) >= 3  # it was served while they went
    loop: Any = asyncio.get_running_loop()
    left = [handle for handle in loop._scheduled if not handle.cancelled()]
    assert [handle for handle in left if handle._callback.__name__ == "_kill_late"] == []
