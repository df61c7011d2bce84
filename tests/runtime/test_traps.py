"""Traps of asyncio that an actor kernel must not fall into, and what bad handlers may not do to others."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from duologue.errors import CallTimeout
from duologue.runtime import NO_REPLY, ActorDied, ActorSystem, DynamicSupervisor, ReplyTo, Restart, Supervisor
from duologue.runtime.testing import VirtualTimeLoop
from tests.runtime.actors import Do, Echo, Probe, boom, log_of, turns, worker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualTimeLoop,
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture
async def bystander(system: ActorSystem) -> AsyncIterator[None]:
    """An actor beside the one under test, which must not feel anything."""
    ref = await system.start(Probe(), name="bystander")
    yield
    assert await ref.call(Echo("unhurt")) == "unhurt"


pytestmark = pytest.mark.usefixtures("bystander")


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
async def test_no_exception_of_a_handler_gets_to_the_loop(system: ActorSystem, error: BaseException):
    def inline(me: Probe, reply_to: ReplyTo[Any]) -> None:
        raise error

    async def in_task(me: Probe, reply_to: ReplyTo[Any]) -> None:
        await asyncio.sleep(0)
        raise error

    for action in (inline, in_task):
        ref = system.spawn(Probe())
        with pytest.raises(ActorDied, match=type(error).__name__):
            await ref.call(Do(action))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_no_exception_of_init_or_terminate_gets_to_the_loop(system: ActorSystem, error: BaseException):
    async def fail_later(*args: Any) -> None:
        await asyncio.sleep(0)
        raise error

    def fail(*args: Any) -> None:
        raise error

    for action in (fail, fail_later):
        assert (await system.spawn(Probe(on_init=action)).wait()).detail == type(error).__name__
        ref = await system.start(Probe(on_terminate=action))
        assert (await ref.stop()).detail == type(error).__name__


async def test_a_handler_that_never_returns_costs_its_callers_their_timeout_and_nobody_else(
    system: ActorSystem,
):
    ref = system.spawn(Probe())
    ref.cast(lambda me: asyncio.Event().wait())
    with pytest.raises(CallTimeout):
        await ref.call(Echo(), timeout=0.05)
    ref.kill()
    await ref.wait()


async def test_an_answer_set_before_the_caller_is_cancelled_does_not_swallow_the_cancellation(
    system: ActorSystem,
):
    """Of gh-86296: `wait_for` returned the result and lost the cancellation. The kernel has no `wait_for`."""
    actor = Probe()
    ref = system.spawn(actor)

    def keep(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        me.state = reply_to
        return NO_REPLY

    async def caller() -> str:
        await ref.call(Do(keep))
        await asyncio.sleep(0)
        return "not cancelled"

    task = asyncio.create_task(caller())
    await turns()
    actor.state.reply("x")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_answering_a_cancelled_caller_does_not_raise_in_the_actor(system: ActorSystem):
    ref = system.spawn(Probe())
    answers = [ref.call(Echo()) for _ in range(10)]
    for answer in answers:
        answer.cancel()
    await turns()
    assert await ref.call(Echo("alive")) == "alive"


async def test_handlers_and_tasks_survive_the_garbage_collector(system: ActorSystem):
    waiting: list[asyncio.Future[str]] = []

    async def wait(me: Probe, reply_to: ReplyTo[Any]) -> str:
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    ref = system.spawn(Probe())
    answer = ref.call(Do(wait))
    del ref
    await turns()
    gc.collect()
    waiting.pop().set_result("still here")
    assert await answer == "still here"


async def test_an_actor_that_nobody_holds_lives(system: ActorSystem):
    system.spawn(Probe(), name="forgotten")
    await turns()
    gc.collect()
    ref = system.whereis("forgotten")
    assert ref is not None
    assert await ref.call(Echo()) == "hello"


async def test_a_flooding_actor_does_not_starve_its_sibling(system: ActorSystem):
    flooded, sibling = system.spawn(Probe()), system.spawn(Probe())

    def flood(me: Probe) -> None:
        for _ in range(100):
            flooded.cast("x")
        me.ctx.ref.cast(flood)

    source = system.spawn(Probe())
    source.cast(flood)
    for _ in range(20):
        assert await sibling.call(Echo("served")) == "served"
    source.kill()
    await source.wait()


async def test_messages_sent_before_a_spawned_actor_ran_are_in_order(system: ActorSystem):
    def spawn_and_send(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        child = system.spawn(Probe())
        child.cast(1)
        child.cast(2)
        return child

    parent = system.spawn(Probe())
    child = await parent.call(Do(spawn_and_send))
    assert await log_of(child) == ["init", 1, 2]


async def test_who_cancels_all_tasks_at_the_programs_end_ends_the_actors_too(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.spawn(asyncio.Event().wait()) and None)
    ref.cast(lambda me: asyncio.Event().wait())
    await turns()
    mine = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not mine:
            task.cancel()
    assert (await ref.wait()).detail == "CancelledError"


async def test_a_cancelled_wait_leaves_nothing_at_the_actor(system: ActorSystem):
    ref: Any = await system.start(Probe())
    for wait in (ref.wait, lambda: ref.call(Do(lambda me, _: NO_REPLY), timeout=None)):
        task = asyncio.ensure_future(wait())
        await turns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await turns()
    assert ref.ties is None or not ref.ties.on_end
    assert not ref.owed


async def test_a_crashed_child_answers_again_and_the_tree_ends_on_every_loop(system: ActorSystem):
    dynamic = DynamicSupervisor(intensity=100)
    system.spawn(dynamic)
    sup = Supervisor([worker("a"), worker("b")])
    await system.start(sup)
    for _ in range(3):
        child = sup.child("a")
        assert child is not None
        child.cast(boom)
        dynamic.start_child_nowait(worker("x", restart=Restart.TEMPORARY)).cast(boom)
        await turns(100)
        child = sup.child("a")
        assert child is not None
        assert await child.call(Echo()) == "hello"
    assert len(dynamic) == 0


async def test_timers_and_timeouts_work_on_every_loop(system: ActorSystem):
    rung = asyncio.Event()
    ref = system.spawn(Probe(on_info=lambda me, message: rung.set()))
    ref.cast(lambda me: me.ctx.start_timer("t", 0.01, "ring"))
    with pytest.raises(CallTimeout):
        await ref.call(Do(lambda me, _: NO_REPLY), timeout=0.01)
    await rung.wait()


async def test_stop_and_shutdown_give_up_on_a_handler_that_ignores_its_cancellation(system: ActorSystem):
    system.kill_grace = 0.01
    release = asyncio.Event()

    async def stubborn(me: Probe) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    ref = system.spawn(Probe())
    ref.cast(stubborn)
    await turns()
    ref.kill()
    await ref.wait()
    assert system.statistics().zombies == 1
    release.set()
    await turns()
