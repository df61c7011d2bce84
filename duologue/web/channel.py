"""How bytes reach the other end of a socket: straight through our own server's protocol, or by any other's.

Both look the same to a session: `ready` says whether `write` may be called now, and `on_ready` is
called when it may again. Neither ever makes the caller wait.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from starlette.types import Message, Scope, Send

__all__ = ["EXTENSION", "AsgiChannel", "Channel", "DirectChannel", "Receiver", "direct_channel"]

EXTENSION = "duologue.channel"
"""Name under `scope["extensions"]` of the direct way that our own server offers."""


class Channel(Protocol):
    """The way out. Used from the loop's thread only."""

    framed: bool
    """Whether `write` takes WebSocket frames; otherwise it takes payloads."""
    ready: bool
    """Whether `write` may be called. False while the transport is full, and for good once closing began."""
    on_ready: Callable[[], None] | None
    """Called, with `ready` true, each time that writing may go on."""

    def write(self, data: bytes) -> None:
        """Send one message. Only while `ready`."""
        ...

    def is_slow(self) -> bool:
        """Whether the other end is behind but has read something since this was asked last."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake after what was written; nothing can be written any more. Idempotent."""
        ...


class Receiver(Protocol):
    """The other side of a channel: gets what the client sends."""

    def on_message(self, data: bytes | str) -> None:
        """One message: text frames as `str`, binary ones as `bytes`. Must not raise."""
        ...

    def on_closed(self, code: int) -> None:
        """Nothing more will come. May be called more than once. Must not raise."""
        ...


class DirectChannel(Channel, Protocol):
    """The way through our own server, in both directions."""

    def hand_over(self, receiver: Receiver) -> None:
        """From now on give every message to `receiver`; the application's coroutine may end.

        So an open socket has no task, no queue and no stack of middleware that waits with it.
        """
        ...


def direct_channel(scope: Scope) -> DirectChannel | None:
    """The direct way, where the server under us is our own."""
    extensions = scope.get("extensions") or {}
    return cast("DirectChannel | None", extensions.get(EXTENSION))


class AsgiChannel:
    """The way through a foreign server: one message at a time is handed to its `send` by a task.

    There is no task while there is nothing to send. What waits stays with the caller, where it can be merged.

    Args:
        send: The server's.
        binary: Whether messages are binary ones.
        on_stuck: Called when the closing handshake could not be sent within `close_timeout` seconds.
    """

    framed = False

    def __init__(
        self, send: Send, *, binary: bool, on_stuck: Callable[[], None], close_timeout: float = 10.0
    ) -> None:
        self._send = send
        self._binary = binary
        self._on_stuck = on_stuck
        self._close_timeout = close_timeout
        self._pending: Message | None = None
        self._closing: Message | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._sent = 0
        self.ready = True
        self.on_ready: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        assert self.ready
        self.ready = False
        self._pending = (
            {"type": "websocket.send", "bytes": data}
            if self._binary
            else {"type": "websocket.send", "text": data.decode()}
        )
        self._start()

    def is_slow(self) -> bool:
        sent, self._sent = self._sent, 0
        return not self.ready and sent > 0

    def close(self, code: int, reason: str) -> None:
        if self._closing is not None:
            return
        self.ready = False
        self._closing = {"type": "websocket.close", "code": code, "reason": reason}
        self._deadline = asyncio.get_running_loop().call_later(self._close_timeout, self._give_up)
        self._start()

    def stop(self) -> None:
        """The connection has ended: let go of everything."""
        self.ready = False
        self._pending = None
        self.on_ready = None
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="duologue-socket-writer")

    async def _run(self) -> None:
        try:
            while self._pending is not None:
                await self._send(self._pending)
                self._sent += 1
                self._pending = None
                self.ready = self._closing is None
                if self.ready and self.on_ready is not None:
                    self.on_ready()  # may write the next message
            if self._closing is not None:
                await self._send(self._closing)
        except (OSError, RuntimeError):
            # Servers differ in how they say that the client has gone; `receive` will say so in one way.
            self.ready = False
        finally:
            self._task = None

    def _give_up(self) -> None:
        if self._task is not None:
            self._on_stuck()


_conforms: type[Channel] = AsgiChannel
_: Any = _conforms
