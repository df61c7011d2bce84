"""Other actor libraries for Python, each by its own tutorial: one caller, one actor, one answer at a time.

`make bench-peers` installs them into an environment of their own; one that is not there is left out and said to be.
"""

import asyncio
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.figures import median
from benchmarks.kernel import ours
from benchmarks.kernel.rounds import LOOPS

__all__ = ["Peer", "PEERS", "measure_peers"]


@dataclass(frozen=True, slots=True)
class Peer:
    """What came of one library: microseconds for a call, or why there are none."""

    name: str
    version: str = ""
    call_us: float | None = None
    missing: str | None = None


async def _pykka(count: int) -> float:
    """An actor is a thread; `ask` blocks, as in its tutorial."""
    import pykka

    class EchoActor(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return message.number

    def run() -> float:
        ref = EchoActor.start()
        begun = perf_counter()
        for number in range(count):
            assert ref.ask(ours.Echo(number)) == number
        seconds = perf_counter() - begun
        ref.stop()
        return seconds / count

    return run()


async def _xoscar(count: int) -> float:
    """A pool in this process, and a reference to an actor in it."""
    import xoscar

    class EchoActor(xoscar.Actor):
        def echo(self, number: int) -> int:
            return number

    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    try:
        async with pool:
            ref = await xoscar.create_actor(EchoActor, address=pool.external_address, uid="echo")
            begun = perf_counter()
            for number in range(count):
                assert await ref.echo(number) == number
            return (perf_counter() - begun) / count
    finally:
        await pool.stop()


async def _autogen_core(count: int) -> float:
    """Its single-threaded runtime and a routed agent."""
    from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

    for name in ("autogen_core", "autogen_core.events"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class EchoAgent(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("echo")

        @message_handler
        async def echo(self, message: _Number, ctx: MessageContext) -> _Number:  # noqa: ARG002
            return message

    runtime = SingleThreadedAgentRuntime()
    await EchoAgent.register(runtime, "echo", EchoAgent)
    runtime.start()
    agent = AgentId("echo", "default")
    begun = perf_counter()
    for number in range(count):
        assert (await runtime.send_message(_Number(number), agent)).number == number
    seconds = perf_counter() - begun
    await runtime.stop()
    return seconds / count


@dataclass
class _Number:
    number: int


PEERS: dict[str, Callable[[int], Awaitable[float]]] = {
    "pykka": _pykka,
    "xoscar": _xoscar,
    "autogen-core": _autogen_core,
}


def measure_peers(rounds: int, count: int) -> tuple[list[Peer], float]:
    """All of them in turn, round after round, on uvloop; and microseconds for ours among them.

    Args:
        rounds: Of all, after one that is not counted.
        count: Calls of a peer in a round; of ours ten times as many.
    """
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent[name] = "not installed"
    samples: dict[str, list[float]] = {name: [] for name in ("ours", *found)}
    for number in range(rounds + 1):
        for name, taken in samples.items():
            if name in absent:
                continue
            work = ours.call(10 * count) if name == "ours" else PEERS[name](count)
            try:
                seconds = _run(work)
            except (
                Exception
            ) as error:  # a library of others may not run here; that is said, and the rest goes on
                absent[name] = f"{type(error).__name__} when it was tried"
                continue
            if number:
                taken.append(seconds * 1e6)
    peers = [
        Peer(name, found.get(name, ""), missing=absent[name])
        if name in absent
        else Peer(name, found[name], median(samples[name]))
        for name in PEERS
    ]
    return peers, median(samples["ours"])


def _run(work: Awaitable[float]) -> float:
    async def main() -> float:
        return await work

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        return runner.run(main())
