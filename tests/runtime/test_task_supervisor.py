import asyncio
import contextlib
from typing import Any

import pytest

from duologue.errors import Busy, CallTimeout, TooMany
from duologue.runtime import (
    SHUTDOWN,
    ActorDied,
    ActorSystem,
    ChildSpec,
    Exit,
    NoProc,
    Outcome,
    Supervisor,
    TaskSupervisor,
)
from tests.runtime.actors import Echo, Probe, Trapper, log_of, turns


async def _value(value: Any, seconds: float = 0.0) -> Any:
    await asyncio.sleep(seconds)
    return value


async def _fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.fixture
async def tasks(system: ActorSystem) -> TaskSupervisor:
    supervisor = TaskSupervisor()
    await system.start(supervisor)
    return supervisor


async def test_a_tasks_result_can_be_awaited_more_than_once(tasks: TaskSupervisor):
    task = tasks.run(_value("x"))
    assert not task.done
    assert tasks.tasks() == [task]
    assert [await task.wait(), await task.wait()] == ["x", "x"]
    assert len(tasks) == 0


async def test_a_timeout_does_not_end_the_task(tasks: TaskSupervisor):
    task = tasks.run(_value("late", 10.0))
    with pytest.raises(CallTimeout):
        await task.wait()
    assert await task.outcome() is None
    assert await task.wait(6.0) == "late"


async def test_a_wait_that_is_cancelled_does_not_end_the_task(tasks: TaskSupervisor):
    task = tasks.run(_value("x", 1.0))
    waiting = asyncio.ensure_future(task.wait())
    await turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await task.wait() == "x"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(Busy("no"), Busy), (SystemExit(3), ActorDied), (asyncio.CancelledError(), ActorDied)],
)
async def test_a_failure_reaches_who_waits_and_nobody_else(
    tasks: TaskSupervisor, error: BaseException, raised: type[Exception]
):
    other = tasks.run(_value("unhurt", 1.0))
    task = tasks.run(_fail(error))
    with pytest.raises(raised):
        await task.wait()
    outcome = await task.outcome()
    assert outcome is not None
    assert not outcome.ok
    assert await other.wait() == "unhurt"


async def test_a_failure_is_reported_by_type_and_place(
    tasks: TaskSupervisor, caplog: pytest.LogCaptureFixture
):
    await tasks.run(_fail(ValueError("a private text")), name="job").outcome(None)
    assert "task job of supervisor" in caplog.text
    assert "ValueError" in caplog.text
    assert "in _fail" in caplog.text
    assert "private" not in caplog.text


async def test_a_linked_actor_gets_an_exit_signal_when_the_task_fails_and_not_when_it_ends(
    system: ActorSystem, tasks: TaskSupervisor
):
    trapper: Any = await system.start(Trapper())
    mortal = await system.start(Probe())
    await tasks.run(_value(1), link_to=trapper).wait()
    assert not trapper.ties.on_end
    tasks.run(_fail(ValueError()), link_to=trapper)
    tasks.run(_fail(ValueError()), link_to=mortal)
    assert (await mortal.wait()).detail == "ValueError"
    log = await log_of(trapper)
    assert [(type(entry), entry.reason.detail) for entry in log[1:]] == [(Exit, "ValueError")]


async def test_the_end_of_a_linked_actor_cancels_the_task(system: ActorSystem, tasks: TaskSupervisor):
    owner = await system.start(Probe())
    task = tasks.run(_value(1, 60.0), link_to=owner)
    owner.kill()
    with pytest.raises(ActorDied, match="cancelled"):
        await task.wait()
    assert len(tasks) == 0


async def test_cancelling_unlinks_first(system: ActorSystem, tasks: TaskSupervisor):
    owner: Any = await system.start(Probe())
    task = tasks.run(_value(1, 60.0), link_to=owner)
    outcome = await task.shutdown()
    assert outcome is not None
    assert isinstance(outcome.error, ActorDied)
    assert await owner.call(Echo()) == "hello"
    assert not owner.ties.on_end


