"""supervisor_SUITE, starting, stopping and restarting: cases 23 to 28 and 31 to 37."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from duologue.runtime import (
    BRUTAL_KILL,
    INFINITY,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorSystem,
    AutoShutdown,
    BadChildSpec,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Exit,
    ExitReason,
    Ignore,
    Ref,
    Refuse,
    Restart,
    StartFailed,
    StartIgnored,
    Strategy,
    Supervisor,
)
from tests.runtime.actors import Echo, Flaky, Probe, Trapper, boom, log_of, stop_with, turns, worker
from tests.runtime.conformance.conftest import Elapsed

ABNORMAL = ExitReason("abnormal")
STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


def not_me(me: Any) -> None:
    raise Ignore


def ref_of(sup: Supervisor, name: str) -> Ref[Any]:
    ref = sup.child(name)
    assert ref is not None, f"{name} does not run"
    return ref


def states(sup: Supervisor) -> dict[str, str]:
    return {info.id: info.state for info in reversed(sup.which_children())}


async def ended(sup: Supervisor, name: str, reason: ExitReason) -> None:
    """End a child by its own doing, and wait until the supervisor has done what it does."""
    ref = ref_of(sup, name)
    ref.cast(stop_with(reason))
    await ref.wait()
    await turns(100)


async def never(me: Any, *args: Any) -> None:
    await asyncio.Event().wait()


# 23. sup_start_ignore_init, sup_start_error_return, sup_start_fail


@pytest.mark.parametrize(
    ("on_init", "reason"),
    [
        pytest.param(not_me, "ignored", id="ignore_init"),
        pytest.param(lambda: "invalid", "bad_return", id="error_return"),
        pytest.param(lambda: 1 / 0, "error", id="fail"),
    ],
)
async def test_supervisor_sup_start_fails(system: ActorSystem, on_init: Callable[..., Any], reason: str):
    """The starter gets it as a value, and no stray exit signal but that of its link."""

    class Failing(Supervisor):
        def init(self) -> Any:  # type: ignore[override]
            return on_init(self) if reason == "ignored" else on_init()

    async def start(me: Probe, _: Any) -> str:
        with pytest.raises(StartFailed) as failed:
            await me.ctx.system.start(Failing(), link_to=me.ctx.ref)
        return failed.value.reason.kind

    from tests.runtime.actors import Do

    parent = await system.start(Trapper())
    assert await parent.call(Do(start)) == reason
    assert [type(entry) for entry in (await log_of(parent))[1:]] == [Exit]


# 24. sup_start_ignore_child and its kin


async def test_supervisor_sup_start_ignore_child(system: ActorSystem):
    sup = Supervisor([worker("ignores", on_init=not_me), worker("runs")])
    await system.start(sup)
    assert states(sup) == {"ignores": "stopped", "runs": "running"}


async def test_supervisor_sup_start_ignore_temporary_child(system: ActorSystem):
    sup = Supervisor([worker("ignores", None, Restart.TEMPORARY, on_init=not_me), worker("runs")])
    await system.start(sup)
    assert states(sup) == {"runs": "running"}


@pytest.mark.parametrize(("restart", "kept"), [(Restart.PERMANENT, True), (Restart.TEMPORARY, False)])
async def test_supervisor_sup_start_ignore_child_start_child(
    system: ActorSystem, restart: Restart, kept: bool
):
    sup = Supervisor()
    await system.start(sup)
    with pytest.raises(StartIgnored):
        await sup.start_child(worker("ignores", None, restart, on_init=not_me))
    assert ("ignores" in states(sup)) is kept


@pytest.mark.parametrize("restart", Restart)
async def test_supervisor_sup_start_ignore_child_start_child_simple(system: ActorSystem, restart: Restart):
    sup = DynamicSupervisor()
    await system.start(sup)
    with pytest.raises(StartIgnored):
        await sup.start_child(worker("ignores", None, restart, on_init=not_me))
    await turns()
    assert len(sup) == 0


# 25. sup_start_child_returns_error, sup_start_restart_child_returns_error


async def test_supervisor_sup_start_child_returns_error(system: ActorSystem):
    sup = Supervisor([worker("a"), worker("b", on_init=lambda me: Refuse(ValueError("no")))])
    with pytest.raises(StartFailed, match="failed to start child 'b': error: ValueError"):
        await system.start(sup)
    assert system.statistics().actors == 0


async def test_supervisor_sup_start_restart_child_returns_error(system: ActorSystem):
    started: list[int] = []

    def second_fails(me: Probe) -> Any:
        started.append(1)
        return Refuse(ValueError("no")) if len(started) > 1 else None

    sup = Supervisor([worker("a", on_init=second_fails)], intensity=3)
    ref = await system.start(sup)
    ref_of(sup, "a").cast(boom)
    assert await ref.wait() == SHUTDOWN
    assert len(started) == 1 + 3


# 26. sup_start_map, child_specs, sup_flags


def test_supervisor_sup_start_map():
    """The defaults."""
    spec = ChildSpec("id", Probe)
    assert (spec.restart, spec.type, spec.significant) == (Restart.PERMANENT, ChildType.WORKER, False)
    assert spec.patience == 5.0
    assert ChildSpec("id", Supervisor, type=ChildType.SUPERVISOR).patience == INFINITY


def test_supervisor_sup_start_map_faulty_specs():
    for fields, text in (
        ({"start": Probe}, "id"),
        ({"id": "a"}, "start"),
        ({"id": "a", "start": Probe, "silly": 1}, "silly"),
    ):
        with pytest.raises(TypeError, match=text):
            ChildSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("start", "module", "a callable"),
        ("restart", "prmanent", "a Restart"),
        ("shutdown", -100, "seconds, 0 or more"),
        ("type", "wrker", "a ChildType"),
        ("significant", True, "false for a permanent child"),
    ],
)
async def test_supervisor_child_specs(system: ActorSystem, field: str, value: Any, wanted: str):
    with pytest.raises(BadChildSpec, match=f"child 'a': {field} must be {wanted}"):
        ChildSpec(**{"id": "a", "start": Probe, field: value})


def test_supervisor_child_specs_duplicate_id():
    with pytest.raises(BadChildSpec, match="child 'a': id is taken"):
        Supervisor([worker("a"), worker("a")])


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("strategy", "one_for_one"),
        ("intensity", -1),
        ("intensity", "1"),
        ("period", 0),
        ("period", "5"),
        ("auto_shutdown", "never"),
    ],
)
def test_supervisor_sup_flags(flag: str, value: Any):
    with pytest.raises(ValueError, match=f"{flag} must be"):
        Supervisor(**{flag: value})
    if flag in ("intensity", "period"):
        with pytest.raises(ValueError, match=f"{flag} must be"):
            DynamicSupervisor(**{flag: value})


# 27. sup_stop_infinity, sup_stop_timeout, sup_stop_brutal_kill, also dynamic


async def _under(system: ActorSystem, dynamic: bool, *specs: ChildSpec) -> tuple[Ref[Any], list[Ref[Any]]]:
    """A supervisor, static or dynamic, of these children; both refs."""
    sup: Actor
    if dynamic:
        sup = DynamicSupervisor()
        ref: Ref[Any] = await system.start(sup)
        return ref, [await sup.start_child(spec) for spec in specs]
    sup = Supervisor(specs)
    ref = await system.start(sup)
    return ref, [ref_of(sup, spec.id) for spec in specs]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_sup_stop_infinity(system: ActorSystem, elapsed: Elapsed, dynamic: bool):
    async def slow(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(30.0)

    sup, (child,) = await _under(
        system, dynamic, worker("a", kind=Trapper, on_terminate=slow, shutdown=INFINITY)
    )
    await sup.stop(timeout=None)
    assert child.exit_reason == SHUTDOWN
    elapsed.check(30.0, 30.0)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_sup_stop_timeout(system: ActorSystem, elapsed: Elapsed, dynamic: bool):
    sup, (obedient, stubborn) = await _under(
        system,
        dynamic,
        worker("obedient", kind=Trapper, shutdown=1.0),
        worker("stubborn", kind=Trapper, on_terminate=never, shutdown=1.0),
    )
    await sup.stop()
    assert (obedient.exit_reason, stubborn.exit_reason) == (SHUTDOWN, KILLED)
    elapsed.check(1.0, 1.1)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_sup_stop_brutal_kill(system: ActorSystem, elapsed: Elapsed, dynamic: bool):
    log: list[str] = []
    sup, (child,) = await _under(system, dynamic, worker("a", log, kind=Trapper, shutdown=BRUTAL_KILL))
    await sup.stop()
    assert child.exit_reason == KILLED
    assert log == ["start a"]
    elapsed.check(0.0, 0.0)


# 28. sup_stop_race, sup_stop_non_shutdown_exit_dynamic


@pytest.mark.parametrize("dynamic", [False, True])
async def test_supervisor_sup_stop_race(system: ActorSystem, caplog: pytest.LogCaptureFixture, dynamic: bool):
    """Children that end by themselves, each in its own way, while they are being stopped."""

    def own_way(me: Probe, reason: ExitReason) -> None:
        raise ValueError

    sup, children = await _under(
        system,
        dynamic,
        worker("quick", kind=Trapper),
        worker("raises", kind=Trapper, on_terminate=own_way),
        worker("last"),
    )
    children[2].cast(stop_with(ABNORMAL))  # and this one just before
    assert await sup.stop() == NORMAL
    assert [str(child.exit_reason) for child in children] in (
        ["shutdown", "error: ValueError", "abnormal"],
        ["shutdown", "error: ValueError", "shutdown"],
    )
    assert "ended during shutdown: error: ValueError" in caplog.text
    assert system.statistics().actors == 0


# 31. permanent, transient, temporary


@pytest.mark.parametrize(
    ("restart", "reason", "after"),
    [
        (Restart.PERMANENT, NORMAL, "running"),
        (Restart.PERMANENT, SHUTDOWN, "running"),
        (Restart.PERMANENT, ABNORMAL, "running"),
        (Restart.TRANSIENT, NORMAL, "stopped"),
        (Restart.TRANSIENT, SHUTDOWN, "stopped"),
        (Restart.TRANSIENT, ABNORMAL, "running"),
        (Restart.TEMPORARY, NORMAL, None),
        (Restart.TEMPORARY, SHUTDOWN, None),
        (Restart.TEMPORARY, ABNORMAL, None),
    ],
)
async def test_supervisor_restart_types(
    system: ActorSystem, restart: Restart, reason: ExitReason, after: str | None
):
    sup = Supervisor([worker("a", None, restart)])
    await system.start(sup)
    before = ref_of(sup, "a")
    await ended(sup, "a", reason)
    assert states(sup).get("a") == after
    if after == "running":
        assert ref_of(sup, "a") is not before


# 32. temporary_bystander


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_supervisor_temporary_bystander(system: ActorSystem, strategy: Strategy):
    sup = Supervisor([worker("a"), worker("temporary", None, Restart.TEMPORARY)], strategy=strategy)
    await system.start(sup)
    bystander = ref_of(sup, "temporary")
    await ended(sup, "a", ABNORMAL)
    assert states(sup) == {"a": "running"}
    assert bystander.exit_reason == SHUTDOWN


# 33. multiple_restarts


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_supervisor_multiple_restarts(system: ActorSystem, strategy: Strategy):
    sup = Supervisor([worker("a"), worker("b")], strategy=strategy, intensity=1, period=1.0)
    ref = await system.start(sup)
    for _ in range(5):
        await ended(sup, "a", ABNORMAL)
        await asyncio.sleep(1.5)
    assert ref.alive
    assert set(states(sup).values()) == {"running"}


# 34. one_for_one, one_for_all, rest_for_one, simple_one_for_one


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [(Strategy.ONE_FOR_ONE, "b"), (Strategy.ONE_FOR_ALL, "abc"), (Strategy.REST_FOR_ONE, "bc")],
)
async def test_supervisor_strategies(system: ActorSystem, strategy: Strategy, restarted: str):
    sup = Supervisor([worker(name) for name in "abc"], strategy=strategy, intensity=2)
    ref = await system.start(sup)
    before = {name: ref_of(sup, name) for name in "abc"}
    await ended(sup, "b", ABNORMAL)
    assert [name for name in "abc" if ref_of(sup, name) is not before[name]] == list(restarted)
    await ended(sup, "b", ABNORMAL)
    assert ref.alive
    ref_of(sup, "b").cast(stop_with(ABNORMAL))
    assert await ref.wait() == SHUTDOWN
    assert system.statistics().actors == 0


async def test_supervisor_simple_one_for_one(system: ActorSystem):
    sup = DynamicSupervisor(intensity=2)
    ref = await system.start(sup)
    await sup.start_child(worker("a"))
    sibling = await sup.start_child(worker("b"))
    for _ in range(2):
        sup.children()[-1 if sup.children()[0] is sibling else 0].cast(stop_with(ABNORMAL))
        await turns(100)
        assert len(sup) == 2
        assert sibling.alive
    next(child for child in sup.children() if child is not sibling).cast(stop_with(ABNORMAL))
    assert await ref.wait() == SHUTDOWN
    assert sibling.exit_reason == SHUTDOWN


# 35. *_escalation


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_supervisor_escalation(system: ActorSystem, strategy: Strategy):
    flaky = Flaky()
    sup = Supervisor([worker("a", on_init=flaky), worker("sibling")], strategy=strategy, intensity=4)
    ref = await system.start(sup)
    sibling = ref_of(sup, "sibling")
    flaky.failures = 1000
    ref_of(sup, "a").cast(stop_with(ABNORMAL))
    assert await ref.wait() == SHUTDOWN
    assert sibling.exit_reason == SHUTDOWN
    assert flaky.attempts == 1 + 4


async def test_supervisor_simple_one_for_one_escalation(system: ActorSystem):
    flaky = Flaky()
    sup = DynamicSupervisor(intensity=4)
    ref = await system.start(sup)
    child = await sup.start_child(worker("a", on_init=flaky))
    sibling = await sup.start_child(worker("sibling"))
    flaky.failures = 1000
    child.cast(stop_with(ABNORMAL))
    assert await ref.wait() == SHUTDOWN
    assert sibling.exit_reason == SHUTDOWN
    assert flaky.attempts == 1 + 4


# 36. *_other_child_fails_restart


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ALL, "start a, start b, stop a, start a, start b, start c"),
        (Strategy.REST_FOR_ONE, "start a, start b, start b, start c"),
    ],
)
async def test_supervisor_other_child_fails_restart(system: ActorSystem, strategy: Strategy, expected: str):
    log: list[str] = []
    flaky = Flaky()
    specs = [
        worker("a", log, kind=Trapper),
        worker("b", log, kind=Trapper, on_init=flaky),
        worker("c", log),
    ]
    sup = Supervisor(specs, strategy=strategy)
    await system.start(sup)
    del log[:]
    flaky.failures = 1
    ref_of(sup, "a").kill()
    await turns(200)
    assert ", ".join(log[log.index("start a") :]) == expected
    assert set(states(sup).values()) == {"running"}


# 37. simple_one_for_one_restart_ignore, simple_one_for_one_shutdown


async def test_supervisor_simple_one_for_one_restart_ignore(system: ActorSystem):
    lives: list[int] = []

    def second_ignores(me: Probe) -> None:
        lives.append(1)
        if len(lives) > 1:
            raise Ignore

    sup = DynamicSupervisor()
    ref = await system.start(sup)
    child = await sup.start_child(worker("a", on_init=second_ignores))
    child.cast(stop_with(ABNORMAL))
    await turns(100)
    assert (len(sup), len(lives), ref.alive) == (0, 2, True)


async def test_supervisor_simple_one_for_one_shutdown(system: ActorSystem, elapsed: Elapsed):
    """All at once: five children that take a second each take one second together."""

    async def slow(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(1.0)

    sup = DynamicSupervisor()
    ref = await system.start(sup)
    for number in range(5):
        await sup.start_child(worker(str(number), kind=Trapper, on_terminate=slow))
    await ref.stop(timeout=None)
    elapsed.check(1.0, 1.0)


async def test_supervisor_zombie_is_not_waited_for(system: ActorSystem, elapsed: Elapsed):
    """Beyond OTP, where a kill always works: asyncio can only ask."""
    release = asyncio.Event()

    async def swallow(me: Probe, reason: ExitReason) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    sup, _ = await _under(system, False, worker("a", kind=Trapper, on_terminate=swallow, shutdown=1.0))
    await sup.stop(timeout=None)
    elapsed.check(2.0, 2.1)  # its shutdown, and the system's grace
    assert system.statistics().zombies == 1
    release.set()
    await turns()


async def test_supervisor_of_an_unknown_exit(system: ActorSystem):
    """Rule 57: an exit signal of who is no child is ignored."""
    sup = Supervisor([worker("a")], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    ref = await system.start(sup)
    stranger = await system.start(Probe())
    ref.exit(ABNORMAL, stranger)
    ref.exit(ABNORMAL)
    assert await ref_of(sup, "a").call(Echo()) == "hello"
    await turns()
    assert ref.alive
