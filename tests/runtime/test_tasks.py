import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from duologue.runtime import ActorSystem, Ref, TaskDone
from tests.runtime.actors import Do, Ledger, Probe, boom, log_of, turns


async def _done(ref: Ref[Any]) -> list[TaskDone]:
    return [entry for entry in await log_of(ref) if isinstance(entry, TaskDone)]


async def _value(value: Any, seconds: float = 0.0) -> Any:
    await asyncio.sleep(seconds)
    return value


async def _raise(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def test_the_end_of_an_owned_task_comes_as_an_info(system: ActorSystem):
    ref = system.spawn(Probe())
    task = await ref.call(Do(lambda me, _: me.ctx.spawn(_value(7), name="seven")))
    await turns()
    (done,) = await _done(ref)
    assert (done.name, done.task, done.result, done.exception, done.cancelled) == (
        "seven",
        task,
        7,
        None,
        False,
    )
    assert task.done


async def test_the_mailbox_goes_on_while_a_task_runs(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(_value(7, 10.0), name="slow") and None)
    ref.cast("meanwhile")
    assert (await log_of(ref))[1:] == ["meanwhile"]


async def test_a_failure_comes_as_an_info_with_its_places_and_without_frames(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(_raise(ValueError("x")), name="failing") and None)
    await turns()
    (done,) = await _done(ref)
    assert isinstance(done.exception, ValueError)
    assert done.exception.__traceback__ is None
    assert done.where[-1].endswith("in _raise")
    assert ref.alive


async def test_the_frames_of_a_failed_task_are_not_kept(system: ActorSystem):
    class Canary:
        pass

    canaries: list[weakref.ref[Canary]] = []

    async def fail() -> None:
        canary = Canary()
        canaries.append(weakref.ref(canary))
        try:
            raise KeyError
        except KeyError as error:
            raise ValueError from error

    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(fail()) and None)
    await turns()
    assert len(await _done(ref)) == 1
    gc.collect()
    assert canaries[0]() is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_a_task_that_exits_the_program_only_ends_itself(system: ActorSystem, error: BaseException):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(_raise(error)) and None)
    await turns()
    (done,) = await _done(ref)
    assert done.exception is error


async def test_a_cancelled_task_says_so_when_it_has_ended_and_its_name_is_free_at_once(system: ActorSystem):
    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)

    def restart(me: Probe) -> None:
        assert me.ctx.cancel_task("work")
        assert me.ctx.task("work") is None
        me.ctx.spawn(_value("new"), name="work")

    ref = system.spawn(Probe())
    first = await ref.call(Do(lambda me, _: me.ctx.spawn(slow_to_end(), name="work")))
    await turns()
    ref.cast(restart)
    await asyncio.sleep(2.0)
    new, old = await _done(ref)
    assert (new.result, new.cancelled) == ("new", False)
    assert (old.task, old.cancelled, old.exception) == (first, True, None)


async def test_cancelling_what_is_not_there_says_so(system: ActorSystem):
    ref = system.spawn(Probe())
    assert await ref.call(Do(lambda me, _: me.ctx.cancel_task("nothing"))) is False


async def test_two_tasks_of_one_name_are_refused(system: ActorSystem):
    def twice(me: Probe, reply_to: Any) -> str:
        me.ctx.spawn(_value(1, 5.0), name="twin")
        with pytest.raises(ValueError, match="twin"):
            me.ctx.spawn(_value(2), name="twin")
        return "refused"

    ref = system.spawn(Probe())
    assert await ref.call(Do(twice)) == "refused"


async def test_tasks_without_a_name_get_one(system: ActorSystem):
    def several(me: Probe, reply_to: Any) -> set[str]:
        return {me.ctx.spawn(_value(number)).name for number in range(3)}

    assert len(await system.spawn(Probe()).call(Do(several))) == 3


@pytest.mark.parametrize("end", ["stop", "crash", "kill"])
async def test_tasks_end_before_their_actor_has_ended(system: ActorSystem, end: str):
    log: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)
            log.append("task ended")

    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(work(), name="work") and None)
    await turns()
    if end == "kill":
        ref.kill()
    else:
        ref.cast(boom if end == "crash" else lambda me: me.ctx.stop())
    await ref.wait()
    assert log == ["task ended"]
    assert system.now() == pytest.approx(0.5)


async def test_a_task_that_was_never_run_ends_without_a_complaint(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: (me.ctx.spawn(_value(1)), me.ctx.stop())[1])
    await ref.wait()
    gc.collect()  # a coroutine that was never awaited would warn here, and warnings are errors


async def test_terminate_runs_while_the_tasks_still_live(system: ActorSystem):
    seen: list[bool] = []

    def look(me: Probe, reason: Any) -> None:
        task = me.ctx.task("work")
        seen.append(task is not None and not task.done)

    ref = system.spawn(Probe(on_terminate=look))
    ref.cast(lambda me: me.ctx.spawn(asyncio.sleep(60.0), name="work") and None)
    await turns()
    await ref.stop()
    assert seen == [True]


async def test_a_task_that_swallows_its_cancellation_is_left_behind_and_counted(
    system: ActorSystem, ledger: Ledger
):
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(stubborn(), name="stubborn") and None)
    await turns()
    await ref.stop()
    assert system.now() == pytest.approx(1.0)
    assert system.statistics().zombies == 1
    assert ledger.events == [("zombie", "Probe")]
    release.set()
    await turns()
    assert system.statistics().zombies == 0


async def test_an_ended_actor_owns_nothing_new(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)
    await ref.stop()
    with pytest.raises(ValueError, match="ended"):
        actor.ctx.spawn(_value(1))


async def test_tasks_are_held_by_their_actor_and_not_only_by_the_loop(system: ActorSystem):
    ref = system.spawn(Probe())
    waiting: list[asyncio.Future[str]] = []

    async def forgotten() -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting.append(future)
        return await future

    ref.cast(lambda me: me.ctx.spawn(forgotten()) and None)
    await turns()
    gc.collect()
    waiting.pop().set_result("remembered")
    await turns()
    (done,) = await _done(ref)
    assert done.result == "remembered"
