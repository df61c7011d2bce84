"""Keeps one socket up: connects, authenticates, and comes back when it was lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from duologue.client.errors import ConnectionClosed, ConnectionFailed
from duologue.client.link import Link, LinkLost
from duologue.client.rules import Backoff, final_close, final_handshake
from duologue.client.wire import SUBPROTOCOLS, Format, Frame
from duologue.errors import DuologueError

__all__ = ["Connection", "Keeper", "Waits", "is_loopback"]

_FRAME_IN_BYTES_MAX: Final = 16 * 1024 * 1024
"""Longest frame that we take: a snapshot holds 50 messages."""

_socket_log = logging.getLogger("duologue.client.socket")
# The socket library writes frames to its log at DEBUG, and frames hold what people say.
_socket_log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Connection:
    """How the connection stands, for whoever shows it.

    Args:
        connected: Whether commands go out now.
        retry_in: Seconds until the next attempt; `None` when connected or ended.
        reason: Why it was lost, in words; empty when connected.
    """

    connected: bool
    retry_in: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Time and chance, passed in.

    Args:
        backoff: How long to wait between attempts.
        sleep: Waits so many seconds.
        fraction: Random numbers in [0, 1).
        timeout: Seconds for one attempt to connect and authenticate.
    """

    backoff: Backoff
    sleep: Callable[[float], Awaitable[object]]
    fraction: Callable[[], float]
    timeout: float

    async def after(self, failures: int) -> None:
        """Sleep as the backoff says."""
        await self.sleep(self.delay(failures))

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return self.backoff.delay(failures, self.fraction())


