"""supervisor_SUITE, the administration of children: cases 29, 30 and 38 to 46."""

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from duologue.runtime import (
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorSystem,
    AlreadyRegistered,
    AutoShutdown,
    BadChildSpec,
    ChildCounts,
    ChildError,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    ExitReason,
    Ref,
    Refuse,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
)
from tests.runtime.actors import Echo, Flaky, Probe, Trapper, boom, stop_with, turns, worker
from tests.runtime.conformance.test_supervisor_restarts import ABNORMAL, STRATEGIES, ended, ref_of, states

# 29. child_adm, child_adm_simple


async def test_supervisor_child_adm(system: ActorSystem):
    sup = Supervisor()
    await system.start(sup)
    spec = worker("child1")
    for action in (sup.terminate_child, sup.restart_child, sup.delete_child):
        if action is not sup.terminate_child:
            with pytest.raises(ChildError, match="not_found"):
                await action("child1")
    with pytest.raises(ChildError, match="not_found"):
        await sup.terminate_child("child1")

    first = await sup.start_child(spec)
    with pytest.raises(ChildError, match="already_started") as error:
        await sup.start_child(spec)
    assert error.value.ref is first
    for action in (sup.restart_child, sup.delete_child):
        with pytest.raises(ChildError, match="running"):
            await action("child1")
    assert [(info.id, info.ref) for info in sup.which_children()] == [("child1", first)]

    await sup.terminate_child("child1")
    assert first.exit_reason == SHUTDOWN
    await sup.terminate_child("child1")
    assert states(sup) == {"child1": "stopped"}
    with pytest.raises(ChildError, match="already_present"):
        await sup.start_child(spec)

    second = await sup.restart_child("child1")
    assert second is not first
    assert ref_of(sup, "child1") is second
    await sup.terminate_child("child1")
    await sup.delete_child("child1")
    assert sup.which_children() == []
    with pytest.raises(ChildError, match="not_found"):
        await sup.delete_child("child1")


async def test_supervisor_child_adm_simple(system: ActorSystem):
    sup = DynamicSupervisor()
    await system.start(sup)
    first, second = await sup.start_child(worker("x")), await sup.start_child(worker("x"))
    assert sup.children() == [first, second]
    assert sup.count_children() == ChildCounts(specs=2, active=2, supervisors=0, workers=2)
    await sup.terminate_child(first)
    assert first.exit_reason == SHUTDOWN
    assert sup.children() == [second]
    with pytest.raises(ChildError, match="not_found"):
        await sup.terminate_child(first)
    with pytest.raises(ChildError, match="not_found"):
        await sup.terminate_child(await system.start(Probe()))


# 30. extra_return


async def test_supervisor_extra_return(system: ActorSystem):
    """What OTP's start functions tell beside the pid is told here by the actor that `start` makes."""
    made: list[Probe] = []

    def start() -> Probe:
        made.append(Probe())
        made[-1].state = "extra"
        return made[-1]

    sup = Supervisor([ChildSpec("a", start)])
    await system.start(sup)
    assert made[-1].state == "extra"
    await ended(sup, "a", ABNORMAL)
    assert len(made) == 2
    assert made[-1].ctx.ref is ref_of(sup, "a")


# 38. child_unlink


async def test_supervisor_child_unlink(system: ActorSystem):
    sup = Supervisor([worker("naughty")])
    ref = await system.start(sup)
    child = ref_of(sup, "naughty")
    child.cast(lambda me: me.ctx.unlink(ref))
    await turns()
    await sup.terminate_child("naughty")
    assert child.exit_reason == SHUTDOWN


# 39. tree


async def test_supervisor_tree(system: ActorSystem):
    """A subtree that is started again has its static children, and none of those that were added."""
    made: list[Supervisor] = []

    def subtree() -> Supervisor:
        made.append(Supervisor([worker("static1"), worker("static2")], intensity=0))
        return made[-1]

    top = Supervisor([worker("child"), ChildSpec("subtree", subtree, type=ChildType.SUPERVISOR)])
    await system.start(top)
    await made[0].start_child(worker("added"))
    assert made[0].count_children().active == 3
    bystander = ref_of(top, "child")
    await ended(made[0], "static1", ABNORMAL)
    assert len(made) == 2
    assert set(states(made[1])) == {"static1", "static2"}
    assert ref_of(top, "child") is bystander
    assert top.count_children() == ChildCounts(specs=2, active=2, supervisors=1, workers=1)


