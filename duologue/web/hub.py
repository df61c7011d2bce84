"""What all connections of one application share: the runtime, the bounds, the timer, and who is connected."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from duologue.assembly import Runtime
from duologue.config.settings import Settings
from duologue.errors import Draining, StoreUnavailable
from duologue.messages import DialogueId
from duologue.telemetry import Telemetry
from duologue.web.liveness import Pulse, Sweep
from duologue.web.security import Authority
from duologue.web.tickets import Tickets

__all__ = ["Connection", "Hub", "WebLimits"]


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Bounds on what one client may have and how long it may take. Times in seconds."""

    sockets_max: int = 20_000
    """Open sockets of this process."""
    streams_max: int = 2_000
    """Open event streams of this process; each keeps a task."""
    dialogues_max: int = 256
    """Dialogues that one socket may watch at once."""
    in_flight_max: int = 64
    """Commands of one socket that wait for their dialogue's answer; more wait behind them."""
    backlog_max: int = 1_024
    """Commands that may wait behind those in flight."""
    body_bytes_max: int = 262_144
    """An HTTP request's body: a message of 32 KiB in which JSON escapes every character fits."""
    body_timeout: float = 10.0
    """For a request's body to come in."""
    auth_timeout: float = 10.0
    """For a socket to say who it is."""
    keep_alive: float = 15.0
    """Between comments on an event stream on which nothing happens."""
    ready_timeout: float = 1.5
    """For the store to answer `/readyz`."""
    pulse: Pulse = field(default_factory=Pulse)


_SILENT = Telemetry()


class Connection(Protocol):
    """Something that stays open: a socket's session or an event stream."""

    def announce_drain(self, reconnect_after_ms: int) -> None:
        """Tell the client that the server is going away."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End it; a WebSocket close code says why."""
        ...


class Hub:
    """Shared by all connections of an application. Used from one loop's thread only.

    Args:
        settings: Whom to let in and how much may wait for a slow reader.
        limits: Bounds; `None`: the defaults.
        random_text: Makes unguessable strings of at least 128 bits.
        random_ms: Gives a number of milliseconds between two, to spread reconnects.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits: WebLimits | None = None,
        random_text: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        random_ms: Callable[[int, int], int] = random.randint,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        token = settings.auth.token
        self.settings = settings
        self.limits = limits or WebLimits()
        self.authority = Authority(None if token is None else token.get_secret_value())
        self.tickets = Tickets(clock=clock, random_text=random_text)
        self.connections: set[Connection] = set()
        self.sockets_open = 0
        self.streams_open = 0
        self.clock = clock
        self._runtime: Runtime | None = None
        self._sweep: Sweep | None = None
        self._random_text = random_text
        self._random_ms = random_ms
        self._admitted = 0

    @property
    def runtime(self) -> Runtime:
        """The runtime.

        Raises:
            StoreUnavailable: The application's lifespan has not run, so there is none.
        """
        if self._runtime is None:
            raise StoreUnavailable("the application was not started: run its lifespan", applied="no")
        return self._runtime

    @runtime.setter
    def runtime(self, runtime: Runtime | None) -> None:
        self._runtime = runtime

    @property
    def telemetry(self) -> Telemetry:
        """Where events are reported: the runtime's, once there is one."""
        return _SILENT if self._runtime is None else self._runtime.telemetry

    @property
    def running(self) -> bool:
        """Whether there is a runtime."""
        return self._runtime is not None

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins that may connect besides the server's own."""
        return self.settings.server.allowed_origins

    @property
    def sweep(self) -> Sweep:
        """The one timer of all sockets of the running loop."""
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = Sweep(clock=loop.time, call_at=loop.call_at)
        return self._sweep

    def phase(self) -> float:
        """From 0 to 1, spread evenly over the sockets as they come (multiples of the golden ratio)."""
        return self._admitted * 0.618034 % 1.0

    def admit(self, socket: Connection) -> None:
        """A socket was opened."""
        self.connections.add(socket)
        self.sockets_open += 1
        self._admitted += 1
        self.telemetry.socket_opened()

    def release(self, socket: Connection, code: int) -> bool:
        """It has ended. False, and nothing is done, when that was known."""
        if socket not in self.connections:
            return False
        self.connections.discard(socket)
        self.sockets_open -= 1
        self.telemetry.socket_closed(code=code)
        return True

    def new_dialogue_id(self) -> DialogueId:
        """A name that nobody can guess, of 128 bits."""
        return DialogueId(self._random_text())

    def check_open(self) -> None:
        """Whether new connections are taken.

        Raises:
            Draining: The server is going away.
            StoreUnavailable: It was not started.
        """
        if self.runtime.draining:
            raise Draining("this server is going away; connect again")

    def begin_drain(self) -> None:
        """Refuse new work, and tell every client to come back, spread over time by their number."""
        self.runtime.begin_drain()
        spread = min(30_000, 500 + 10 * len(self.connections))
        for connection in tuple(self.connections):
            connection.announce_drain(self._random_ms(100, spread))

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection."""
        for connection in tuple(self.connections):
            connection.close(code, reason)
