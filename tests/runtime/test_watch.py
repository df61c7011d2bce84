"""The watch over who holds the loop, and for how long."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from duologue.runtime import ActorSystem, Inspector, ReplyTo
from tests.runtime.actors import Do, Echo, Ledger, Probe, turns


class Watch:
    """A stopwatch that only a handler of the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Iterator[Watch]:
    return Watch()


@pytest.fixture
async def watched(ledger: Ledger, watch: Watch) -> Any:
    system = ActorSystem(telemetry=ledger, stopwatch=watch, hold_limit=0.1)
    yield system
    await system.shutdown()


async def _holds_between_its_waits(watch: Watch) -> str:
    watch.now += 0.01
    await asyncio.sleep(0)
    watch.now += 0.5
    await asyncio.sleep(0)
    watch.now += 0.01
    return "done"


async def test_an_async_handler_that_holds_the_loop_between_two_waits_is_named(
    watched: ActorSystem, watch: Watch, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    async def hold(me: Probe, reply_to: ReplyTo[Any]) -> str:
        return await _holds_between_its_waits(watch)

    ref = await watched.start(Probe(), name="busy")
    assert await ref.call(Do(hold)) == "done"
    assert [event[:2] for event in ledger.events] == [("held", "Probe")]
    assert ledger.events[0][2].endswith("hold")
    assert "of actor busy held the loop for 0.500 s" in caplog.text


async def test_an_owned_task_is_named_too(watched: ActorSystem, watch: Watch, ledger: Ledger):
    ref = await watched.start(Probe())
    ref.cast(lambda me: me.ctx.spawn(_holds_between_its_waits(watch), name="a user's name") and None)
    await turns()
    assert ledger.events == [("held", "Probe", "_holds_between_its_waits")]


@pytest.mark.parametrize("where", ["init", "handle_continue", "handle_call", "handle_info", "terminate"])
@pytest.mark.parametrize("traced", [False, True])
async def test_each_callback_that_holds_the_loop_is_named(
    watched: ActorSystem, watch: Watch, caplog: pytest.LogCaptureFixture, where: str, traced: bool
):
    from duologue.runtime import Continue

    def hold(me: Probe, *args: Any) -> None:
        watch.now += 0.3

    actor = Probe(
        on_init=hold if where == "init" else lambda me: Continue(),
        on_continue=hold if where == "handle_continue" else None,
        on_info=hold if where == "handle_info" else None,
        on_terminate=hold if where == "terminate" else None,
    )
    ref = watched.spawn(actor, name="busy")
    if traced:
        Inspector(ref).count()
    ref.info("info")
    await ref.call(Do(hold) if where == "handle_call" else Echo())
    await ref.stop()
    held = [record.getMessage() for record in caplog.records]
    assert len(held) == 1
    assert held[0].startswith(f"{where} of actor busy held the loop for 0.300 s")


async def test_one_that_waits_long_does_not_hold_the_loop(watched: ActorSystem, ledger: Ledger):
    ref = await watched.start(Probe())
    ref.cast(lambda me: asyncio.sleep(60.0))
    await ref.call(Echo(), timeout=None)
    assert ledger.events == []


async def test_steps_are_as_they_would_be_without_the_watch(watched: ActorSystem):
    """What is sent into, thrown into and returned from an awaited thing gets through."""
    log: list[Any] = []
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(me: Probe, reply_to: ReplyTo[Any]) -> str:
        for wait in (
            asyncio.sleep(60.0),
            _turn_without_end(),
        ):  # one that is cancelled itself, one that is not
            try:
                await wait
            except asyncio.CancelledError:
                log.append("cancelled")
        log.append(await future)
        try:
            async with asyncio.timeout(1.0):
                await asyncio.Event().wait()
        except TimeoutError:
            log.append("timeout")
        return "end"

    ref: Any = await watched.start(Probe())
    answer = ref.call(Do(handler), None)
    await turns()
    ref.step.cancel()
    await turns()
    ref.step.cancel()
    await turns()
    future.set_result("sent in")
    assert await answer == "end"
    assert log == ["cancelled", "cancelled", "sent in", "timeout"]


async def _turn_without_end() -> None:
    while True:
        await asyncio.sleep(0)
