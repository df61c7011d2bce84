import asyncio
import contextlib
from typing import Any

import pytest

from duologue.runtime import (
    BRUTAL_KILL,
    INFINITY,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    AutoShutdown,
    BadChildSpec,
    ChildCounts,
    ChildError,
    ChildSpec,
    ChildType,
    ExitReason,
    Ignore,
    NoProc,
    Ref,
    Restart,
    StartFailed,
    StartIgnored,
    Stop,
    Strategy,
    Supervisor,
)
from tests.runtime.actors import Echo, Flaky, Ledger, Probe, Trapper, boom, stop_with, turns, worker


def _ref(sup: Supervisor, name: str) -> Ref[Any]:
    ref = sup.child(name)
    assert ref is not None, f"{name} does not run"
    return ref


def _states(sup: Supervisor) -> dict[str, str]:
    return {info.id: info.state for info in reversed(sup.which_children())}


# Start and stop.


async def test_children_start_in_order_and_stop_in_reverse_one_at_a_time(system: ActorSystem):
    log: list[str] = []

    async def slowly(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(1.0)

    sup = Supervisor([worker(name, log, kind=Trapper, on_terminate=slowly) for name in "abc"])
    ref = await system.start(sup)
    assert log == ["start a", "start b", "start c"]
    await ref.stop()
    assert log[3:] == ["stop c", "stop b", "stop a"]
    assert system.now() == pytest.approx(3.0)


async def test_a_child_waits_for_the_init_of_the_one_before(system: ActorSystem):
    log: list[Any] = []

    async def slow(me: Probe) -> None:
        await asyncio.sleep(1.0)
        log.append("a is ready")

    await system.start(Supervisor([worker("a", log, on_init=slow), worker("b", log)]))
    assert log == ["start a", "a is ready", "start b"]


async def test_when_one_child_does_not_start_those_before_it_are_ended_and_the_start_fails(
    system: ActorSystem,
):
    log: list[str] = []
    sup = Supervisor([worker("a", log, kind=Trapper), worker("b", on_init=boom), worker("c", log)])
    with pytest.raises(StartFailed, match="failed to start child 'b': error: ValueError") as failed:
        await system.start(sup, name="sup")
    assert failed.value.reason.kind == "shutdown"
    assert log == ["start a", "stop a"]
    assert system.statistics().actors == 0
    assert system.whereis("sup") is None


async def test_a_start_function_that_raises_is_a_failed_start(system: ActorSystem):
    def start() -> Probe:
        raise ZeroDivisionError

    with pytest.raises(StartFailed, match="ZeroDivisionError"):
        await system.start(Supervisor([ChildSpec("a", start)]))


async def test_a_child_that_ignores_is_kept_unless_temporary(system: ActorSystem):
    def not_me(me: Probe) -> None:
        raise Ignore

    sup = Supervisor(
        [
            worker("kept", on_init=not_me),
            worker("dropped", restart=Restart.TEMPORARY, on_init=not_me),
            worker("runs"),
        ]
    )
    await system.start(sup)
    assert _states(sup) == {"kept": "stopped", "runs": "running"}


async def test_an_init_that_takes_too_long_is_a_failed_start(system: ActorSystem):
    spec = worker("slow", on_init=lambda me: asyncio.sleep(60.0), start_timeout=2.0)
    with pytest.raises(StartFailed, match="start_timeout"):
        await system.start(Supervisor([spec]))
    assert 2.0 <= system.now() <= 2.04


async def test_a_child_that_takes_longer_than_its_shutdown_is_killed(system: ActorSystem):
    async def forever(me: Probe, reason: ExitReason) -> None:
        await asyncio.Event().wait()

    sup = Supervisor([worker("a", kind=Trapper, on_terminate=forever, shutdown=2.0)])
    ref = await system.start(sup)
    child = _ref(sup, "a")
    await ref.stop()
    assert await child.wait() == KILLED
    assert system.now() == pytest.approx(2.0)


async def test_brutal_kill_does_not_ask(system: ActorSystem):
    log: list[str] = []
    sup = Supervisor([worker("a", log, kind=Trapper, shutdown=BRUTAL_KILL)])
    ref = await system.start(sup)
    child = _ref(sup, "a")
    await ref.stop()
    assert await child.wait() == KILLED
    assert log == ["start a"]


async def test_infinity_waits_as_long_as_it_takes(system: ActorSystem):
    async def long(me: Probe, reason: ExitReason) -> None:
        await asyncio.sleep(10_000.0)

    sup = Supervisor([worker("a", kind=Trapper, on_terminate=long, shutdown=INFINITY)])
    ref = await system.start(sup)
    child = _ref(sup, "a")
    await ref.stop(timeout=None)
    assert await child.wait() == SHUTDOWN


async def test_a_child_that_ends_by_itself_during_the_shutdown_is_reported_and_not_fatal(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    def own_way(me: Probe, reason: ExitReason) -> None:
        raise ValueError

    sup = Supervisor([worker("a"), worker("b", kind=Trapper, on_terminate=own_way), worker("c")])
    ref = await system.start(sup)
    assert await ref.stop() == NORMAL
    assert "ended during shutdown" in caplog.text
    assert system.statistics().actors == 0


async def test_a_killed_supervisor_takes_its_children_along(system: ActorSystem):
    log: list[str] = []
    sup = Supervisor([worker("mortal", log), worker("trapper", log, kind=Trapper)])
    ref = await system.start(sup)
    children = [_ref(sup, "mortal"), _ref(sup, "trapper")]
    ref.kill()
    assert [await child.wait() for child in children] == [KILLED, KILLED]
    assert log == ["start mortal", "start trapper", "stop trapper"]


async def test_shutting_the_system_down_stops_the_tree_from_the_leaves(system: ActorSystem):
    log: list[str] = []
    inner = Supervisor([worker("leaf", log, kind=Trapper)])
    outer = Supervisor(
        [worker("first", log, kind=Trapper), ChildSpec("inner", lambda: inner, type=ChildType.SUPERVISOR)]
    )
    await system.start(outer)
    await system.shutdown()
    assert log[2:] == ["stop leaf", "stop first"]


# Restarts.


@pytest.mark.parametrize(
    ("restart", "reason", "runs"),
    [
        (Restart.PERMANENT, NORMAL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, ExitReason("crash"), True),
        (Restart.TRANSIENT, NORMAL, False),
        (Restart.TRANSIENT, ExitReason.shutdown("done"), False),
        (Restart.TRANSIENT, ExitReason("crash"), True),
        (Restart.TEMPORARY, NORMAL, False),
        (Restart.TEMPORARY, SHUTDOWN, False),
        (Restart.TEMPORARY, ExitReason("crash"), False),
    ],
)
async def test_permanent_transient_and_temporary(
    system: ActorSystem, restart: Restart, reason: ExitReason, runs: bool
):
    sup = Supervisor([worker("a", restart=restart)])
    await system.start(sup)
    before = _ref(sup, "a")
    before.cast(stop_with(reason))
    await before.wait()
    await turns()
    if runs:
        assert _ref(sup, "a") is not before
        assert await _ref(sup, "a").call(Echo()) == "hello"
    elif restart is Restart.TRANSIENT:
        assert _states(sup) == {"a": "stopped"}
        assert (await sup.restart_child("a")).alive
    else:
        assert _states(sup) == {}


async def test_a_killed_permanent_child_is_restarted(system: ActorSystem, ledger: Ledger):
    sup = Supervisor([worker("a")])
    await system.start(sup)
    _ref(sup, "a").kill()
    await turns()
    assert await _ref(sup, "a").call(Echo()) == "hello"
    assert ledger.events == [("restarted", "Probe")]


async def test_a_registered_child_has_its_name_again_after_a_restart(system: ActorSystem):
    sup = Supervisor([worker("a", name="the one")])
    await system.start(sup)
    before = system.whereis("the one")
    assert before is not None
    before.cast(boom)
    await turns()
    assert system.whereis("the one") is _ref(sup, "a")
    assert system.whereis("the one") is not before


async def test_one_for_one_restarts_one(system: ActorSystem):
    log: list[str] = []
    sup = Supervisor([worker(name, log, kind=Trapper) for name in "abc"])
    await system.start(sup)
    _ref(sup, "b").kill()
    await turns()
    assert log[3:] == ["start b"]


async def test_one_for_all_ends_all_in_reverse_and_starts_all_in_order(system: ActorSystem):
    log: list[str] = []
    sup = Supervisor([worker(name, log, kind=Trapper) for name in "abcd"], strategy=Strategy.ONE_FOR_ALL)
    await system.start(sup)
    _ref(sup, "b").kill()
    await turns(100)
    assert log[4:] == ["stop d", "stop c", "stop a", "start a", "start b", "start c", "start d"]


async def test_rest_for_one_ends_and_starts_those_after_it(system: ActorSystem):
    log: list[str] = []
    sup = Supervisor([worker(name, log, kind=Trapper) for name in "abcd"], strategy=Strategy.REST_FOR_ONE)
    await system.start(sup)
    _ref(sup, "b").kill()
    await turns(100)
    assert log[4:] == ["stop d", "stop c", "start b", "start c", "start d"]


@pytest.mark.parametrize("strategy", Strategy)
async def test_the_third_restart_trips_an_intensity_of_two(system: ActorSystem, strategy: Strategy):
    sup = Supervisor([worker("a"), worker("b")], strategy=strategy, intensity=2)
    ref = await system.start(sup)
    for _ in range(2):
        _ref(sup, "a").cast(boom)
        await turns(100)
        assert ref.alive
    _ref(sup, "a").cast(boom)
    assert await ref.wait() == SHUTDOWN
    assert system.statistics().actors == 0


async def test_intensity_is_summed_over_all_children(system: ActorSystem):
    sup = Supervisor([worker(name) for name in "abc"], intensity=2)
    ref = await system.start(sup)
    for name in "abc":
        _ref(sup, name).cast(boom)
    assert await ref.wait() == SHUTDOWN


async def test_restarts_that_are_wider_apart_than_the_period_never_trip(system: ActorSystem):
    sup = Supervisor([worker("a")], intensity=1, period=2.0)
    await system.start(sup)
    for _ in range(10):
        _ref(sup, "a").cast(boom)
        await asyncio.sleep(2.1)
    assert _states(sup) == {"a": "running"}
    assert sup.which_children()[0].restarts == 10


async def test_each_failed_attempt_counts_and_exhausts_the_intensity(system: ActorSystem):
    flaky = Flaky()
    sup = Supervisor([worker("a", on_init=flaky), worker("b")], intensity=4)
    ref = await system.start(sup)
    flaky.failures = 1000
    _ref(sup, "a").cast(boom)
    assert await ref.wait() == SHUTDOWN
    assert flaky.attempts == 1 + 4


async def test_a_restart_that_succeeds_after_failed_attempts(system: ActorSystem):
    flaky = Flaky()
    sup = Supervisor([worker("a", on_init=flaky)], intensity=5)
    await system.start(sup)
    flaky.failures = 3
    _ref(sup, "a").cast(boom)
    await turns(100)
    assert _states(sup) == {"a": "running"}


async def test_in_a_failing_restart_loop_requests_and_the_end_get_in_between(system: ActorSystem):
    flaky = Flaky()
    sup = Supervisor([worker("a", on_init=flaky), worker("b")], intensity=1_000_000)
    ref = await system.start(sup)
    flaky.failures = 1_000_000
    _ref(sup, "a").cast(boom)
    await turns(20)
    assert _states(sup) == {"a": "restarting", "b": "running"}
    assert sup.count_children() == ChildCounts(specs=2, active=1, supervisors=0, workers=2)
    with pytest.raises(ChildError, match="restarting"):
        await sup.restart_child("a")
    with pytest.raises(ChildError, match="restarting"):
        await sup.delete_child("a")
    await sup.terminate_child("a")
    attempts = flaky.attempts
    await turns(100)
    assert (_states(sup)["a"], flaky.attempts) == ("stopped", attempts)
    flaky.failures = 0
    await sup.restart_child("a")
    flaky.failures = 1_000_000
    _ref(sup, "a").cast(boom)
    await turns(20)
    assert await ref.stop() == NORMAL


async def test_one_for_all_when_another_child_does_not_start_all_are_tried_again(system: ActorSystem):
    log: list[str] = []
    flaky = Flaky()
    sup = Supervisor(
        [worker("a", log, kind=Trapper), worker("b", log, kind=Trapper, on_init=flaky), worker("c", log)],
        strategy=Strategy.ONE_FOR_ALL,
    )
    await system.start(sup)
    del log[:]
    flaky.failures = 1
    _ref(sup, "a").kill()
    await turns(200)
    assert log == ["stop b", "start a", "start b", "stop a", "start a", "start b", "start c"]
    assert set(_states(sup).values()) == {"running"}


async def test_rest_for_one_when_a_later_child_does_not_start_it_is_tried_again_and_those_before_stay(
    system: ActorSystem,
):
    log: list[str] = []
    flaky = Flaky()
    sup = Supervisor(
        [worker("a", log, kind=Trapper), worker("b", log, kind=Trapper, on_init=flaky), worker("c", log)],
        strategy=Strategy.REST_FOR_ONE,
    )
    await system.start(sup)
    del log[:]
    flaky.failures = 1
    _ref(sup, "a").kill()
    await turns(200)
    assert log == ["stop b", "start a", "start b", "start b", "start c"]


async def test_temporary_siblings_that_are_ended_by_the_strategy_are_gone(system: ActorSystem):
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        sup = Supervisor([worker("a"), worker("bystander", restart=Restart.TEMPORARY)], strategy=strategy)
        await system.start(sup)
        bystander = _ref(sup, "bystander")
        _ref(sup, "a").kill()
        await turns(100)
        assert _states(sup) == {"a": "running"}
        assert not bystander.alive


async def test_a_permanent_supervisor_that_gave_up_is_restarted_by_its_own_a_transient_one_is_not(
    system: ActorSystem,
):
    made: list[Supervisor] = []

    def inner() -> Supervisor:
        made.append(Supervisor([worker("leaf")], intensity=0))
        return made[-1]

    for restart, expected in ((Restart.PERMANENT, 2), (Restart.TRANSIENT, 1)):
        made.clear()
        outer = Supervisor([ChildSpec("inner", inner, restart, type=ChildType.SUPERVISOR)])
        await system.start(outer)
        _ref(made[0], "leaf").cast(boom)
        await turns(100)
        assert len(made) == expected
        assert (outer.child("inner") is not None) is (expected == 2)


async def test_a_child_that_unlinked_itself_can_not_hang_its_supervisor(system: ActorSystem):
    sup = Supervisor([worker("a")])
    ref = await system.start(sup)
    child = _ref(sup, "a")
    child.cast(lambda me: me.ctx.unlink(ref))
    await sup.terminate_child("a")
    assert not child.alive


async def test_a_zombie_does_not_hang_its_supervisor(system: ActorSystem):
    release = asyncio.Event()

    async def stubborn(me: Probe) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    sup = Supervisor([worker("a", shutdown=1.0), worker("b")])
    ref = await system.start(sup)
    _ref(sup, "a").cast(stubborn)
    await turns()
    await ref.stop(timeout=None)
    assert system.statistics().zombies == 1
    release.set()
    await turns()


# Administration.


async def test_the_administration_of_children(system: ActorSystem):
    sup = Supervisor([worker("a")])
    await system.start(sup)
    with pytest.raises(ChildError, match="already_started") as refused:
        await sup.start_child(worker("a"))
    assert refused.value.ref is sup.child("a")
    with pytest.raises(ChildError, match="running"):
        await sup.delete_child("a")
    with pytest.raises(ChildError, match="running"):
        await sup.restart_child("a")
    await sup.terminate_child("a")
    await sup.terminate_child("a")
    with pytest.raises(ChildError, match="already_present"):
        await sup.start_child(worker("a"))
    ref = await sup.restart_child("a")
    assert ref is sup.child("a")
    await sup.terminate_child("a")
    await sup.delete_child("a")
    for request in (sup.delete_child, sup.restart_child, sup.terminate_child):
        with pytest.raises(ChildError, match="not_found"):
            await request("a")
    assert (await sup.start_child(worker("a"))).alive
    assert sup.child("nobody") is None


async def test_an_added_child_that_does_not_start_is_not_kept_but_one_that_ignores_is(system: ActorSystem):
    def not_me(me: Probe) -> None:
        raise Ignore

    sup = Supervisor()
    await system.start(sup)
    with pytest.raises(StartFailed):
        await sup.start_child(worker("a", on_init=boom))
    with pytest.raises(StartIgnored):
        await sup.start_child(worker("b", on_init=not_me))
    with pytest.raises(StartIgnored):
        await sup.start_child(worker("c", restart=Restart.TEMPORARY, on_init=not_me))
    assert _states(sup) == {"b": "stopped"}


async def test_a_temporary_child_that_is_terminated_is_forgotten(system: ActorSystem):
    sup = Supervisor([worker("a", restart=Restart.TEMPORARY)])
    await system.start(sup)
    await sup.terminate_child("a")
    assert sup.which_children() == []


async def test_children_are_listed_newest_first_and_counted_by_type(system: ActorSystem):
    sup = Supervisor([worker("a"), ChildSpec("s", Supervisor, type=ChildType.SUPERVISOR)])
    await system.start(sup)
    await sup.start_child(worker("b"))
    await sup.terminate_child("a")
    assert [info.id for info in sup.which_children()] == ["b", "s", "a"]
    assert sup.count_children() == ChildCounts(specs=3, active=2, supervisors=1, workers=2)


async def test_children_that_were_added_are_gone_after_the_supervisor_was_restarted(system: ActorSystem):
    made: list[Supervisor] = []

    def inner() -> Supervisor:
        made.append(Supervisor([worker("static")]))
        return made[-1]

    await system.start(Supervisor([ChildSpec("inner", inner, type=ChildType.SUPERVISOR)]))
    await made[0].start_child(worker("added"))
    made[0].ctx.ref.kill()
    await turns(100)
    assert _states(made[1]) == {"static": "running"}
    with pytest.raises(NoProc):
        await made[0].start_child(worker("late"))


async def test_a_supervisor_that_was_never_started_says_so():
    with pytest.raises(NoProc):
        await Supervisor().start_child(worker("a"))


async def test_unexpected_messages_are_reported_and_dropped(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    sup = Supervisor([worker("a")])
    ref = await system.start(sup)
    ref.cast("stray")
    ref.info("stray")
    ref.exit(ExitReason("from nobody"))
    await turns()
    assert ref.alive
    assert caplog.text.count("stray message") == 2


# Significant children.


@pytest.mark.parametrize(
    ("auto", "restart", "reason", "ends"),
    [
        (AutoShutdown.ANY_SIGNIFICANT, Restart.TRANSIENT, NORMAL, True),
        (AutoShutdown.ANY_SIGNIFICANT, Restart.TRANSIENT, ExitReason("crash"), False),
        (AutoShutdown.ANY_SIGNIFICANT, Restart.TEMPORARY, ExitReason("crash"), True),
        (AutoShutdown.ALL_SIGNIFICANT, Restart.TEMPORARY, NORMAL, False),
    ],
)
async def test_a_supervisor_ends_with_its_significant_children(
    system: ActorSystem, auto: AutoShutdown, restart: Restart, reason: ExitReason, ends: bool
):
    children = [
        worker("a", restart=restart, significant=True),
        worker("b", restart=restart, significant=True),
    ]
    sup = Supervisor([*children, worker("c")], auto_shutdown=auto)
    ref = await system.start(sup)
    _ref(sup, "a").cast(stop_with(reason))
    await turns(100)
    assert ref.alive is not ends
    if not ends and auto is AutoShutdown.ALL_SIGNIFICANT:
        _ref(sup, "b").cast(stop_with(reason))
        assert await ref.wait() == SHUTDOWN


async def test_ending_a_significant_child_on_purpose_does_not_end_the_supervisor(system: ActorSystem):
    spec = worker("a", restart=Restart.TEMPORARY, significant=True)
    sup = Supervisor([spec], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    ref = await system.start(sup)
    await sup.terminate_child("a")
    await turns()
    assert ref.alive


async def test_a_significant_bystander_of_a_strategy_does_not_end_the_supervisor(system: ActorSystem):
    sup = Supervisor(
        [worker("a"), worker("b", restart=Restart.TEMPORARY, significant=True)],
        strategy=Strategy.ONE_FOR_ALL,
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    ref = await system.start(sup)
    _ref(sup, "a").cast(boom)
    await turns(100)
    assert ref.alive
    assert _states(sup) == {"a": "running"}


async def test_a_significant_child_can_not_be_added_where_nothing_ends_with_it(system: ActorSystem):
    sup = Supervisor()
    await system.start(sup)
    with pytest.raises(BadChildSpec, match="significant"):
        await sup.start_child(worker("a", restart=Restart.TEMPORARY, significant=True))


async def test_stop_by_a_child_is_its_end_and_not_its_supervisors(system: ActorSystem):
    sup = Supervisor([worker("a")])
    ref = await system.start(sup)
    _ref(sup, "a").cast(lambda me: Stop(SHUTDOWN))
    await turns()
    assert ref.alive
    assert _states(sup) == {"a": "running"}
