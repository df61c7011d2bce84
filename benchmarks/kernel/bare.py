"""The least that does the same: a task on `asyncio.Queue.get`, answering by a future.

No deadline, no monitor, no supervisor, no mailbox bound, no containment of errors: a call waits for ever when the
task has died. Requests are the same fresh objects as the kernel's.
"""

import asyncio
from time import perf_counter
from typing import Any

from benchmarks.kernel.ours import Crash, Echo, Token

__all__ = [
    "call",
    "cast",
    "concurrent_calls",
    "restart",
    "start",
    "start_idle",
    "start_and_stop_many",
    "stop",
]

Box = asyncio.Queue[tuple[Any, Any]]


async def _serve(box: Box) -> None:
    while True:
        request, future = await box.get()
        future.set_result(request.number)


async def _count(box: "asyncio.Queue[Token]", counter: list[Any]) -> None:
    while True:
        message = await box.get()
        counter[0] += 1
        if message.number == 0:
            counter[1].set_result(None)


async def stop(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def call(count: int) -> float:
    loop = asyncio.get_running_loop()
    box: Box = asyncio.Queue()
    server = asyncio.create_task(_serve(box))
    await asyncio.sleep(0)
    begun = perf_counter()
    for number in range(count):
        future = loop.create_future()
        box.put_nowait((Echo(number), future))
        assert await future == number
    seconds = perf_counter() - begun
    await stop(server)
    return seconds / count


async def concurrent_calls(count: int, callers: int = 100) -> float:
    loop = asyncio.get_running_loop()
    box: Box = asyncio.Queue()
    server = asyncio.create_task(_serve(box))

    async def caller() -> None:
        for number in range(count // callers):
            future = loop.create_future()
            box.put_nowait((Echo(number), future))
            assert await future == number

    begun = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = perf_counter() - begun
    await stop(server)
    return seconds / count


async def cast(count: int, burst: int = 100) -> float:
    loop = asyncio.get_running_loop()
    box: asyncio.Queue[Token] = asyncio.Queue()
    counter: list[Any] = [0, None]
    server = asyncio.create_task(_count(box, counter))
    await asyncio.sleep(0)
    begun = perf_counter()
    for _ in range(count // burst):
        last = counter[1] = loop.create_future()
        for number in reversed(range(burst)):
            box.put_nowait(Token(number))
        await last
    seconds = perf_counter() - begun
    assert counter[0] == count
    await stop(server)
    return seconds / count


async def start(count: int) -> float:
    """Seconds for a queue and a task that has come to wait on it."""
    tasks = []
    begun = perf_counter()
    for _ in range(count):
        tasks.append(asyncio.create_task(_serve(asyncio.Queue())))
        await asyncio.sleep(0)
    seconds = perf_counter() - begun
    await stop(*tasks)
    return seconds / count


async def restart(count: int) -> float:
    """Seconds until a task that raised has been replaced by its done callback, and the new one has answered."""
    loop = asyncio.get_running_loop()
    alive: asyncio.Queue[Box] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(box: Box) -> None:
        alive.put_nowait(box)
        while True:
            request, future = await box.get()
            if isinstance(request, Crash):
                raise ValueError("crash")
            future.set_result(request.number)

    def begin() -> None:
        task = asyncio.create_task(serve(asyncio.Queue()))
        tasks.add(task)
        task.add_done_callback(ended)

    def ended(task: "asyncio.Task[None]") -> None:
        tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            begin()

    begin()
    box = await alive.get()
    begun = perf_counter()
    for number in range(count):
        box.put_nowait((Crash(), None))
        box = await alive.get()
        future = loop.create_future()
        box.put_nowait((Echo(number), future))
        assert await future == number
    seconds = perf_counter() - begun
    await stop(*tasks)
    return seconds / count


async def start_idle(count: int) -> "list[tuple[Box, asyncio.Task[None]]]":
    """Tasks that wait on a queue each."""
    servers = []
    for _ in range(count):
        box: Box = asyncio.Queue()
        servers.append((box, asyncio.create_task(_serve(box))))
        await asyncio.sleep(0)
    return servers


async def start_and_stop_many(count: int) -> tuple[float, float]:
    begun = perf_counter()
    servers = await start_idle(count)
    started = perf_counter() - begun
    begun = perf_counter()
    await stop(*(task for _, task in servers))
    return started, perf_counter() - begun