class Keeper:
    """Owns the socket and the task that replaces it.

    Args:
        url: The socket's address.
        token: Proves who we are; `None`: nothing is sent.
        wire_format: What to offer.
        waits: Time and chance.
        on_event: Gets each event of a dialogue, at once and in order.
        on_lost: Called when a socket is gone, before another one is made.
        on_end: Called once, with why there will be no connection any more.
        on_connection: Told of each loss and each return; `None`: nobody is.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        wire_format: Format,
        waits: Waits,
        on_event: Callable[[Frame], None],
        on_lost: Callable[[], None],
        on_end: Callable[[DuologueError], None],
        on_connection: Callable[[Connection], None] | None,
    ) -> None:
        self._url = url
        self._token = token
        self._format: Format = wire_format
        self._waits = waits
        self._on_event = on_event
        self._on_lost = on_lost
        self._on_end = on_end
        self._on_connection = on_connection

        self.current: Link | None = None
        """The socket that is up and authenticated; `None` between two."""
        self.error: DuologueError | None = None
        """Why there will be no connection any more; `None` while there may be."""
        # Set while `current` or `error` is there: what `link` waits for.
        self._settled = asyncio.Event()
        # The task that runs the newest link, and the one that replaces it when it ends.
        self._running: asyncio.Task[LinkLost] | None = None
        self._keeping: asyncio.Task[None] | None = None
        # Seconds that a draining server asked us to stay away.
        self._stay_away = 0.0

    async def start(self) -> None:
        """Connect once.

        Raises:
            ConnectionFailed: It did not work; nothing was started.
            DuologueError: It never will.
        """
        if self._keeping is not None or self.error is not None:
            raise RuntimeError("a client can be entered once")
        first = await self._dial()
        self._keeping = asyncio.create_task(self._keep(*first), name="duologue-client")

    async def close(self) -> None:
        """Close the socket and end. Idempotent."""
        self._end(ConnectionClosed("the client was closed"))
        link, self.current = self.current, None
        if self._keeping is not None:
            await _cancelled(self._keeping)
        if link is not None:
            await link.close()
        if self._running is not None:
            await _cancelled(self._running)

    async def link(self) -> Link:
        """The socket, as soon as there is one.

        Raises:
            DuologueError: There will be none any more.
        """
        while self.current is None:
            if self.error is not None:
                raise self.error
            await self._settled.wait()
        return self.current

    async def _keep(self, link: Link, running: "asyncio.Task[LinkLost]") -> None:
        """Watch the socket, and make a new one whenever it ends, until it must not be made again."""
        failures = 0
        try:
            while True:
                lost = await running
                failures = 0 if link.proven else failures + 1
                if (final := final_close(lost.code, lost.reason)) is not None:
                    return self._end(final)
                link, running, failures = await self._come_back(failures, _reason(lost))
        except DuologueError as error:
            self._end(error)
        finally:
            self._end(ConnectionClosed("the client's task was stopped"))

    async def _come_back(self, failures: int, reason: str) -> "tuple[Link, asyncio.Task[LinkLost], int]":
        """Connect again, after as many attempts as it takes; with how many in a row have failed."""
        while True:
            delay = self._stay_away + self._waits.delay(failures)
            self._stay_away = 0.0
            self._report(Connection(connected=False, retry_in=delay, reason=reason))
            await self._waits.sleep(delay)
            try:
                link, running = await self._dial()
            except ConnectionFailed as error:
                failures += 1
                reason = str(error)
            else:
                self._report(Connection(connected=True, retry_in=None, reason=""))
                return link, running, failures

    async def _dial(self) -> "tuple[Link, asyncio.Task[LinkLost]]":
        """Connect and authenticate once.

        Raises:
            ConnectionFailed: This time it did not work.
            DuologueError: It never will.
        """
        socket = await self._open()
        agreed: Format = self._format if socket.subprotocol == SUBPROTOCOLS[self._format] else "json"
        link = Link(socket, agreed, on_event=self._take, on_end=self._lose)
        running = self._running = asyncio.create_task(link.run(), name="duologue-client-link")
        try:
            await self._authenticate(link)
        except BaseException:
            await link.close()
            await _cancelled(running)
            raise
        self.current = link
        self._settled.set()
        return link, running

    async def _open(self) -> ClientConnection:
        try:
            return await open_socket(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOLS[self._format])],
                compression=None,
                proxy=None if is_loopback(self._url) else True,
                open_timeout=self._waits.timeout,
                close_timeout=2.0,
                max_size=_FRAME_IN_BYTES_MAX,
                logger=_socket_log,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            passing = ConnectionFailed(f"the server answered with HTTP status {status}")
            raise final_handshake(status) or passing from error
        except TimeoutError as error:
            raise ConnectionFailed(f"no connection within {self._waits.timeout:g} s") from error
        except ConnectionRefusedError as error:
            raise ConnectionFailed("nothing listens at this address") from error
        except OSError as error:
            raise ConnectionFailed(f"can't connect: {error.strerror or 'no answer'}") from error
        except WebSocketException as error:
            raise ConnectionFailed("what answers at this address speaks no WebSocket") from error

    async def _authenticate(self, link: Link) -> None:
        if self._token is None:
            return
        try:
            async with asyncio.timeout(self._waits.timeout):
                await link.request("auth", {"token": self._token})
        except TimeoutError as error:
            raise ConnectionFailed(f"no answer to our token within {self._waits.timeout:g} s") from error
        except LinkLost as lost:
            passing = ConnectionFailed(lost.reason or "the connection broke")
            raise final_close(lost.code, lost.reason) or passing from lost
        except DuologueError as error:
            raise ConnectionFailed(str(error)) if error.retryable else error from None

    def _take(self, frame: Frame) -> None:
        if frame.get("event") == "server.draining":
            self._stay_away = max(0.0, float(frame.get("reconnect_after_ms", 0)) / 1000.0)
        else:
            self._on_event(frame)

    def _lose(self, link: Link) -> None:
        if link is not self.current:
            return  # it never was, or we closed it ourselves
        self.current = None
        if self.error is None:
            self._settled.clear()
        self._on_lost()

    def _end(self, error: DuologueError) -> None:
        """No connection any more; the first reason stands."""
        if self.error is not None:
            return
        self.error = error
        self._settled.set()
        self._on_end(error)
        self._report(Connection(connected=False, retry_in=None, reason=str(error)))

    def _report(self, connection: Connection) -> None:
        if self._on_connection is not None:
            self._on_connection(connection)


def _reason(lost: LinkLost) -> str:
    return lost.reason or ("the connection broke" if lost.code == 1006 else f"close code {lost.code}")


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own, so that no proxy can be meant to stand between."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task of ours and wait until it has ended; what it raised was told elsewhere."""
    task.cancel()
    await asyncio.wait([task])
