"""The kernel, through its public names and with their defaults."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from duologue.runtime import (
    Actor,
    ActorSystem,
    ChildSpec,
    DynamicSupervisor,
    Ref,
    ReplyTo,
    Request,
    Restart,
    Supervisor,
)

__all__ = ["call", "cast", "concurrent_calls", "restart", "start", "start_idle", "start_and_stop_many"]


@dataclass(frozen=True, slots=True)
class Echo(Request[int]):
    number: int


@dataclass(frozen=True, slots=True)
class Token:
    number: int


class EchoServer(Actor):
    __slots__ = ("handled", "last")

    def __init__(self) -> None:
        self.handled = 0
        self.last: asyncio.Future[None] | None = None

    def handle_call(self, request: Echo, reply_to: ReplyTo[int]) -> int:  # noqa: ARG002 - the contract
        return request.number

    def handle_cast(self, message: Token) -> None:
        self.handled += 1
        if message.number == 0 and self.last is not None:
            self.last.set_result(None)


class IdleServer(Actor):
    """Has no state, so that all it weighs is the kernel's."""

    __slots__ = ()


async def call(count: int) -> float:
    """Seconds for a call: one caller, a fresh request each time, the default deadline."""
    system = ActorSystem()
    ref = system.spawn(EchoServer())
    await ref.call(Echo(0))
    begun = perf_counter()
    for number in range(count):
        assert await ref.call(Echo(number)) == number
    seconds = perf_counter() - begun
    await system.shutdown()
    return seconds / count


async def concurrent_calls(count: int, callers: int = 100) -> float:
    """Seconds for a call when 100 callers wait at the same time, each for its own."""
    system = ActorSystem()
    ref = system.spawn(EchoServer())

    async def caller() -> None:
        for number in range(count // callers):
            assert await ref.call(Echo(number)) == number

    begun = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = perf_counter() - begun
    await system.shutdown()
    return seconds / count


async def cast(count: int, burst: int = 100) -> float:
    """Seconds for a cast, sent in bursts of 100 and each burst waited for until its last one is handled."""
    system = ActorSystem()
    server = EchoServer()
    ref = await system.start(server)
    begun = perf_counter()
    for _ in range(count // burst):
        last = server.last = system.loop.create_future()
        for number in reversed(range(burst)):
            ref.cast(Token(number))
        await last
    seconds = perf_counter() - begun
    assert server.handled == count
    await system.shutdown()
    return seconds / count


async def start(count: int) -> float:
    """Seconds for starting an actor and knowing that its `init` has succeeded, one after the other."""
    system = ActorSystem()
    begun = perf_counter()
    for _ in range(count):
        await system.start(IdleServer())
    seconds = perf_counter() - begun
    await system.shutdown()
    return seconds / count


class Crash:
    """A message that the actor can't survive."""


class FragileServer(EchoServer):
    __slots__ = ("_alive",)

    def __init__(self, alive: "asyncio.Queue[None]") -> None:
        super().__init__()
        self._alive = alive

    def init(self) -> None:
        self._alive.put_nowait(None)

    def handle_cast(self, message: Any) -> None:  # noqa: ARG002 - the contract
        raise ValueError("crash")


async def restart(count: int) -> float:
    """Seconds from sending what kills a supervised child until its next life has answered a call."""
    system = ActorSystem()
    alive: asyncio.Queue[None] = asyncio.Queue()
    child = ChildSpec("fragile", lambda: FragileServer(alive), name="fragile")
    await system.start(Supervisor([child], intensity=count, period=3600.0))
    await alive.get()
    before = system.whereis("fragile")
    begun = perf_counter()
    for number in range(count):
        assert before is not None
        before.cast(Crash())
        await alive.get()
        after = system.whereis("fragile")
        assert after is not None
        assert after is not before
        assert await after.call(Echo(number)) == number
        before = after
    seconds = perf_counter() - begun
    await system.shutdown()
    return seconds / count


async def start_idle(count: int) -> tuple[ActorSystem, DynamicSupervisor, list[Ref[Any]]]:
    """Idle actors under one dynamic supervisor, started one after the other."""
    system = ActorSystem()
    supervisor = DynamicSupervisor()
    await system.start(supervisor)
    spec = ChildSpec("idle", IdleServer, restart=Restart.TEMPORARY)
    return system, supervisor, [await supervisor.start_child(spec) for _ in range(count)]


async def start_and_stop_many(count: int) -> tuple[float, float]:
    """Seconds for starting so many children under one dynamic supervisor, and for stopping it with them all.

    Each start is waited for, as `start_child` does it; the stop is over when the last child has ended.
    """
    begun = perf_counter()
    system, supervisor, children = await start_idle(count)
    started = perf_counter() - begun
    assert len(supervisor.children()) == count
    assert all(ref.alive for ref in children)
    begun = perf_counter()
    await supervisor.ctx.ref.stop(timeout=None)
    stopped = perf_counter() - begun
    assert not any(ref.alive for ref in children)
    await system.shutdown()
    return started, stopped