# 40. hanging_restart_loop


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_supervisor_hanging_restart_loop(system: ActorSystem, strategy: Strategy):
    """A child that fails to start again and again keeps nobody from the supervisor."""
    flaky = Flaky()
    sup = Supervisor(
        [worker("a"), worker("failing", on_init=flaky), worker("c")], strategy=strategy, intensity=10**9
    )
    ref = await system.start(sup)
    flaky.failures = 10**9
    ref_of(sup, "failing").cast(stop_with(ABNORMAL))
    await turns(100)
    assert states(sup)["failing"] == "restarting"
    with pytest.raises(ChildError, match="restarting"):
        await sup.restart_child("failing")
    with pytest.raises(ChildError, match="restarting"):
        await sup.delete_child("failing")
    await sup.terminate_child("failing")
    assert states(sup)["failing"] == "stopped"
    attempts = flaky.attempts
    await turns(100)
    assert flaky.attempts == attempts
    flaky.failures = 0
    await sup.restart_child("failing")
    flaky.failures = 10**9
    ref_of(sup, "failing").cast(stop_with(ABNORMAL))
    await turns(100)
    assert await ref.stop() == NORMAL


async def test_supervisor_hanging_restart_loop_simple(system: ActorSystem):
    flaky = Flaky()
    sup = DynamicSupervisor(intensity=10**9)
    ref = await system.start(sup)
    sibling = await sup.start_child(worker("sibling"))
    child = await sup.start_child(worker("failing", on_init=flaky))
    flaky.failures = 10**9
    child.cast(stop_with(ABNORMAL))
    await turns(100)
    assert flaky.attempts > 2
    await sup.terminate_child(sibling)
    another = await sup.start_child(worker("another"))
    assert await another.call(Echo()) == "hello"
    assert await ref.stop() == NORMAL
    assert system.statistics().actors == 0


# 41. count_restarting_children, count_children


async def test_supervisor_count_restarting_children(system: ActorSystem):
    flaky = Flaky()
    sup = Supervisor([worker("a"), worker("failing", on_init=flaky)], intensity=10**9)
    await system.start(sup)
    assert sup.count_children() == ChildCounts(specs=2, active=2, supervisors=0, workers=2)
    flaky.failures = 10**9
    ref_of(sup, "failing").cast(stop_with(ABNORMAL))
    await turns(100)
    assert sup.count_children() == ChildCounts(specs=2, active=1, supervisors=0, workers=2)
    await sup.terminate_child("failing")


async def test_supervisor_count_children(system: ActorSystem):
    sup = Supervisor([worker("a")])
    await system.start(sup)
    await sup.start_child(ChildSpec("b", Supervisor, type=ChildType.SUPERVISOR))
    await sup.start_child(worker("c", None, Restart.TEMPORARY))
    assert sup.count_children() == ChildCounts(specs=3, active=3, supervisors=1, workers=2)
    await sup.terminate_child("a")
    await sup.terminate_child("c")
    assert sup.count_children() == ChildCounts(specs=2, active=1, supervisors=1, workers=1)


async def test_supervisor_count_children_supervisor_simple(system: ActorSystem):
    sup = DynamicSupervisor()
    await system.start(sup)
    for _ in range(3):
        await sup.start_child(ChildSpec("s", Supervisor, type=ChildType.SUPERVISOR))
    assert sup.count_children() == ChildCounts(specs=3, active=3, supervisors=3, workers=0)


# 42. significant


