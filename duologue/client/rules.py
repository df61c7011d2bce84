"""What the client decides, without I/O: how long to wait, whether to come back, if a number is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from duologue.client.errors import ConnectionClosed, ConnectionFailed, NumberingBroken
from duologue.errors import BadRequest, DuologueError, Forbidden, NotAuthenticated, NotFound, TooMany
from duologue.messages import Epoch, Position

__all__ = ["Backoff", "Numbering", "final_close", "final_handshake"]

_UNNUMBERED: Final = frozenset({"dialogue.closed", "server.draining", "ping"})


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: each wait is uniform between nothing and a bound that doubles, so that clients spread out.

    Args:
        base: The first bound, in seconds.
        cap: The greatest bound, in seconds.
    """

    base: float = 0.25
    cap: float = 10.0

    def delay(self, failures: int, fraction: float) -> float:
        """Seconds to wait after so many failures in a row (0: the connection was good until now).

        Args:
            failures: How many attempts failed since the last good connection.
            fraction: A random number in [0, 1).
        """
        bound: float = min(self.cap, self.base * 2.0 ** min(failures, 32))
        return bound * fraction


def final_close(code: int, reason: str) -> DuologueError | None:
    """The error that ends the client after this close code; `None` when it should come back and resume."""
    if not 4500 <= code < 5000:
        return None
    said = reason or f"close code {code}"
    if code == 4500:
        return BadRequest(f"the server closed the socket for repeated bad requests: {said}")
    if code == 4501:
        return NotAuthenticated(f"the server does not know us: {said}")
    if code == 4503:
        return Forbidden(f"the server does not let us in: {said}")
    if code == 4508:
        return TooMany(f"too many connections: {said}")
    return ConnectionClosed(f"the server closed the socket for good: {said}", close_code=code)


def final_handshake(status: int) -> DuologueError | None:
    """The error for an HTTP status instead of a socket; `None` when the same may work later."""
    if status == 429 or status >= 500:
        return None
    if status == 401:
        return NotAuthenticated("the server wants a token")
    if status == 403:
        return Forbidden("the server refuses this connection (Origin, Host or credentials)")
    if status == 404:
        return NotFound("there is no socket at this address")
    return ConnectionFailed(f"the server answered the handshake with HTTP status {status}")


class Numbering:
    """Checks that each event of a dialogue follows the one before it.

    Args:
        position: What is known already; `None` when a snapshot has to come first.
    """

    __slots__ = ("position",)

    def __init__(self, position: Position | None = None) -> None:
        self.position = position

    def take(self, event: Mapping[str, Any]) -> None:
        """Move on to this event.

        Raises:
            NumberingBroken: It is not the next one. The position stays where it was.
        """
        if event["event"] in _UNNUMBERED or "seq" not in event:
            return
        epoch, seq = Epoch(event["epoch"]), int(event["seq"])
        if event["event"] != "dialogue.snapshot":
            self._check(epoch, int(event.get("first_seq", seq)), seq)
        self.position = Position(epoch, seq)

    def _check(self, epoch: Epoch, first: int, last: int) -> None:
        known = self.position
        if known is None:
            raise NumberingBroken(f"event {first} came before any snapshot")
        if epoch != known.epoch:
            raise NumberingBroken("an event of another epoch came without a snapshot")
        if first != known.seq + 1 or last < first:
            raise NumberingBroken(f"event {first}..{last} came after {known.seq}")
