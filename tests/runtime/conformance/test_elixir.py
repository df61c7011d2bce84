"""Elixir's own suites, where they ask for more than OTP's: cases 47 to 50."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from duologue.errors import CallTimeout, TooMany
from duologue.runtime import (
    BRUTAL_KILL,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorDied,
    ActorSystem,
    AlreadyRegistered,
    BadChildSpec,
    CallingSelf,
    ChildError,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Ignore,
    NoProc,
    PartitionSupervisor,
    Ref,
    Refuse,
    Registered,
    Registry,
    ReplyTo,
    Restart,
    SharedRegistry,
    StartFailed,
    StartIgnored,
    Stop,
    TaskSupervisor,
    Unregistered,
)
from tests.runtime.actors import Do, Echo, Probe, Trapper, boom, log_of, stop_with, turns, worker
from tests.runtime.conformance.conftest import Elapsed

ABNORMAL = ExitReason("abnormal")


# 47. gen_server_test


async def test_elixir_gen_server_call_exit_messages(system: ActorSystem):
    """Each failure of a call says of whom, of what, and why."""
    hanging = await system.start(Probe(), name="hanging")
    hanging.cast(lambda me: asyncio.Event().wait())
    with pytest.raises(CallTimeout, match="actor hanging did not answer Echo within the deadline"):
        await hanging.call(Echo(), timeout=0.5)
    hanging.kill()

    dead = await system.start(Probe(), name="dead")
    await dead.stop()
    with pytest.raises(NoProc, match="actor dead ended: noproc"):
        await dead.call(Echo())

    for reason, text in (
        (NORMAL, "normal"),
        (SHUTDOWN, "shutdown"),
        (ExitReason.shutdown("term"), "shutdown: term"),
        (ABNORMAL, "abnormal"),
    ):
        ref = await system.start(Probe(), name="ending")
        with pytest.raises(ActorDied, match=f"actor ending ended before it answered Do: {text}$"):
            await ref.call(Do(lambda me, _, reason=reason: Stop(reason)))  # type: ignore[misc]

    async def ask(me: Probe, _: ReplyTo[Any]) -> None:
        with pytest.raises(CallingSelf, match="actor selfish calls itself"):
            await me.ctx.ref.call(Echo())

    await (await system.start(Probe(), name="selfish")).call(Do(ask))


async def test_elixir_gen_server_nil_name(system: ActorSystem):
    nobody = system.registry.via(None)  # type: ignore[arg-type]
    for wait in (nobody.call(Echo()), nobody.stop()):
        with pytest.raises(NoProc, match="actor None ended: noproc"):
            await wait
    nobody.cast("lost")
    assert nobody.exit_reason == NOPROC


async def test_elixir_gen_server_stop(system: ActorSystem):
    async def stop_self(me: Probe, _: ReplyTo[Any]) -> None:
        with pytest.raises(CallingSelf):
            await me.ctx.ref.stop()

    ref = await system.start(Probe(), name="stack")
    await ref.call(Do(stop_self))
    assert await system.registry.via("stack").stop() == NORMAL
    with pytest.raises(NoProc):
        await ref.stop()
    linked = await system.start(Trapper())
    ref = await system.start(Probe(), link_to=linked)
    assert await ref.stop(ABNORMAL) == ABNORMAL
    assert [entry.reason for entry in (await log_of(linked))[1:]] == [ABNORMAL]


# 48. dynamic_supervisor_test


@pytest.mark.parametrize(
    ("reason", "runs"),
    [(NORMAL, False), (SHUTDOWN, False), (ExitReason.shutdown("signal"), False), (ABNORMAL, True)],
)
async def test_elixir_dynamic_supervisor_transient_child_is_restarted_unless_normal_shutdown(
    system: ActorSystem, reason: ExitReason, runs: bool
):
    sup = DynamicSupervisor()
    await system.start(sup)
    child = await sup.start_child(worker("a", None, Restart.TRANSIENT))
    child.cast(stop_with(reason))
    await child.wait()
    await turns()
    assert len(sup) == int(runs)


def _start_by(script: list[str]) -> Callable[[], Actor]:
    """A start function whose lives do what the script says, one word each; the last one counts for all after it."""
    words = iter(script)
    last = ["ok"]

    def start() -> Actor:
        last[0] = next(words, last[0])
        match last[0]:
            case "raise":
                raise ValueError("no start")
            case "not an actor":
                return None  # type: ignore[return-value]
            case "ignore":
                return Probe(on_init=_ignore)
            case "refuse":
                return Probe(on_init=lambda me: Refuse(ValueError("no")))
            case "init fails":
                return Probe(on_init=boom)
        return Probe()

    return start


def _ignore(me: Any) -> None:
    raise Ignore


async def test_elixir_dynamic_supervisor_child_is_restarted_with_different_values(system: ActorSystem):
    for script, runs in (
        (["ok", "ok"], 1),
        (["ok", "ignore"], 0),
        (["ok", "raise", "ok"], 1),
        (["ok", "init fails", "ok"], 1),
        (["ok", "not an actor", "ok"], 1),
        (["ok", "raise", "ignore"], 0),
        (["ok", "init fails", "ignore"], 0),
    ):
        sup = DynamicSupervisor(max_children=1)
        ref = await system.start(sup)
        child = await sup.start_child(ChildSpec("a", _start_by(script)))
        child.cast(stop_with(ABNORMAL))
        await child.wait()
        await turns(100)
        assert len(sup) == runs, script
        assert ref.alive
        assert not sup._failing
        if not runs:
            await sup.start_child(worker("there is room"))


@pytest.mark.parametrize("failure", ["init fails", "raise"])
async def test_elixir_dynamic_supervisor_restarting_children_counted_in_max_children(
    system: ActorSystem, failure: str
):
    sup = DynamicSupervisor(max_children=1, intensity=10**9)
    await system.start(sup)
    child = await sup.start_child(ChildSpec("a", _start_by(["ok", failure])))
    child.cast(stop_with(ABNORMAL))
    await turns(50)
    for _ in range(10):
        await turns(1)
        assert len(sup) == 1
        assert sup.count_children().specs == 1
        with pytest.raises(TooMany):
            await sup.start_child(worker("b"))


@pytest.mark.parametrize("failure", ["init fails", "raise"])
async def test_elixir_dynamic_supervisor_child_is_restarted_when_trying_again(
    system: ActorSystem, failure: str
):
    sup = DynamicSupervisor(intensity=2)
    ref = await system.start(sup)
    child = await sup.start_child(ChildSpec("a", _start_by(["ok", failure, "ok"])))
    child.cast(stop_with(ABNORMAL))
    await turns(100)
    assert len(sup) == 1
    assert await sup.children()[0].call(Echo()) == "hello"
    assert ref.alive


@pytest.mark.parametrize("failure", ["init fails", "raise"])
async def test_elixir_dynamic_supervisor_child_triggers_maximum_intensity_when_trying_again(
    system: ActorSystem, failure: str
):
    sup = DynamicSupervisor(intensity=10)
    ref = await system.start(sup)
    child = await sup.start_child(ChildSpec("a", _start_by(["ok", failure])))
    child.cast(stop_with(ABNORMAL))
    assert await ref.wait() == SHUTDOWN


async def test_elixir_dynamic_supervisor_terminates_children_with_expired_integer_shutdown(
    system: ActorSystem, elapsed: Elapsed
):
    """Those with the same time share one timer; those that obey, and those killed at once, do not wait for it."""

    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    sup = DynamicSupervisor()
    ref = await system.start(sup)
    late = [
        await sup.start_child(worker("late", kind=Trapper, on_terminate=forever, shutdown=1.0))
        for _ in range(3)
    ]
    obedient = await sup.start_child(worker("obedient", kind=Trapper, shutdown=1.0))
    brutal = await sup.start_child(worker("brutal", kind=Trapper, shutdown=BRUTAL_KILL))
    await ref.stop()
    assert [child.exit_reason for child in late] == [KILLED] * 3
    assert (obedient.exit_reason, brutal.exit_reason) == (SHUTDOWN, KILLED)
    elapsed.check(1.0, 1.1)


@pytest.mark.parametrize("by_latest", [False, True])
@pytest.mark.parametrize("failure", ["init fails", "raise"])
async def test_elixir_dynamic_supervisor_terminates_restarting_child(
    system: ActorSystem, failure: str, by_latest: bool
):
    """It is known by the ref of its last life that had started, and by that of its latest attempt."""
    sup = DynamicSupervisor(max_children=1, intensity=10**9)
    ref = await system.start(sup)
    child = await sup.start_child(ChildSpec("a", _start_by(["ok", failure])))
    child.cast(stop_with(ABNORMAL))
    await turns(50)
    latest = sup.children()
    await sup.terminate_child(latest[0] if latest and by_latest else child)
    assert len(sup) == len(sup._failing) == 0
    with pytest.raises(ChildError, match="not_found"):
        await sup.terminate_child(child)
    await turns(50)
    assert len(sup) == 0
    await sup.start_child(worker("there is room"))
    assert ref.alive


@pytest.mark.parametrize(
    ("start", "error"),
    [
        pytest.param(_start_by(["raise"]), ValueError, id="raise"),
        pytest.param(_start_by(["init fails"]), StartFailed, id="init fails"),
        pytest.param(_start_by(["refuse"]), StartFailed, id="refuse"),
        pytest.param(_start_by(["ignore"]), StartIgnored, id="ignore"),
        pytest.param(_start_by(["not an actor"]), BadChildSpec, id="bad return"),
    ],
)
async def test_elixir_dynamic_supervisor_start_child_with_throw_error_exit(
    system: ActorSystem, start: Callable[[], Actor], error: type[Exception]
):
    sup = DynamicSupervisor()
    ref = await system.start(sup)
    with pytest.raises(error):
        await sup.start_child(ChildSpec("a", start))
    await turns()
    assert (len(sup), ref.alive) == (0, True)


# 49. registry


async def test_elixir_registry_has_unique_registrations_across_processes(system: ActorSystem):
    registry: Registry[str] = Registry()
    one, two = await system.start(Probe()), await system.start(Probe())
    registry.register("hello", one, "value")
    with pytest.raises(AlreadyRegistered) as taken:
        registry.register("hello", two)
    assert taken.value.ref is one
    assert (registry.whereis("hello"), registry.value("hello"), len(registry)) == (one, "value", 1)
    registry.unregister("hello")
    registry.register("hello", two)
    assert registry.whereis("hello") is two


async def test_elixir_registry_has_unique_registrations_even_if_partition_is_delayed(system: ActorSystem):
    """Elixir's entries go a moment after their owner; these go before anybody can hear of its end."""
    registry: Registry[str] = Registry()
    found: list[Any] = []
    owner = await system.start(Probe())
    registry.register("hello", owner)

    def take_over(me: Probe, message: Any) -> None:
        registry.register("hello", me.ctx.ref)
        found.append(registry.whereis("hello"))

    heir = await system.start(Probe(on_info=take_over))
    heir.cast(lambda me: me.ctx.monitor(owner) and None)
    await turns()
    owner.kill()
    await turns()
    assert found == [heir]


