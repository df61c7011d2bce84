"""Idle waits as return values, and hibernation."""

import asyncio
from typing import Any, ClassVar

import pytest

from duologue.runtime import (
    HIBERNATE,
    IDLE,
    NORMAL,
    Actor,
    ActorSystem,
    Continue,
    Inspector,
    Ref,
    Reply,
    Stop,
    WhenIdle,
)
from tests.runtime.actors import Do, Echo, Probe, log_of, turns


class Sleeper(Probe):
    __slots__ = ("slept",)

    def __init__(self, *args: Any, **hooks: Any) -> None:
        super().__init__(*args, **hooks)
        self.slept = 0

    def hibernate(self) -> None:
        self.slept += 1


class Dozer(Sleeper):
    __slots__ = ()
    hibernate_after: ClassVar[float | None] = 10.0


def _state(ref: Ref[Any]) -> str:
    return Inspector(ref).statistics().state


@pytest.mark.parametrize(
    "where",
    ["init", "continue", "cast", "info", "call", "reply", "async cast"],
)
async def test_it_may_come_from_every_callback_and_fires_after_its_time(system: ActorSystem, where: str):
    wanted = WhenIdle(3.0, "quiet")

    async def later(me: Probe) -> WhenIdle:
        return wanted

    ref = system.spawn(
        Probe(
            on_init=lambda me: wanted if where == "init" else Continue() if where == "continue" else None,
            on_continue=lambda me, _: wanted,
            on_info=lambda me, message: wanted if message == "go" else me.log.append(system.now()),
        )
    )
    sends = {
        "cast": lambda: ref.cast(lambda me: wanted),
        "info": lambda: ref.info("go"),
        "call": lambda: ref.call_nowait(Do(lambda me, _: wanted), lambda outcome: None, timeout=None),
        "reply": lambda: ref.call_nowait(Do(lambda me, _: Reply(1, then=wanted)), lambda outcome: None),
        "async cast": lambda: ref.cast(later),
    }
    if where in sends:
        sends[where]()
    await asyncio.sleep(2.9)
    log = await _peek(ref)
    assert "quiet" not in log
    await asyncio.sleep(0.2)
    log = await _peek(ref)
    assert log[-2:] == ["quiet", pytest.approx(3.0)]
    ref.kill()


async def _peek(ref: Ref[Any]) -> list[Any]:
    """The log, without a message that would end the wait."""
    log = (await Inspector(ref).get_state())["log"]
    assert isinstance(log, list)
    return log


async def test_any_message_ends_the_wait_even_one_to_which_nothing_is_returned(system: ActorSystem):
    ref = await system.start(Probe(on_init=lambda me: WhenIdle(2.0)))
    await asyncio.sleep(1.0)
    assert await ref.call(Echo()) == "hello"
    await asyncio.sleep(10.0)
    assert IDLE not in await log_of(ref)


async def test_a_callback_that_returns_it_again_waits_again_from_then_on(system: ActorSystem):
    actor = Probe(on_info=lambda me, message: me.log.append(system.now()))
    ref = await system.start(actor)
    for _ in range(5):
        ref.cast(lambda me: WhenIdle(2.0))
        await asyncio.sleep(1.5)
    await asyncio.sleep(10.0)
    assert actor.log == ["init", IDLE, pytest.approx(4 * 1.5 + 2.0)]


async def test_zero_fires_next_unless_a_message_waits(system: ActorSystem):
    ref = system.spawn(Probe(on_init=lambda me: WhenIdle(0, "at once")))
    await turns()
    ref.cast("later")
    assert (await log_of(ref))[1:] == ["at once", "later"]

    ref = system.spawn(Probe(on_init=lambda me: WhenIdle(0, "at once")))
    ref.cast("waits already")
    await turns()
    assert (await log_of(ref))[1:] == ["waits already"]


async def test_a_message_that_was_taken_back_does_not_end_the_wait(system: ActorSystem):
    actor = Probe(on_info=lambda me, message: None)
    ref = await system.start(actor)

    def ring_and_cancel(me: Probe) -> WhenIdle:
        me.ctx.start_timer("t", 0.0, "ring")
        return WhenIdle(1.0)

    async def cancel_it(me: Probe) -> WhenIdle:
        me.ctx.start_timer("t", 0.0, "ring")
        await asyncio.sleep(0.1)  # the message waits
        me.ctx.cancel_timer("t")
        return WhenIdle(1.0)

    ref.cast(cancel_it)
    await asyncio.sleep(2.0)
    assert actor.log == ["init", IDLE]
    del actor.log[:]
    ref.cast(ring_and_cancel)
    await asyncio.sleep(2.0)
    assert actor.log == ["ring"]


