import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.runtime import ActorSystem
from duologue.runtime.testing import VirtualTimeLoop
from duologue.runtime.timers import DeadlineWheel
from tests.runtime.actors import Do, Probe, log_of, turns


async def test_a_timers_message_comes_as_an_info_when_its_time_has_come(system: ActorSystem):
    at: list[float] = []
    ref = system.spawn(Probe(on_info=lambda me, message: at.append(me.ctx.now())))
    ref.cast(lambda me: me.ctx.start_timer("t", 2.5, "ring"))
    await asyncio.sleep(10.0)
    assert (await log_of(ref))[1:] == ["ring"]
    assert at == [pytest.approx(2.5)]


async def test_starting_a_timer_again_replaces_it(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.start_timer("t", 1.0, "first"))
    ref.cast(lambda me: me.ctx.start_timer("t", 2.0, "second"))
    ref.cast(lambda me: me.ctx.start_timer("other", 1.5, "other"))
    await asyncio.sleep(10.0)
    assert (await log_of(ref))[1:] == ["other", "second"]


async def test_cancelling_tells_what_was_left(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.start_timer("t", 5.0, "ring"))
    await asyncio.sleep(2.0)
    assert await ref.call(Do(lambda me, _: me.ctx.cancel_timer("t"))) == pytest.approx(3.0)
    assert await ref.call(Do(lambda me, _: me.ctx.cancel_timer("t"))) is None
    await asyncio.sleep(10.0)
    assert (await log_of(ref))[1:] == []


async def test_a_cancelled_timer_never_delivers_even_if_its_message_waits_in_the_mailbox(system: ActorSystem):
    async def fire_then_cancel(me: Probe, reply_to: Any) -> float | None:
        me.ctx.start_timer("t", 1.0, "ring")
        await asyncio.sleep(2.0)
        return me.ctx.cancel_timer("t")

    ref = system.spawn(Probe())
    assert await ref.call(Do(fire_then_cancel)) == 0.0
    await turns()
    assert (await log_of(ref))[1:] == []


async def test_a_replaced_timer_never_delivers_even_if_its_message_waits_in_the_mailbox(system: ActorSystem):
    async def fire_then_replace(me: Probe, reply_to: Any) -> None:
        me.ctx.start_timer("t", 1.0, "old")
        await asyncio.sleep(2.0)
        me.ctx.start_timer("t", 1.0, "new")

    ref = system.spawn(Probe())
    await ref.call(Do(fire_then_replace))
    await asyncio.sleep(5.0)
    assert (await log_of(ref))[1:] == ["new"]


async def test_a_timer_that_has_rung_can_be_started_again(system: ActorSystem):
    ref = system.spawn(Probe())
    for _ in range(2):
        ref.cast(lambda me: me.ctx.start_timer("t", 1.0, "ring"))
        await asyncio.sleep(2.0)
    assert (await log_of(ref))[1:] == ["ring", "ring"]


async def test_timers_end_with_their_actor(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.start_timer("t", 1.0, "ring"))
    await ref.stop(timeout=None)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]


async def test_a_handler_that_starts_a_timer_while_it_ends_starts_none(system: ActorSystem):
    ref = system.spawn(Probe(on_terminate=lambda me, reason: me.ctx.start_timer("t", 1.0, "ring")))
    await ref.stop()
    await asyncio.sleep(2.0)


# The wheel.


class _Entry:
    def __init__(self, deadline: float, loop: VirtualTimeLoop) -> None:
        self.deadline = deadline
        self.expired_at: float | None = None
        self._loop = loop

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = self._loop.time()


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 10)), max_size=40))
def test_a_deadline_is_never_early_and_at_most_two_ticks_late(steps: list[tuple[float, float]]):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        wheel = DeadlineWheel(loop.time, loop.call_later)
        entries = []
        for pause, timeout in steps:
            await asyncio.sleep(pause)
            entry = _Entry(loop.time() + timeout, loop)
            wheel.bucket(timeout).add(entry)
            entries.append(entry)
        await asyncio.sleep(11.0)
        for entry in entries:
            assert entry.expired_at is not None
            assert entry.deadline - 1e-6 <= entry.expired_at <= entry.deadline + 0.04
        assert len(wheel) == 0

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())


async def test_the_wheel_has_no_timer_when_nothing_waits():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    wheel = DeadlineWheel(loop.time, loop.call_later)
    assert not loop._scheduled
    bucket = wheel.bucket(5.0)
    entry = _Entry(5.0, loop)
    bucket.add(entry)
    bucket.discard(entry)
    await asyncio.sleep(6.0)
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]
    assert entry.expired_at is None


async def test_answered_calls_with_long_timeouts_leave_a_bounded_number_of_ticks():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    wheel = DeadlineWheel(loop.time, loop.call_later)
    for _ in range(5000):
        bucket = wheel.bucket(3600.0)
        entry = _Entry(0.0, loop)
        bucket.add(entry)
        bucket.discard(entry)
        loop.jump(0.03)
    assert len(wheel._buckets) <= 256
    wheel.close()


async def test_a_call_made_after_the_loop_was_held_up_does_not_expire_early(system: ActorSystem):
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    ref = system.spawn(Probe())
    keep: list[Any] = []

    def put_off(me: Probe, reply_to: Any) -> Any:
        from duologue.runtime import NO_REPLY

        keep.append(reply_to)
        return NO_REPLY

    first = ref.call(Do(put_off), timeout=1.0)
    await turns()
    loop.jump(30.0)
    began = loop.time()
    with pytest.raises(Exception, match="deadline"):
        await ref.call(Do(put_off), timeout=1.0)
    assert 1.0 <= loop.time() - began <= 1.04
    with pytest.raises(Exception, match="deadline"):
        await first
