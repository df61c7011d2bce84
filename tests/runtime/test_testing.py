import asyncio
import socket

import pytest

from duologue.runtime.testing import NothingToWaitFor, VirtualTimeLoop


def _run(main) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


def test_an_hour_passes_at_once_and_timers_keep_their_order():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[float] = []
        for delay in (3600.0, 1.0, 60.0):
            loop.call_later(delay, lambda: order.append(round(loop.time(), 6)))
        await asyncio.sleep(3601.0)
        assert order == [1.0, 60.0, 3600.0]

    _run(main())


def test_a_deadlock_is_an_error_and_not_a_hang():
    loop = VirtualTimeLoop(patience=0.05)
    task = loop.create_task(asyncio.Event().wait())
    with pytest.raises(NothingToWaitFor):
        loop.run_until_complete(task)
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


def test_a_socket_that_can_be_read_comes_before_a_jump():
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.send(b"x")
            got = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(left, 1))
            await asyncio.sleep(1.0)
            assert got.done()
            assert await got == b"x"

    _run(main())


def test_a_file_is_waited_for_when_there_is_no_timer():
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            loop = asyncio.get_running_loop()
            thread = asyncio.ensure_future(asyncio.to_thread(right.send, b"x"))
            assert await loop.sock_recv(left, 1) == b"x"
            await thread

    _run(main())