async def test_elixir_registry_allows_listeners(system: ActorSystem):
    listener = await system.start(Probe())
    for kind in (Registry, SharedRegistry):
        registry: Any = kind([listener])
        ref = await system.start(Probe())
        registry.register("hello", ref, "value")
        await ref.stop()
        assert (await log_of(listener))[-2:] == [
            Registered("hello", ref, "value"),
            Unregistered("hello", ref),
        ]


async def test_elixir_registry_via_callbacks(system: ActorSystem):
    registry: Registry[str] = Registry()
    via = registry.via("hello")
    ref = await system.start(Probe())
    registry.register("hello", ref)
    via.cast("cast")
    via.info("info")
    assert (await via.call(Echo()), via.resolve()) == ("hello", ref)
    assert (await log_of(ref))[1:] == ["cast", "info"]
    await via.stop()
    with pytest.raises(NoProc):
        await via.call(Echo())


async def test_elixir_registry_clean_up_on_process_crash(system: ActorSystem):
    unique: Registry[str] = Registry()
    shared: SharedRegistry[str] = SharedRegistry()
    ref = await system.start(Probe())
    for name in "abc":
        unique.register(name, ref, name)
        shared.register(name, ref)
    ref.cast(boom)
    await ref.wait()
    assert (len(unique), len(shared)) == (0, 0)
    assert unique.value("a") is None


