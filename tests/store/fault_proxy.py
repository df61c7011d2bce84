"""A proxy between a store and its server that loses, holds back and breaks, byte-exact and on command."""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote


class FaultProxy:
    """Forwards a unix socket, or with `tls` a port of this machine, to a unix socket.

    `requests` and `replies` are gates: what comes while one is cleared waits until it is set. `reply_held` is
    set when a reply has come from the server and waits, so that the request is known to be applied.
    """

    def __init__(
        self, upstream_url: str, path: Path | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._upstream = unquote(upstream_url.removeprefix("unix://"))
        self._path = path
        self._tls = tls
        self.url = f"unix://{path}"
        """With `tls` of a port, known once it listens."""
        self.requests = asyncio.Event()
        self.replies = asyncio.Event()
        self.requests.set()
        self.replies.set()
        self.reply_held = asyncio.Event()
        self.lose_next_reply = False
        """Close the connection instead of handing on the next reply."""
        self.replies_lost = 0
        self.garbage: bytes | None = None
        """Sent once instead of the next reply; `None`: nothing."""
        self.connections = 0
        """Accepted so far."""
        self.reply_chunk = 1 << 16
        """Bytes of a reply handed on at once."""
        self.cut_after_bytes: int | None = None
        """Close the connection when this many more bytes of replies were handed on; `None`: never."""
        self.requests_seen = 0
        """Pieces of requests handed on; one for a small batch."""
        self.last_request = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Accept connections."""
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._accept, str(self._path))
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
            self.url = f"rediss://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def refuse(self) -> None:
        """Accept no more connections and cut those that are there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        await self.cut()

    async def cut(self) -> None:
        """End all connections."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._own(self._serve(reader, writer))

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The proxy's own tasks, for tests that count."""
        return set(self._tasks)

    def _own(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
            pumps = {
                self._own(self._pump_requests(reader, up_writer)),
                self._own(self._pump_replies(up_reader, writer)),
            }
            with contextlib.closing(up_writer):
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()

    async def _pump_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self.requests.wait()
            self.requests_seen += 1
            self.last_request = data
            writer.write(data)

    async def _pump_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if self.lose_next_reply:
                self.lose_next_reply = False
                self.replies_lost += 1
                return
            if self.garbage is not None:
                writer.write(self.garbage)
                self.garbage = None
                continue
            if not self.replies.is_set():
                self.reply_held.set()
                await self.replies.wait()
            if self.cut_after_bytes is not None:
                writer.write(data[: self.cut_after_bytes])
                self.cut_after_bytes -= len(data)
                if self.cut_after_bytes <= 0:
                    return
                continue
            for start in range(0, len(data), self.reply_chunk):
                writer.write(data[start : start + self.reply_chunk])
                await writer.drain()
                await asyncio.sleep(0)