async def test_what_an_inspector_asks_does_not_end_the_wait(system: ActorSystem):
    actor = Probe(on_init=lambda me: WhenIdle(2.0))
    ref = await system.start(actor)
    await asyncio.sleep(1.0)
    await Inspector(ref).get_state()
    await asyncio.sleep(1.1)
    assert actor.log == ["init", IDLE]


async def test_an_actor_may_end_when_nobody_needs_it(system: ActorSystem):
    ref = await system.start(
        Probe(
            on_init=lambda me: WhenIdle(60.0), on_info=lambda me, message: Stop() if message is IDLE else None
        )
    )
    assert await ref.wait() == NORMAL
    assert system.now() == pytest.approx(60.0)


async def test_an_end_leaves_no_timer_behind(system: ActorSystem):
    ref = await system.start(Dozer(on_init=lambda me: WhenIdle(60.0)))
    ref.kill()
    await ref.wait()
    loop: Any = asyncio.get_running_loop()
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []


async def test_nothing_but_a_time_is_taken(system: ActorSystem):
    for wrong in (-1, "1", None, True, float("nan")):
        with pytest.raises(ValueError, match="WhenIdle"):
            WhenIdle(wrong)  # type: ignore[arg-type]


async def test_an_actor_that_waits_or_sleeps_goes_the_quick_way_again_afterwards(system: ActorSystem):
    ref: Any = await system.start(Sleeper(on_init=lambda me: WhenIdle(1.0, hibernate=True)))
    assert ref.overseer is not None
    await ref.call(Echo())
    assert ref.overseer is None


# Hibernation.


async def test_it_lets_go_of_things_at_once_and_wakes_with_the_next_message(system: ActorSystem):
    actor = Sleeper()
    ref = await system.start(actor)
    ref.cast(lambda me: HIBERNATE)
    await turns()
    assert (actor.slept, _state(ref)) == (1, "hibernating")
    await Inspector(ref).get_state()
    assert _state(ref) == "hibernating"
    assert await ref.call(Echo()) == "hello"
    assert _state(ref) == "running"
    assert actor.slept == 1


async def test_it_does_not_hibernate_while_a_message_waits(system: ActorSystem):
    actor = Sleeper()
    ref = await system.start(actor)
    ref.cast(lambda me: HIBERNATE)
    ref.cast("next")
    await turns()
    assert actor.slept == 0


async def test_it_hibernates_by_itself_after_a_quiet_time(system: ActorSystem):
    actor = Dozer()
    ref = await system.start(actor)
    for _ in range(4):
        await asyncio.sleep(9.0)
        assert await ref.call(Echo()) == "hello"
    assert actor.slept == 0
    await asyncio.sleep(10.1)
    assert (actor.slept, _state(ref)) == (1, "hibernating")
    await asyncio.sleep(100.0)
    assert actor.slept == 1
    await ref.call(Echo())
    await asyncio.sleep(10.1)
    assert actor.slept == 2


async def test_an_async_handler_is_no_quiet_time(system: ActorSystem):
    actor = Dozer()
    ref = await system.start(actor)
    ref.cast(lambda me: asyncio.sleep(100.0))
    await asyncio.sleep(99.0)
    assert actor.slept == 0
    await asyncio.sleep(12.0)
    assert actor.slept == 1


async def test_a_hibernate_that_fails_is_reported_and_does_nothing_else(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    class Restless(Sleeper):
        def hibernate(self) -> None:
            raise SystemExit("a private text")

    ref = await system.start(Restless())
    ref.cast(lambda me: HIBERNATE)
    assert await ref.call(Echo()) == "hello"
    ref.cast(lambda me: HIBERNATE)
    await turns()
    assert "hibernate of Restless" in caplog.text
    assert "private" not in caplog.text
    assert await ref.call(Echo()) == "hello"


def test_a_class_with_wrong_settings_is_refused_by_name():
    wrong: list[tuple[str, Any]] = [
        ("mailbox_max", 0),
        ("mailbox_max", "many"),
        ("overflow", "drop"),
        ("traps_exits", 1),
        ("hibernate_after", 0),
        ("hibernate_after", "soon"),
    ]
    for name, value in wrong:
        with pytest.raises(TypeError, match=rf"Wrong\.{name}"):
            type("Wrong", (Actor,), {name: value})
