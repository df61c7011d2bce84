"""Our own server's protocols: uvicorn's, made safe against readers and writers that stop.

What uvicorn 0.54 lacks, measured (see docs/protocol.md): a client that stops reading keeps megabytes and its
socket for ever, closing waits until it has read them, half a handshake is kept for ever, a handshake's
query string is logged. And one small frame costs a coroutine, a frame object and a join.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request

from duologue.web.channel import EXTENSION, Receiver

__all__ = ["HttpProtocol", "SocketProtocol", "StallGuard"]

SEND_BUFFER_BYTES = 65_536
"""Asked of the kernel for each connection (it takes twice as much), in place of up to 2.8 MB."""
STALL_TIMEOUT = 10.0
"""Seconds that a full transport may take without sending one byte, before it is aborted."""
HEADER_TIMEOUT = 10.0
"""Seconds from a connection, or a request's first byte, to the end of the request's head."""
CLOSE_TIMEOUT = 10.0
"""Seconds that the other end may take to answer a closing handshake."""
_LINGER_QUIET = 0.25
_LINGER_MAX = 5.0
_FRAGMENTS_MAX = 1_024
_ABNORMAL = 1006

_logger = logging.getLogger("duologue.web.server")


class StallGuard:
    """Aborts a transport that is full and does not drain. Slow is allowed; standing still is not."""

    __slots__ = ("_left", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0

    def paused(self) -> None:
        """The transport is full."""
        if self._timer is None:
            self._arm()

    def resumed(self) -> None:
        """The transport has drained, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._left = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(STALL_TIMEOUT, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() < self._left:
            self._arm()
        else:
            self._transport.abort()


class HttpProtocol(H11Protocol):
    """HTTP/1.1 with a deadline for each request's head and for readers that stop."""

    _deadline: asyncio.TimerHandle | None = None
    _guard: StallGuard

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _tune(transport)
        self._guard = StallGuard(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        self._guard.resumed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is not self or self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None until the first request, whatever its declaration says
        if cycle is not None and not cycle.response_complete:
            self._head_is_there()
        elif self._deadline is None and self.timeout_keep_alive_task is None:
            self._expect_head()  # the first bytes of the next request on a connection that was kept

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._head_is_there()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._guard.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._guard.resumed()

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIMEOUT, self.transport.abort)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class SocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that offers itself as a `Channel`, so that a frame costs one call and no coroutine."""

    framed = True
    on_ready: Callable[[], None] | None = None
    ready = False
    _guard: StallGuard
    _receiver: Receiver | None = None
    _handed_over = False
    _linger_until: float | None = None
    _linger_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_TIMEOUT
        self.logger = _QUIET
        # At debug level it would log every frame, and the handshake with its token.
        self.conn.logger = _QUIET
        self.conn.debug = False

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._guard = StallGuard(self.transport)
        self.ready = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready = False
        self.on_ready = None
        self._guard.resumed()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)
        self._tell_closed(_ABNORMAL)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.ready = False
        self._guard.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._guard.resumed()
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.ready = True
        if self.on_ready is not None:
            self.on_ready()

    def shutdown(self) -> None:
        self.ready = False
        super().shutdown()
        self._abort_later()
        self._tell_closed(1012)

    # ── the application ─────────────────────────────────────────────────────────────────────────────────────

    async def run_asgi(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("the application failed on a WebSocket")
            self.send_500_response()
        if self.close_timer is None and not self._handed_over:
            self.transport.close()

    def hand_over(self, receiver: Receiver) -> None:
        """See `DirectChannel`. What came before is given to the receiver now."""
        self._receiver = receiver
        self._handed_over = True
        waiting, self.queue = self.queue, cast("Any", _NO_QUEUE)
        # What the handshake left behind would stay as long as the socket.
        self.request = self.response = cast("Any", None)
        self.scope = cast("Any", {})
        while not waiting.empty():
            message: Any = waiting.get_nowait()
            if message["type"] == "websocket.receive":
                data = message.get("text")
                receiver.on_message(message["bytes"] if data is None else data)
            else:
                self._tell_closed(message.get("code", _ABNORMAL))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        receiver = self._receiver
        if receiver is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.curr_msg_data_type == "bytes":
            receiver.on_message(bytes(data))
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.conn.send_close(1007)
            self.handle_parser_exception()
            return
        receiver.on_message(text)

    def _tell_closed(self, code: int) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_closed(code)

    # ── the way out ─────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Send a whole frame that was made by `codec.frame_of`."""
        self.transport.write(data)

    def is_slow(self) -> bool:
        # The guard sees to it that a full transport either drains or ends.
        return not self.ready and not self.close_sent and not self.disconnected

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after everything that was written, and abort if it is not answered in time."""
        self.ready = False
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        with contextlib.suppress(InvalidState):
            self.conn.send_close(code, reason)
        self._flush()
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._abort_later()
        self._tell_closed(code)

    def _flush(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _abort_later(self) -> None:
        # `transport.close()` waits for a stalled reader to read everything, which it never does.
        if self.close_timer is None and not self.disconnected:
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    # ── the way in ──────────────────────────────────────────────────────────────────────────────────────────

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            # The task that runs the application was made just now and has not begun.
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        if self._linger_until is not None:
            self._linger()
            return
        super().data_received(data)

    def handle_cont(self, event: Frame) -> None:
        # `ws_max_size` bounds the bytes of a message but not the number of its pieces, which may be empty.
        if len(self.frames) >= _FRAGMENTS_MAX:
            self.close(1009, "too many fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.ready:
            super().handle_ping()
        else:
            self.conn.data_to_send()  # a peer that pings and does not read gets no pile of pongs

    def handle_close(self, event: Frame) -> None:
        self.ready = False
        super().handle_close(event)
        self._abort_later()
        assert self.conn.close_rcvd is not None
        self._tell_closed(self.conn.close_rcvd.code)

    def handle_parser_exception(self) -> None:
        """Say what was wrong, then read the rest of it.

        Closing with bytes unread makes the kernel reset the connection, and the client would see 1006.
        """
        assert self.conn.close_sent is not None
        self.ready = False
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._flush()
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._abort_later()
        self._linger_until = self.loop.time() + _LINGER_MAX
        self._linger()
        self._tell_closed(code)

    def _linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        assert self._linger_until is not None
        at = min(self.loop.time() + _LINGER_QUIET, self._linger_until)
        self._linger_timer = self.loop.call_at(at, self.transport.close)


def _tune(transport: asyncio.Transport) -> None:
    """Bound what the kernel keeps for a reader that stopped, and how long it tries a peer that is gone."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL_TIMEOUT * 2_000))


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Keeps uvicorn's line for each handshake out of the log: its query string may hold a ticket."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        return level >= logging.WARNING and super().isEnabledFor(level)

    @property
    def level(self) -> int:
        return max(self.logger.level, logging.WARNING)


class _NoQueue:
    """Stands where uvicorn keeps messages for an application that waits for them; ours does not."""

    def put_nowait(self, message: Any) -> None:
        """Forget it: the receiver is told in its own way."""


_NO_QUEUE = _NoQueue()
_QUIET = cast("Any", _Quiet(_logger, {}))