async def test_a_task_that_swallows_its_cancellation_is_not_waited_for(
    system: ActorSystem, tasks: TaskSupervisor
):
    release = asyncio.Event()

    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await release.wait()
        return "at last"

    task = tasks.run(stubborn())
    await turns()
    assert await task.shutdown() is None
    release.set()
    assert await task.wait() == "at last"


async def test_the_end_of_the_supervisor_ends_its_tasks_and_tells_who_waits(system: ActorSystem):
    tasks = TaskSupervisor()
    ref = await system.start(Supervisor([ChildSpec("tasks", lambda: tasks)]))
    task = tasks.run(_value(1, 60.0))
    waiting = asyncio.ensure_future(task.wait(None))
    await turns()
    await ref.stop()
    with pytest.raises(ActorDied, match="shutdown"):
        await waiting
    assert system.now() < 1.0


async def test_a_stubborn_task_does_not_hold_up_who_waits_for_it_when_the_supervisor_ends(
    system: ActorSystem,
):
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    tasks = TaskSupervisor()
    ref = await system.start(tasks)
    task = tasks.run(stubborn())
    await turns()
    ref.exit(SHUTDOWN)
    with pytest.raises(ActorDied):
        await task.wait(None)
    assert system.statistics().zombies == 1
    release.set()
    await turns()


async def test_it_takes_no_more_than_it_may_and_nothing_when_it_does_not_run(system: ActorSystem):
    tasks = TaskSupervisor(max_tasks=1)
    with pytest.raises(NoProc):
        tasks.run(_value(1))
    ref = await system.start(tasks)
    first = tasks.run(_value(1, 1.0), name="job")
    with pytest.raises(TooMany, match="1 tasks"):
        tasks.run(_value(2))
    await first.wait()
    gone = await system.start(Probe())
    await gone.stop()
    with pytest.raises(NoProc):
        tasks.run(_value(1), link_to=gone)
    await ref.stop()
    with pytest.raises(NoProc):
        tasks.run(_value(1))
    with pytest.raises(ValueError, match="max_tasks"):
        TaskSupervisor(max_tasks=0)


async def test_a_name_in_use_is_refused(tasks: TaskSupervisor):
    tasks.run(_value(1, 1.0), name="job")
    with pytest.raises(ValueError, match="job"):
        tasks.run(_value(1), name="job")


async def test_stray_messages_are_reported_and_survived(
    tasks: TaskSupervisor, caplog: pytest.LogCaptureFixture
):
    tasks.ctx.ref.cast("x")
    tasks.ctx.ref.info("y")
    await turns()
    assert caplog.text.count("stray message") == 2
    assert await tasks.run(_value(1)).wait() == 1


# map


async def test_map_runs_a_bounded_number_at_once_and_keeps_the_order(
    system: ActorSystem, tasks: TaskSupervisor
):
    most = 0

    async def work(number: int) -> int:
        nonlocal most
        most = max(most, len(tasks))
        await asyncio.sleep(10.0 - number)
        if number == 2:
            raise Busy("two")
        return number * number

    found = [outcome async for outcome in tasks.map(work, range(5), at_once=2, timeout=None)]
    assert [outcome.result() if outcome.ok else type(outcome.error) for outcome in found] == [
        0,
        1,
        Busy,
        9,
        16,
    ]
    assert most == 2


async def test_who_stops_early_leaves_no_task(tasks: TaskSupervisor):
    async with contextlib.aclosing(tasks.map(lambda n: _value(n, n), range(100), at_once=5)) as outcomes:
        async for outcome in outcomes:
            assert outcome.result() == 0
            break
    await turns()
    assert len(tasks) == 0


async def test_an_item_that_takes_too_long_is_a_timeout_and_the_others_go_on(tasks: TaskSupervisor):
    found: list[Outcome[Any]] = [
        outcome async for outcome in tasks.map(lambda n: _value(n, n), [0, 60, 1], at_once=3, timeout=5.0)
    ]
    assert [type(outcome.error) for outcome in found] == [type(None), CallTimeout, type(None)]
    with pytest.raises(ValueError, match="at_once"):
        await anext(tasks.map(_value, [1], at_once=0))
