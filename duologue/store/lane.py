"""A lane: one connection to the store, and everything that waits for it.

Commands that come while a batch is in flight wait together and go out as the next batch, pipelined. So a
server that syncs its disk before it answers (`appendfsync always`) syncs once for all of them, and the more
callers there are, the fewer syncs each of them costs.

The connection is touched by the lane's own task only. A caller that is cancelled gives up its future and
nothing else, so no reply can ever reach the wrong caller. When an answer is late or the connection ends, the
connection is thrown away with all that was in flight; nothing is sent twice.
"""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from duologue.errors import StoreUnavailable
from duologue.store.refusals import unreachable

__all__ = ["BATCH_BYTES_MAX", "WAITING_MAX", "Lane", "Reply", "pack_command", "read_reply"]

BATCH_BYTES_MAX: Final = 1 << 20
"""A batch takes no further group once it has this many bytes, so that it can be answered in time."""
WAITING_MAX: Final = 65_536
"""Groups that may wait; a further one is refused."""

Reply = Any
"""An int, bytes, `None`, a list of these, or the exception that the server answered with, as a value."""

_logger = logging.getLogger(__name__)


def pack_command(*words: str | bytes | int) -> bytes:
    """One command in the server's protocol. By hand, since the client's own costs three times as much."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if type(word) is bytes else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class _Group:
    """Commands of one caller, sent one after the other in one batch."""

    __slots__ = ("count", "data", "deadline", "future")

    def __init__(self, data: bytes, count: int, future: asyncio.Future[list[Reply]], deadline: float) -> None:
        self.data = data
        self.count = count
        self.future = future
        self.deadline = deadline

    def fail(self, reason: str, applied: Literal["no", "unknown"]) -> None:
        if not self.future.done():
            self.future.set_exception(StoreUnavailable(reason, applied=applied))


class Lane:
    """One connection, one queue, and a task for as long as there is something to send.

    A group waits at most `timeout` for its turn and its batch takes at most `timeout`, connecting included.
    When a batch fails, all that waited behind it fail with it, and for `pause` seconds new ones fail at once;
    the next one after that tries again. Used from one event loop only.

    Args:
        name: For the log.
        connect: Makes an unconnected connection that speaks RESP2 and returns bytes.
        timeout: Seconds.
        pause: Seconds.
        greet: Run with each new connection before it is used.
    """

    __slots__ = (
        "_closed",
        "_connect",
        "_connection",
        "_down",
        "_greet",
        "_name",
        "_pause",
        "_queue",
        "_retry_at",
        "_task",
        "_timeout",
    )

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractConnection],
        *,
        timeout: float,
        pause: float = 0.1,
        greet: Callable[[AbstractConnection], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._greet = greet
        self._timeout = timeout
        self._pause = pause
        self._queue: deque[_Group] = deque()
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._down: str | None = None
        """Why the last batch failed, until one succeeds. `None`: it did not."""
        self._retry_at = -math.inf
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called; a closed lane stays closed."""
        return self._closed

    async def call(self, *commands: bytes) -> Sequence[Reply]:
        """Send packed commands in this order, with nothing of this lane between them; return their replies.

        They are no transaction: each succeeds or fails by itself, and another client may come between.

        Raises:
            StoreUnavailable: Not sent (`applied` is "no"), or sent and not answered ("unknown").
        """
        return await self._submit(commands)

    def cast(self, *commands: bytes) -> None:
        """Send packed commands and forget them. Promises nothing."""
        self._submit(commands).add_done_callback(_forget)

    async def close(self) -> None:
        """Refuse what waits, let the batch in flight end (at most `timeout`), and close the connection."""
        self._closed = True
        self._fail_waiting("The store is closed.")
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._drop()

    def _submit(self, commands: Sequence[bytes]) -> asyncio.Future[list[Reply]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Reply]] = loop.create_future()
        now = loop.time()
        group = _Group(b"".join(commands), len(commands), future, now + self._timeout)
        if self._closed:
            group.fail("The store is closed.", "no")
        elif self._down is not None and now < self._retry_at:
            group.fail(self._down, "no")
        elif len(self._queue) >= WAITING_MAX:
            group.fail("The store is too slow: too much waits for it.", "no")
        else:
            self._queue.append(group)
            if self._task is None:
                self._task = loop.create_task(self._run(), name=f"duologue-store-{self._name}")
        return future

    # ── the task ────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = self._take(asyncio.get_running_loop().time())
                if batch:
                    await self._flush(batch)
        finally:
            self._task = None
            self._fail_waiting("The store is closed.")  # empty, but when the task was cancelled from outside

    def _take(self, now: float) -> list[_Group]:
        """The next batch: in order, without those that nobody waits for and those whose time is over."""
        batch: list[_Group] = []
        size = 0
        while self._queue and size < BATCH_BYTES_MAX:
            group = self._queue.popleft()
            if group.future.done():
                continue
            if group.deadline < now:
                group.fail(f"The store was too slow: not sent within {self._timeout:g} s.", "no")
                continue
            batch.append(group)
            size += len(group.data)
        return batch

    async def _flush(self, batch: Sequence[_Group]) -> None:
        sent = False
        stale = False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connected()
                sent = True
                data = b"".join([group.data for group in batch])
                await connection.send_packed_command(data, check_health=False)
                for group in batch:
                    replies = [await read_reply(connection) for _ in range(group.count)]
                    stale = stale or any(type(reply) is ReadOnlyError for reply in replies)
                    if not group.future.done():
                        group.future.set_result(replies)
        except asyncio.CancelledError:
            await self._lost(batch, "The store is closed.", "unknown" if sent else "no")
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            applied: Literal["no", "unknown"] = "unknown" if sent else "no"
            await self._lost(batch, self._reason(error, applied), applied)
            return
        if self._down is not None:
            _logger.info("store, %s: answers again", self._name)
            self._down = None
        if stale:
            await self._drop()  # a demoted primary: the same address may lead to the new one

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None:
            # Between batches nothing may come but the connection's end, as when the server was restarted.
            if self._connection.is_connected and not await self._connection.can_read():
                return self._connection
            await self._drop()
        self._connection = connection = self._connect()
        await connection.connect()  # type: ignore[no-untyped-call]
        if self._greet is not None:
            await self._greet(connection)
        return connection

    def _reason(self, error: Exception, applied: Literal["no", "unknown"]) -> str:
        if isinstance(error, (TimeoutError, RedisTimeoutError)):
            return f"The store did not answer within {self._timeout:g} s."
        return str(unreachable(error, applied=applied))

    async def _lost(self, batch: Sequence[_Group], reason: str, applied: Literal["no", "unknown"]) -> None:
        if self._down is None:
            _logger.warning("store, %s: %s", self._name, reason)
        self._down = reason
        self._retry_at = asyncio.get_running_loop().time() + self._pause
        for group in batch:
            group.fail(reason, applied)  # but for those that were answered before
        self._fail_waiting(reason)
        await self._drop()

    def _fail_waiting(self, reason: str) -> None:
        while self._queue:
            self._queue.popleft().fail(reason, "no")

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)


async def read_reply(connection: AbstractConnection) -> Reply:
    """The next reply; a refused command's error is a value. What is raised ends the connection."""
    try:
        return await connection.read_response(
            disable_decoding=True, timeout=math.inf, disconnect_on_error=False
        )
    except (ResponseError, BusyLoadingError, AuthenticationError) as error:
        return error  # the command was refused; the connection is as good as before


def _forget(future: asyncio.Future[list[Reply]]) -> None:
    if not future.cancelled():
        future.exception()
