"""One socket's life: commands out, answers matched by their number, events handed on.

A `Link` never reconnects; when its socket ends, every command that waits on it fails with `LinkLost` and the
client decides what to repeat.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed as SocketClosed

from duologue.client.errors import error_from_wire
from duologue.client.wire import Format, Frame, decode, encode
from duologue.errors import BadFrame, TooMany

__all__ = ["COMMANDS_MAX", "Link", "LinkLost"]

COMMANDS_MAX: Final = 256
"""Commands that may wait for their answers on one socket."""


class LinkLost(Exception):
    """The socket ended before the answer came. Internal: the client translates it.

    Args:
        code: The close code; 1006 when there was none.
        reason: What the server said, perhaps nothing.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Waiting:
    """A command without its answer yet."""

    __slots__ = ("future", "on_ok")

    def __init__(self, future: asyncio.Future[Frame], on_ok: Callable[[], None] | None) -> None:
        self.future = future
        self.on_ok = on_ok


class Link:
    """Speaks the contract over an open socket. `run` must be running for anything else to get on.

    Args:
        socket: The socket, after its handshake.
        wire_format: What the two sides agreed on.
        on_event: Gets each event but `ping`, at once and in order. Must not raise.
        on_end: Called when the socket has ended, before anybody who waits for an answer hears of it.
    """

    def __init__(
        self,
        socket: ClientConnection,
        wire_format: Format,
        *,
        on_event: Callable[[Frame], None],
        on_end: Callable[["Link"], None],
    ) -> None:
        self._socket = socket
        self._format = wire_format
        self._on_event = on_event
        self._on_end = on_end
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        # Unbounded by itself, but commands are at most COMMANDS_MAX; the rest is a pong for each ping and
        # a detach for each stream that was left. One queue: commands go out in the order they were given.
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self.proven = False
        """Whether the server has done anything for us yet: a link that never was counts as a failure."""
        self.ended: asyncio.Future[LinkLost] = asyncio.get_running_loop().create_future()
        """Done when the socket has ended, with how."""

    async def run(self) -> LinkLost:
        """Read and write until the socket ends; return how it ended.

        Raises:
            BadFrame: The server sent what is no frame.
        """
        writer = asyncio.create_task(self._write(), name="duologue-client-writer")
        lost = LinkLost(1006, "the connection broke")
        try:
            while True:
                self._take(decode(await self._socket.recv(), self._format))
        except SocketClosed:
            lost = LinkLost(self._socket.close_code or 1006, self._socket.close_reason or "")
            return lost
        except BadFrame:
            await self._socket.close(1002)
            raise
        finally:
            writer.cancel()
            self._end(lost)

    async def request(self, op: str, fields: Frame, on_ok: Callable[[], None] | None = None) -> Frame:
        """Send a command and return what its answer holds.

        Args:
            op: Which command.
            fields: Its fields; those that are `None` are left out.
            on_ok: Called synchronously when the answer is good, before any event that follows it.

        Raises:
            LinkLost: The socket ended first.
            DuologueError: What the server answered, or the command can't be written.
        """
        if self.ended.done():
            raise self.ended.result()
        if len(self._waiting) >= COMMANDS_MAX:
            raise TooMany(f"{COMMANDS_MAX} commands wait for their answers on this socket")
        number = self.post(op, fields)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(future, on_ok)
        try:
            answer = await future
            self.proven = self.proven or op != "auth"
            return answer
        finally:
            self._waiting.pop(number, None)

    def post(self, op: str, fields: Frame) -> int:
        """Send a command whose answer nobody waits for; return its number. Nothing is promised."""
        number = next(self._numbers)
        sent = {name: value for name, value in fields.items() if value is not None}
        self._outgoing.put_nowait(encode({"id": number, "op": op, **sent}, self._format))
        return number

    async def close(self, code: int = 1000) -> None:
        """Close the socket and wait until it is closed, at most its own close time."""
        await self._socket.close(code)

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send(await self._outgoing.get(), text=self._format == "json")
        except SocketClosed:
            pass  # the reader says so

    def _take(self, frame: Frame) -> None:
        if "re" in frame:
            self._answer(frame)
        elif frame.get("event") == "ping":
            self.post("pong", {})
        else:
            self.proven = True
            self._on_event(frame)

    def _answer(self, frame: Frame) -> None:
        waiting = self._waiting.get(frame["re"]) if isinstance(frame["re"], int) else None
        if waiting is None or waiting.future.done():
            return  # an answer to a post, or to a caller who has left
        error: Any = frame.get("error")
        if error is not None:
            waiting.future.set_exception(error_from_wire(error))
            return
        if waiting.on_ok is not None:
            waiting.on_ok()
        waiting.future.set_result(frame.get("ok") or {})

    def _end(self, lost: LinkLost) -> None:
        if not self.ended.done():
            self.ended.set_result(lost)
            self._on_end(self)
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(LinkLost(lost.code, lost.reason))
