"""The load client's own sockets: lean, so that the client is never what is measured, and strict about what comes.

`WebSocketConnection` speaks just enough of RFC 6455 for a local server that is known; `DirectCall` just enough of
HTTP/1.1. Both belong to one loop and are not for anything but benchmarks.
"""

import asyncio
import base64
import os
import socket
import time
from typing import cast

import orjson

__all__ = ["DirectCall", "FrameReader", "WebSocketConnection", "build_text_frame", "read_chunked"]


class FrameReader:
    """Splits a byte stream into server frames. Pure.

    `feed` returns pairs of opcode and payload. Masked or fragmented frames are a broken server: `AssertionError`.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        if self._rest:
            data = self._rest + data
        frames = []
        at, end = 0, len(data)
        while end - at >= 2:
            first, size = data[at], data[at + 1]
            assert first & 0xF0 == 0x80 and size < 128, "a whole, unmasked frame without extensions"
            body = at + 2
            if size >= 126:
                body += 2 if size == 126 else 8
                if end < body:
                    break
                size = int.from_bytes(data[at + 2 : body], "big")
            if end < body + size:
                break
            at = body + size
            frames.append((first & 0x0F, data[body:at]))
        self._rest = data[at:]
        return frames


def build_text_frame(payload: bytes, *, opcode: int = 0x1) -> bytes:
    """A client's frame. Masked with zeros: lawful, and free of cost on a local link."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size, 0, 0, 0, 0)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big") + bytes(4) + payload
    return bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big") + bytes(4) + payload


class WebSocketConnection(asyncio.Protocol):
    """One client of one server. Subclasses take the text messages.

    Args:
        host_header: The `Host` of the handshake.
        path: Path and query of the socket.
        subprotocol: Offered to the server; `None` offers none.
    """

    def __init__(self, *, host_header: str, path: str, subprotocol: str | None = None) -> None:
        self._host_header = host_header
        self._path = path
        self._subprotocol = subprotocol
        self._frames = FrameReader()
        self._handshake: bytes | None = b""
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames_received = 0
        """Text frames so far."""
        self.problem: str | None = None
        """The first thing that was wrong with what came; one makes the whole run invalid."""

    def on_text(self, payload: bytes) -> None:
        """One text message. An exception here counts as a problem."""
        raise NotImplementedError

    def on_problem(self) -> None:
        """`problem` was set: nobody should wait for this connection any more."""

    def fail(self, problem: str) -> None:
        """Keep the first problem and tell who waits."""
        if self.problem is None:
            self.problem = problem
            if not self.opened.done():
                self.opened.set_exception(ConnectionError(problem))
            self.on_problem()

    def send_text(self, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(build_text_frame(payload))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop registers its own as no base class
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: {self._host_header}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if self._subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {self._subprotocol}")
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.fail(f"connection lost: {exc!r}")

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None:
            self._handshake += data
            head, end, data = self._handshake.partition(b"\r\n\r\n")
            if not end:
                return
            self._handshake = None
            if not head.startswith(b"HTTP/1.1 101"):
                self.fail(f"handshake refused: {head[:200]!r}")
                return
            self.opened.set_result(None)
        try:
            self._take(data)
        except Exception as exc:
            self.fail(f"{type(exc).__name__}: {exc}")

    def _take(self, data: bytes) -> None:
        for opcode, payload in self._frames.feed(data):
            if opcode == 0x1:
                self.frames_received += 1
                self.on_text(payload)
            elif opcode == 0x9 and self._transport is not None:
                self._transport.write(build_text_frame(payload, opcode=0xA))
            elif opcode == 0x8:
                self.fail(f"closed by the server with {int.from_bytes(payload[:2], 'big')}")


class DirectCall(asyncio.Protocol):
    """One request to the model server itself on its own kept connection: what an answer costs with nothing between."""

    def __init__(self, host_header: str) -> None:
        self._host_header = host_header
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._started_at = 0.0
        self._done: asyncio.Future[str] | None = None
        self.first_token: float | None = None
        """Seconds from the request to the first content."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop registers its own as no base class
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(f"connection lost: {exc!r}"))

    async def ask(self, path: str, content: str) -> str:
        """The answer's whole text. `first_token` is set on the way."""
        assert self._transport is not None
        body = orjson.dumps(
            {"model": "bench", "messages": [{"role": "user", "content": content}], "stream": True}
        )
        head = (
            f"POST {path}/v1/chat/completions HTTP/1.1\r\nhost: {self._host_header}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._received.clear()
        self.first_token = None
        self._done = asyncio.get_running_loop().create_future()
        self._started_at = time.perf_counter()
        self._transport.write(head.encode() + body)
        return await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.first_token is None and self._received.count(b'"content":"') > 1:
            # The first is the empty content of the chunk that carries the role.
            self.first_token = time.perf_counter() - self._started_at
        if self._received.endswith(b"0\r\n\r\n") and self._done is not None and not self._done.done():
            self._done.set_result(read_chunked(bytes(self._received)))


def read_chunked(response: bytes) -> str:
    """The joined content of a whole streamed response.

    Raises:
        AssertionError: It is not one that ended well.
    """
    head, _, rest = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head[:80]
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    events = body.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""], "the stream was cut"
    chunks = [orjson.loads(event[6:]) for event in events[:-2]]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