@pytest.mark.parametrize("who", ["holder raises", "holder ends", "waiter ends"])
async def test_elixir_registry_lock(system: ActorSystem, who: str):
    registry: Registry[str] = Registry()
    log: list[str] = []

    async def hold(name: str, release: asyncio.Event) -> None:
        async with registry.lock("key"):
            log.append(name)
            await release.wait()
            raise ValueError

    release = asyncio.Event()
    holder, waiter, last = [await system.start(Probe()) for _ in range(3)]
    for ref, name in ((holder, "holder"), (waiter, "waiter"), (last, "last")):
        ref.cast(lambda me, name=name: hold(name, release))
        await turns()
    match who:
        case "holder raises":
            release.set()
        case "holder ends":
            holder.kill()
        case "waiter ends":
            waiter.kill()
            await waiter.wait()
            holder.kill()
    await turns()
    expected = {
        "holder raises": ["holder", "waiter", "last"],
        "holder ends": ["holder", "waiter"],
        "waiter ends": ["holder", "last"],
    }
    assert log == expected[who]
    release.set()
    for ref in (holder, waiter, last):
        await ref.wait()
    assert not registry._locks


# 50. partition_supervisor_test, task/supervisor_test


async def test_elixir_partition_supervisor_resizes_the_number_of_children(system: ActorSystem):
    sup = PartitionSupervisor(lambda number: Probe(), partitions=8)
    await system.start(sup)
    for size in (8, 5, 0, 2, 8):
        await sup.resize(size)
        assert (sup.partitions, sup.count_children().active) == (size, size)
    for wrong in (-1, 9, "2"):
        with pytest.raises(ValueError, match="partitions must be 0 to 8"):
            await sup.resize(wrong)  # type: ignore[arg-type]


