"""Our own server against clients that misbehave below the frames: raw sockets, no library to be polite for us."""

import asyncio
import contextlib
import json
import logging
import socket
import struct

import pytest

from duologue.providers.scripted import End, Say, WaitFor
from duologue.web import protocol
from duologue.web.codec import frame_of
from duologue.web.hub import WebLimits
from duologue.web.liveness import Pulse
from tests.web.place import FEATURE, Place, check_numbers, place, text_of, wait_until

HANDSHAKE = (
    b"GET /v1/socket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Raw:
    """A connection by hand; reads only when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def frame(self, payload: bytes, *, opcode: int = 1, fin: bool = True) -> None:
        await self.send(masked(payload, opcode=opcode, fin=fin))

    async def command(self, **fields: object) -> None:
        await self.frame(json.dumps(fields).encode())

    async def read(self, count: int, pause: float = 0.0) -> bytes:
        while len(self.buffer) < count:
            data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 65_536), 10)
            if pause:
                await asyncio.sleep(pause)  # this is what a slow reader is
            if not data:
                raise EOFError
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    async def read_frame(self, pause: float = 0.0) -> tuple[int, bytes]:
        head = await self.read(2)
        length = head[1]
        if length == 126:
            (length,) = struct.unpack("!H", await self.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.read(8))
        return head[0] & 0x0F, await self.read(length, pause)

    async def close_code(self) -> int:
        """Read to the close frame."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == 8:
                return int(struct.unpack("!H", payload[:2])[0])

    async def ended(self) -> None:
        """Read to the end of the connection, clean or not."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self.read(1)


def masked(payload: bytes, *, opcode: int = 1, fin: bool = True) -> bytes:
    whole = bytearray(frame_of(payload, binary=False))
    whole[0] = (0x80 if fin else 0) | opcode
    whole[1] |= 0x80
    head = len(whole) - len(payload)
    return bytes(whole[:head]) + b"\0\0\0\0" + payload


@contextlib.asynccontextmanager
async def raw(here: Place, *, receive_buffer: int | None = None, upgrade: bool = True):
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection = Raw(sock)
    try:
        await connection.loop.sock_connect(sock, ("127.0.0.1", here.port))
        if upgrade:
            await connection.send(HANDSHAKE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await connection.read(1)
            assert b" 101 " in head
        yield connection
    finally:
        sock.close()


async def test_a_frame_of_64_kib_is_read_and_one_byte_more_is_closed_with_1009(own: Place):
    async with raw(own) as client:
        await client.frame(b" " * 65_536)
        _, answer = await client.read_frame()
        assert json.loads(answer)["error"]["code"] == "bad_frame"
        await client.frame(b" " * 65_537)
        assert await client.close_code() == 1009
        await client.ended()


async def test_a_huge_frame_can_be_sent_to_its_end_and_is_then_told_1009(own: Place):
    async with raw(own) as client:
        await client.frame(b" " * 5_000_000)
        assert await client.close_code() == 1009
        await client.ended()


async def test_a_message_in_pieces_is_read_as_one(own: Place):
    async with raw(own) as client:
        command = b'{"id": 1, "op": "pong"}'
        await client.frame(command[:5], fin=False)
        await client.frame(b"", opcode=9)
        await client.frame(command[5:12], opcode=0, fin=False)
        await client.frame(command[12:], opcode=0)
        opcode, _ = await client.read_frame()
        assert opcode == 10, "the ping in between is answered"
        _, answer = await client.read_frame()
        assert json.loads(answer) == {"re": 1, "ok": {}}


async def test_pieces_without_end_are_refused_though_they_are_empty(own: Place):
    async with raw(own) as client:
        await client.frame(b"x", fin=False)
        await client.send(masked(b"", opcode=0, fin=False) * 2_000)
        assert await client.close_code() == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"\xff\xfe"), 1007),
        (b"\x81\x01x", 1002),
        (masked(b"x", opcode=3), 1002),
        (masked(b"x", opcode=0), 1002),
        (b"\xf1\x80\0\0\0\0", 1002),
        (masked(b"x" * 126, opcode=9), 1002),
    ],
    ids=[
        "not UTF-8",
        "not masked",
        "an opcode that is none",
        "a continuation of nothing",
        "reserved bits",
        "a long ping",
    ],
)
async def test_what_breaks_the_websocket_protocol_is_closed_with_its_code(own: Place, data: bytes, code: int):
    async with raw(own) as client:
        await client.send(data)
        assert await client.close_code() == code
        await client.ended()
    await wait_until(lambda: own.hub.sockets_open == 0, "the socket is gone")


async def test_a_clean_close_is_answered_at_once(own: Place):
    async with raw(own) as client:
        await client.frame(struct.pack("!H", 1000), opcode=8)
        assert await client.close_code() == 1000
        await client.ended()


async def test_frames_after_the_close_are_ignored(own: Place):
    async with raw(own) as client:
        await client.send(masked(struct.pack("!H", 1000), opcode=8) + masked(b'{"id":1,"op":"pong"}'))
        assert await client.close_code() == 1000


async def test_a_connection_that_is_cut_leaves_nothing_behind(own: Place):
    async with raw(own) as client:
        await client.command(id=1, op="open", dialogue="d1", feature=FEATURE)
        await client.command(id=2, op="attach", dialogue="d1")
        await client.read_frame()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await wait_until(lambda: own.hub.sockets_open == 0, "the socket is gone")
    assert len(own.runtime.attachments) == 0
    assert len(own.hub.sweep) == 0


# ── readers that stop ───────────────────────────────────────────────────────────────────────────────────────

LONG = "word " * 2_000


async def _watch_without_reading(here: Place, client: Raw) -> None:
    await client.command(id=1, op="open", dialogue="d1", feature=FEATURE)
    await client.read_frame()
    await client.command(id=2, op="attach", dialogue="d1")
    await client.read_frame()


async def _ask(here: Place, times: int) -> None:
    dialogue = here.runtime.dialogue("d1")
    for _ in range(times):
        async for _event in dialogue.ask("More"):
            pass


async def test_a_reader_that_stops_is_closed_as_too_slow_and_its_memory_given_back(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(protocol, "STALL_TIMEOUT", 0.4)
    monkeypatch.setattr(protocol, "CLOSE_TIMEOUT", 0.4)
    async with place(tables={"limits": {"outbox_bytes_max": 50_000}}) as here:
        here.says(LONG)
        async with raw(here, receive_buffer=4_096) as stuck, here.socket() as good:
            await _watch_without_reading(here, stuck)
            await good.do("attach", dialogue="d1")
            await _ask(here, 3)
            for _ in range(3):
                await good.event("turn.completed")
            await wait_until(lambda: here.hub.sockets_open == 1, "the stuck reader was given up")
            transports = [c.transport for c in here.server.server_state.connections]
            await wait_until(lambda: sum(not t.is_closing() for t in transports) == 1, "and aborted")
            check_numbers(good.events("d1"))


async def test_a_reader_that_stops_is_aborted_though_what_waits_is_within_its_bound(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(protocol, "STALL_TIMEOUT", 0.2)
    async with place() as here, raw(here, receive_buffer=4_096) as stuck:
        await _watch_without_reading(here, stuck)
        here.says("x" * 900_000)
        await _ask(here, 1)
        await wait_until(lambda: here.hub.sockets_open == 0, "it was aborted")
        await wait_until(lambda: not here.server.server_state.connections, "and nothing of it is left")


async def test_a_slow_reader_that_has_not_come_to_the_ping_yet_is_not_given_up():
    limits = WebLimits(pulse=Pulse(ping_interval=60.0, pong_timeout=0.4))
    tables = {"limits": {"outbox_bytes_max": 10_000_000}}
    async with place(limits=limits, tables=tables) as here, raw(here, receive_buffer=16_384) as slow:
        await _watch_without_reading(here, slow)
        here.says("x" * 1_000_000)
        await _ask(here, 1)
        began, names = asyncio.get_running_loop().time(), []
        while "turn.completed" not in names:
            _, payload = await slow.read_frame(pause=0.02)
            message = json.loads(payload)
            names.append(message.get("event"))
            if message.get("event") == "ping":
                await slow.command(id=9, op="pong")
        assert asyncio.get_running_loop().time() - began > 0.6, "it was slower than the ping's deadline"
    assert "turn.delta" in names


class Transport:
    """A transport as far as the guard looks at it."""

    def __init__(self, left: list[int]) -> None:
        self.left = left
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def abort(self) -> None:
        self.aborted.set()


async def test_the_guard_lets_a_reader_be_slow_and_not_stand_still(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "STALL_TIMEOUT", 0.01)
    transport = Transport([500, 400, 400, 300, 300, 300])
    guard = protocol.StallGuard(transport)  # type: ignore[arg-type]
    guard.paused()
    guard.paused()
    await asyncio.wait_for(transport.aborted.wait(), 5)
    assert transport.left == [300]


async def test_the_guard_is_at_rest_once_the_reader_has_caught_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "STALL_TIMEOUT", 0.01)
    stuck, drained = Transport([500]), Transport([500])
    for transport in (stuck, drained):
        guard = protocol.StallGuard(transport)  # type: ignore[arg-type]
        guard.paused()
    guard.resumed()
    await asyncio.wait_for(stuck.aborted.wait(), 5)
    assert not drained.aborted.is_set()


async def test_a_slow_reader_gets_fewer_and_longer_frames_and_misses_nothing():
    async with place() as here:
        go_on = asyncio.Event()
        words = "".join(f"w{number} " for number in range(8_000))
        here.plays(WaitFor(go_on), Say(words), End())
        async with raw(here, receive_buffer=4_096) as slow:
            await _watch_without_reading(here, slow)
            accepted = asyncio.ensure_future(here.runtime.dialogue("d1").send("Go"))
            await accepted
            go_on.set()
            await wait_until(lambda: here.stage.playing.open == 0, "the model has said it all", 60)
            events = []
            while not events or events[-1].get("event") != "turn.completed":
                _, payload = await slow.read_frame()
                message = json.loads(payload)
                if message.get("event") == "ping":
                    await slow.command(id=9, op="pong")
                elif "event" in message:
                    events.append(message)
    deltas = [event for event in events if event["event"] == "turn.delta"]
    assert len(deltas) < 8_000
    assert text_of(deltas) == words == events[-1]["message"]["content"]
    check_numbers(events)


async def test_a_client_that_pings_and_does_not_read_gets_no_pile_of_pongs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "STALL_TIMEOUT", 0.5)
    async with place() as here, raw(here, receive_buffer=4_096) as client:
        ping = masked(b"x" * 125, opcode=9) * 500
        with contextlib.suppress(ConnectionError):
            for _ in range(60):
                await client.send(ping)
                for connection in here.server.server_state.connections:
                    assert connection.transport.get_write_buffer_size() < 400_000
        await wait_until(lambda: here.hub.sockets_open == 0, "it was aborted")


# ── handshakes that do not come ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/socket HT", b"GET / HTTP/1.1\r\nHost: x\r\n"],
    ids=["silence", "half a line", "half a head"],
)
async def test_half_a_request_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT", 0.2)
    async with place() as here, raw(here, upgrade=False) as client:
        await client.send(sent)
        await client.ended()
        async with here.http() as http:
            assert (await http.get("/healthz")).status_code == 200


async def test_a_kept_connection_has_the_same_deadline_for_its_next_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT", 0.3)
    async with place() as here, raw(here, upgrade=False) as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await client.read(12)).endswith(b"200")
        await client.send(b"GET /hea")
        await client.ended()


async def test_an_upgraded_socket_is_not_cut_off_by_the_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT", 0.2)
    async with place() as here, raw(here) as client, raw(here, upgrade=False) as silent:
        await silent.ended()
        await client.command(id=1, op="pong")
        _, answer = await client.read_frame()
        assert json.loads(answer) == {"re": 1, "ok": {}}


async def test_five_hundred_half_open_handshakes_do_not_keep_others_out(own: Place):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            client = await stack.enter_async_context(raw(own, upgrade=False))
            await client.send(b"GET /v1/socket HTTP/1.1\r\n")
        async with own.socket() as good:
            await good.do("pong")


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_open_socket_has_no_task(own: Place):
    before = len(asyncio.all_tasks())
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            client = await stack.enter_async_context(raw(own))
            await client.command(id=1, op="pong")
            await client.read_frame()
        assert len(asyncio.all_tasks()) == before
        assert not own.server.server_state.tasks


async def test_an_event_is_one_write_of_the_same_bytes_for_every_viewer(own: Place):
    async with own.socket() as first, own.socket() as second:
        await first.opened()
        await second.do("attach", dialogue="d1")
        written: list[bytes] = []
        for session in own.hub.connections:
            write = session._channel.transport.write  # type: ignore[attr-defined]
            session._channel.write = lambda data, write=write: (written.append(data), write(data))  # type: ignore[attr-defined]
        await first.do("send", dialogue="d1", content="Hi")
        await first.event("turn.completed")
        await second.event("turn.completed")
    deltas = [data for data in written if b"turn.delta" in data]
    assert len(deltas) == 2 * len({id(data) for data in deltas})


def test_our_logger_lets_no_line_below_a_warning_through(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        protocol._QUIET.info("a handshake with %s", "a ticket")
        protocol._QUIET.debug("a frame")
        protocol._QUIET.warning("trouble")
    assert [record.getMessage() for record in caplog.records] == ["trouble"]