def _significant(name: str, restart: Restart) -> ChildSpec:
    return worker(name, None, restart, significant=True)


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, ABNORMAL])
@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
@pytest.mark.parametrize("auto", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
async def test_supervisor_significant(
    system: ActorSystem, restart: Restart, reason: ExitReason, auto: AutoShutdown
):
    """A transient one counts when it ends cleanly, a temporary one always."""
    sup = Supervisor(
        [_significant("one", restart), _significant("two", restart), worker("other")], auto_shutdown=auto
    )
    ref = await system.start(sup)
    counts = reason.clean or restart is Restart.TEMPORARY
    await ended(sup, "one", reason)
    assert ref.alive is not (counts and auto is AutoShutdown.ANY_SIGNIFICANT)
    if ref.alive:
        await ended(sup, "two", reason)
        assert ref.alive is not (counts and auto is AutoShutdown.ALL_SIGNIFICANT)
    if not ref.alive:
        assert ref.exit_reason == SHUTDOWN
        assert system.statistics().actors == 0


@pytest.mark.parametrize("auto", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
async def test_supervisor_nonsignificant(system: ActorSystem, auto: AutoShutdown):
    sup = Supervisor(
        [worker("a", None, Restart.TEMPORARY), worker("b", None, Restart.TRANSIENT)], auto_shutdown=auto
    )
    ref = await system.start(sup)
    for name in "ab":
        await ended(sup, name, NORMAL)
    assert ref.alive


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_supervisor_significant_terminated_on_purpose(system: ActorSystem, restart: Restart):
    sup = Supervisor([_significant("one", restart)], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    ref = await system.start(sup)
    await sup.terminate_child("one")
    await turns()
    assert ref.alive


async def test_supervisor_significant_bystander(system: ActorSystem):
    """Siblings that a strategy takes along do not count, but those that are left may be none any more."""
    sup = Supervisor(
        [worker("a"), _significant("temporary", Restart.TEMPORARY), _significant("left", Restart.TRANSIENT)],
        strategy=Strategy.ONE_FOR_ALL,
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    ref = await system.start(sup)
    await ended(sup, "a", ABNORMAL)
    assert ref.alive
    assert set(states(sup)) == {"a", "left"}
    await ended(sup, "left", NORMAL)
    assert not ref.alive


async def test_supervisor_significant_escalation(system: ActorSystem):
    """A supervisor that ended with its significant child is the significant child of the one above."""

    def inner() -> Supervisor:
        return Supervisor(
            [_significant("leaf", Restart.TEMPORARY)], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
        )

    made: list[Supervisor] = []

    def start() -> Supervisor:
        made.append(inner())
        return made[-1]

    spec = ChildSpec("inner", start, Restart.TRANSIENT, type=ChildType.SUPERVISOR, significant=True)
    outer = Supervisor([spec, worker("other")], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    ref = await system.start(outer)
    ref_of(made[0], "leaf").cast(stop_with(NORMAL))
    assert await ref.wait() == SHUTDOWN


async def test_supervisor_significant_faulty_specs(system: ActorSystem):
    with pytest.raises(BadChildSpec, match="significant"):
        worker("a", None, Restart.PERMANENT, significant=True)
    with pytest.raises(BadChildSpec, match="significant"):
        Supervisor([_significant("a", Restart.TRANSIENT)])
    dynamic = DynamicSupervisor()
    await system.start(dynamic)
    with pytest.raises(BadChildSpec, match="significant"):
        await dynamic.start_child(_significant("a", Restart.TRANSIENT))


# 43. do_not_save_start_parameters_for_temporary_children, simple_one_for_one_corruption


class Argument:
    """Something large that a child was started with."""


@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_do_not_save_start_parameters_for_temporary_children(
    system: ActorSystem, dynamic: bool
):
    argument = Argument()
    gone = weakref.ref(argument)

    def start(argument: Argument | None = argument) -> Probe:
        return Probe()

    spec = ChildSpec("a", start, Restart.TEMPORARY)
    sup: Any = DynamicSupervisor() if dynamic else Supervisor()
    await system.start(sup)
    ref: Ref[Any] = await sup.start_child(spec)
    del spec, start, argument
    await turns()
    gc.collect()
    assert gone() is None
    assert await ref.call(Echo()) == "hello"
    ref.cast(stop_with(ABNORMAL))
    await ref.wait()
    await turns(100)
    assert system.statistics().actors == 1


async def test_supervisor_simple_one_for_one_corruption(system: ActorSystem):
    """Nothing of children that have ended is kept."""
    sup: Any = DynamicSupervisor()
    await system.start(sup)
    gone: list[weakref.ref[Argument]] = []

    def spec() -> ChildSpec:
        argument = Argument()
        gone.append(weakref.ref(argument))
        return ChildSpec("a", lambda argument=argument: Probe(), Restart.TRANSIENT)  # type: ignore[misc]

    for _ in range(10):
        ref = await sup.start_child(spec())
        ref.cast(stop_with(NORMAL))
        await ref.wait()
    await turns()
    gc.collect()
    assert [found for found in gone if found() is not None] == []


# 44. order_of_children


async def test_supervisor_order_of_children(system: ActorSystem):
    log: list[str] = []
    specs = [worker(name, log, kind=Trapper) for name in "abcdef"]
    sup = Supervisor(specs, strategy=Strategy.REST_FOR_ONE)
    ref = await system.start(sup)
    assert log == [f"start {name}" for name in "abcdef"]
    assert [info.id for info in sup.which_children()] == list("fedcba")
    del log[:]
    ref_of(sup, "d").kill()
    await turns(100)
    assert log == ["stop f", "stop e", "start d", "start e", "start f"]
    del log[:]
    await ref.stop()
    assert log == [f"stop {name}" for name in "fedcba"]


# 45. scale_start_stop_many_children, simple_one_for_one_scale_many_temporary_children


async def _cost(system: ActorSystem, dynamic: bool, count: int) -> float:
    """Processor seconds to start and stop so many children."""
    began = time.process_time()
    if dynamic:
        sup: Any = DynamicSupervisor()
        ref: Ref[Any] = await system.start(sup)
        for number in range(count):
            sup.start_child_nowait(ChildSpec(str(number), Actor, Restart.TEMPORARY))
    else:
        sup = Supervisor([ChildSpec(str(number), Actor) for number in range(count)])
        ref = await system.start(sup, start_timeout=None)
    await ref.stop(timeout=None)
    assert system.statistics().actors == 0
    return time.process_time() - began


@pytest.mark.virtual_time
@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_scale_start_stop_many_children(system: ActorSystem, dynamic: bool):
    """Ten times the children cost about ten times as much; a quadratic part would make it a hundred."""
    gc.collect()
    gc.disable()  # what it takes to look through the objects of all tests before is not the supervisor's
    try:
        few = min([await _cost(system, dynamic, 500) for _ in range(3)])
        many = min([await _cost(system, dynamic, 5000) for _ in range(2)])
    finally:
        gc.enable()
    assert many < 40 * few


# 46. already_started_outside_supervisor, faulty_application_shutdown, external_start_no_progress_log


async def test_supervisor_already_started_outside_supervisor(system: ActorSystem):
    outside = await system.start(Probe(), name="outside")
    sup = Supervisor()
    await system.start(sup)
    with pytest.raises(AlreadyRegistered) as taken:
        await sup.start_child(worker("a", name="outside"))
    assert taken.value.ref is outside
    assert states(sup) == {}
    with pytest.raises(StartFailed, match="AlreadyRegistered"):
        await system.start(Supervisor([worker("a", name="outside")]))
    assert outside.alive


async def test_supervisor_faulty_application_shutdown(system: ActorSystem):
    """The innermost reason is in the outermost error."""
    inner = Supervisor([worker("ok"), worker("faulty", on_init=lambda me: Refuse(ValueError("no")))])
    outer = Supervisor([worker("first"), ChildSpec("inner", lambda: inner, type=ChildType.SUPERVISOR)])
    with pytest.raises(StartFailed) as failed:
        await system.start(outer)
    assert str(failed.value.reason) == (
        "shutdown: failed to start child 'inner': shutdown: failed to start child 'faulty': error: ValueError"
    )
    assert system.statistics().actors == 0


async def test_supervisor_external_start_no_progress_log(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    sup = Supervisor([worker("a")])
    ref = await system.start(sup)
    await sup.start_child(worker("b"))
    await ref.stop()
    assert caplog.text == ""


async def test_supervisor_crash_is_reported_by_the_child_and_its_supervisor(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    sup = Supervisor([worker("a")])
    await system.start(sup)
    ref_of(sup, "a").cast(boom)
    await turns(100)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    await asyncio.sleep(0)
