"""The way out through a foreign server: one message at a time, no task while there is nothing to send."""

import asyncio

import pytest
from starlette.types import Message

from duologue.web.channel import EXTENSION, AsgiChannel, direct_channel
from tests.web.place import wait_until


class Server:
    """An ASGI server's `send`, which takes a message when it is let."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.free = asyncio.Event()
        self.free.set()
        self.stuck = 0

    async def send(self, message: Message) -> None:
        await self.free.wait()
        self.sent.append(message)

    def channel(self, *, binary: bool = False, close_timeout: float = 10.0) -> AsgiChannel:
        return AsgiChannel(self.send, binary=binary, on_stuck=self._on_stuck, close_timeout=close_timeout)

    def _on_stuck(self) -> None:
        self.stuck += 1


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_a_message_is_sent_and_then_there_is_no_task(server: Server):
    before = len(asyncio.all_tasks())
    channel = server.channel()
    channel.write("Grüße".encode())
    assert not channel.ready
    await wait_until(lambda: channel.ready, "it may be written to again")
    assert server.sent == [{"type": "websocket.send", "text": "Grüße"}]
    await wait_until(lambda: len(asyncio.all_tasks()) == before, "the task has ended")


async def test_binary_messages_are_bytes(server: Server):
    channel = server.channel(binary=True)
    channel.write(b"\x00\xff")
    await wait_until(lambda: bool(server.sent), "it was sent")
    assert server.sent == [{"type": "websocket.send", "bytes": b"\x00\xff"}]


async def test_what_waits_with_the_caller_is_asked_for_when_there_is_room(server: Server):
    waiting = [b"2", b"3"]
    channel = server.channel()
    channel.on_ready = lambda: channel.write(waiting.pop(0)) if waiting else None
    channel.write(b"1")
    await wait_until(lambda: len(server.sent) == 3, "all were sent")
    assert [message["text"] for message in server.sent] == ["1", "2", "3"]


async def test_a_close_goes_out_after_what_was_written_and_nothing_after_it(server: Server):
    server.free.clear()
    channel = server.channel()
    channel.write(b"last words")
    channel.close(4001, "draining")
    channel.close(4008, "too slow")
    assert not channel.ready
    server.free.set()
    await wait_until(lambda: len(server.sent) == 2, "both were sent")
    assert server.sent[1] == {"type": "websocket.close", "code": 4001, "reason": "draining"}
    assert not channel.ready
    channel.stop()


async def test_a_close_that_does_not_get_through_is_told(server: Server):
    server.free.clear()
    channel = server.channel(close_timeout=0.05)
    channel.write(b"x")
    channel.close(4008, "too slow")
    await wait_until(lambda: server.stuck == 1, "it was told")
    channel.stop()


async def test_a_server_that_lost_its_client_is_no_error_of_ours(server: Server):
    async def gone(message: Message) -> None:
        raise OSError("the client has gone")

    channel = AsgiChannel(gone, binary=False, on_stuck=lambda: None)
    channel.write(b"x")
    await wait_until(lambda: channel._task is None, "the task has ended")
    assert not channel.ready


async def test_slow_is_told_from_standing_still(server: Server):
    channel = server.channel()
    server.free.clear()
    channel.write(b"x")
    assert not channel.is_slow(), "nothing was taken since it was asked"
    channel.on_ready = lambda: (channel.write(b"y"), server.free.clear()) if len(server.sent) == 1 else None
    server.free.set()
    await wait_until(lambda: len(server.sent) == 1, "one was taken")
    assert channel.is_slow(), "one was taken, and another waits"
    assert not channel.is_slow()
    channel.stop()


def test_the_direct_way_is_found_only_where_it_is_offered():
    offered = object()
    assert direct_channel({"extensions": {EXTENSION: offered}}) is offered
    assert direct_channel({"extensions": {}}) is None
    assert direct_channel({"extensions": None}) is None
    assert direct_channel({}) is None