async def test_elixir_partition_supervisor_raises_noproc_for_unknown_partition_supervisor(
    system: ActorSystem,
):
    unknown = PartitionSupervisor(lambda number: Probe(), partitions=2)
    for ask in (unknown.via(0).call(Echo()), unknown.via(0).stop(), unknown.resize(1)):
        with pytest.raises(NoProc):
            await ask
    with pytest.raises(NoProc):
        unknown.partition(0)


async def _tasks(system: ActorSystem, **options: Any) -> tuple[TaskSupervisor, Ref[Any]]:
    tasks = TaskSupervisor(**options)
    return tasks, await system.start(tasks)


async def test_elixir_task_supervisor_demonitors_and_unalias_on_timeout(system: ActorSystem):
    """A task that answers after its waiter gave up leaves no message and no wait behind."""
    tasks, _ = await _tasks(system)
    release = asyncio.Event()

    async def ask(me: Probe, _: ReplyTo[Any]) -> str:
        task = tasks.run(_wait_for(release))
        with pytest.raises(CallTimeout):
            await task.wait(0.1)
        me.state = task
        return "gave up"

    actor = Probe()
    ref = await system.start(actor)
    assert await ref.call(Do(ask)) == "gave up"
    release.set()
    await turns()
    assert await log_of(ref) == ["init"]
    assert await actor.state.wait() == "waited"  # and who asks again still finds it


async def _wait_for(release: asyncio.Event) -> str:
    await release.wait()
    return "waited"


async def test_elixir_task_supervisor_shuts_down_unused_tasks_without_leaking_messages(system: ActorSystem):
    tasks, ref = await _tasks(system)

    async def work(number: int) -> int:
        await asyncio.sleep(float(number))
        return number

    found = []
    async with contextlib.aclosing(tasks.map(work, range(10), at_once=4)) as outcomes:
        async for outcome in outcomes:
            found.append(outcome.result())
            if len(found) == 2:
                break
    await turns()
    assert (found, len(tasks), ref.alive) == ([0, 1], 0, True)


async def test_elixir_task_supervisor_raises_when_max_children_is_reached(system: ActorSystem):
    tasks, _ = await _tasks(system, max_tasks=1)
    release = asyncio.Event()
    first = tasks.run(_wait_for(release))
    with pytest.raises(TooMany, match="has 1 tasks"):
        tasks.run(_wait_for(release))
    release.set()
    await first.wait()
    assert await tasks.run(_wait_for(release)).wait() == "waited"
