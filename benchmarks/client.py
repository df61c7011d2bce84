"""The load client, a process of its own. Jobs come as JSON lines on stdin; each is answered by one line on stdout.

Run by the harness as `python -m benchmarks.client`.
"""

import asyncio
import gc
import resource
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import orjson
import uvloop

from benchmarks.sockets import DirectCall
from benchmarks.viewers import DuologueViewer, PassthroughViewer, Viewer
from benchmarks.workload import answer, build_prompt, rotation_of

T = TypeVar("T")

_AT_ONCE = 100
"""How many connections are set up at a time."""


async def _bounded(work: Iterable[Callable[[], Awaitable[T]]], at_once: int = _AT_ONCE) -> list[T]:
    """Run all, some at a time; results in order. The first failure ends it."""
    gate = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await job()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job)) for job in work]
    return [task.result() for task in tasks]


class Client:
    """Named groups of connections and the jobs on them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._groups: dict[str, list[Viewer]] = {}
        self._direct: dict[str, list[DirectCall]] = {}
        self._asked = 0

    async def connect(self, *, group: str, kind: str, port: int, count: int) -> dict[str, Any]:
        """Open `count` sockets and keep them under a name."""
        host = f"127.0.0.1:{port}"

        async def one() -> Viewer:
            make = DuologueViewer if kind == "duologue" else PassthroughViewer
            _, viewer = await self._loop.create_connection(lambda: make(host), "127.0.0.1", port)
            await viewer.opened
            return viewer

        viewers = await _bounded([one] * count)
        self._groups.setdefault(group, []).extend(viewers)
        return {}

    async def open(self, *, group: str, feature: str) -> dict[str, Any]:
        """A new dialogue for each socket of the group, watched. Nothing to do for the pass-through."""
        viewers = [viewer for viewer in self._groups[group] if isinstance(viewer, DuologueViewer)]
        await _bounded([lambda viewer=viewer: viewer.watch_new(feature) for viewer in viewers])  # type: ignore[misc]
        return {}

    async def turns(
        self, *, group: str, path: str, tokens: int, over: float = 0.0, at_once: int | None = None
    ) -> dict[str, Any]:
        """One turn on every socket: started evenly over that many seconds, or with no more than `at_once` open."""
        viewers = self._groups[group]
        started = self._loop.time()

        async def one(place: int, viewer: Viewer) -> dict[str, Any]:
            await asyncio.sleep(max(0.0, started + over * place / len(viewers) - self._loop.time()))
            return asdict(await viewer.turn(self._next_number(), path=path, tokens=tokens))

        jobs = [lambda place=place, viewer=viewer: one(place, viewer) for place, viewer in enumerate(viewers)]
        results = await _bounded(jobs, at_once or len(viewers))
        return {"turns": results, "seconds": self._loop.time() - started}

    async def repeat(self, *, group: str, expected: str, times: int) -> dict[str, Any]:
        """`times` turns with one known answer, one after the other, going round the sockets of the group."""
        viewers = self._groups[group]
        for turn in range(times):
            await viewers[turn % len(viewers)].turn(self._next_number(), path="", tokens=1, expected=expected)
        return {}

    async def direct(self, *, port: int, path: str, tokens: int, count: int, over: float) -> dict[str, Any]:
        """`count` calls to the model server itself, on kept connections, started evenly over that many seconds."""
        calls = self._direct.setdefault(path, [])
        while len(calls) < count:
            _, call = await self._loop.create_connection(
                lambda: DirectCall(f"127.0.0.1:{port}"), "127.0.0.1", port
            )
            calls.append(call)
        started = self._loop.time()

        async def one(place: int, call: DirectCall) -> float:
            await asyncio.sleep(max(0.0, started + over * place / count - self._loop.time()))
            number = self._next_number()
            text = await call.ask(path, build_prompt(number))
            assert text == answer(rotation_of(number), tokens), "wrong text"
            assert call.first_token is not None
            return call.first_token

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(place, call)) for place, call in enumerate(calls[:count])]
        return {"first_token": [task.result() for task in tasks]}

    async def close(self, *, group: str) -> dict[str, Any]:
        """Drop the group's sockets."""
        for viewer in self._groups.pop(group):
            viewer.close()
        return {}

    def _next_number(self) -> int:
        self._asked += 1
        return self._asked


async def _serve() -> None:
    client = Client()
    jobs: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "connect": client.connect,
        "open": client.open,
        "turns": client.turns,
        "repeat": client.repeat,
        "direct": client.direct,
        "close": client.close,
    }
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        job = orjson.loads(line)
        try:
            answered = await jobs[job.pop("do")](**job)
        except Exception as exc:
            answered = {"invalid": _explain(exc)}
        sys.stdout.buffer.write(orjson.dumps(answered) + b"\n")
        sys.stdout.buffer.flush()


def _explain(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"[:500]


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
