"""Tickets that let a browser open a socket without a token in its address: used once, soon, and bounded."""

from collections.abc import Callable
from hashlib import sha256

from duologue.errors import TooMany

__all__ = ["TICKET_LIFETIME", "Tickets"]

TICKET_LIFETIME = 30.0
"""Seconds that a ticket may be used for, once."""


class Tickets:
    """Tickets that were given out and not used. Memory of one process; a restart forgets them.

    Args:
        clock: Monotonic seconds.
        random_text: Makes an unguessable string of at least 128 bits.
        lifetime: Seconds.
        count_max: How many may be out at once.
    """

    __slots__ = ("_clock", "_count_max", "_expires_at", "_lifetime", "_random_text")

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        random_text: Callable[[], str],
        lifetime: float = TICKET_LIFETIME,
        count_max: int = 10_000,
    ) -> None:
        self._clock = clock
        self._random_text = random_text
        self._lifetime = lifetime
        self._count_max = count_max
        # By digest, so that how long a look-up takes tells nothing of a ticket. In order of expiry.
        self._expires_at: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._expires_at)

    def issue(self) -> str:
        """Make a ticket.

        Raises:
            TooMany: The bound on tickets that are out was reached.
        """
        now = self._clock()
        self._forget_expired(now)
        if len(self._expires_at) >= self._count_max:
            raise TooMany("too many tickets are waiting to be used; try again in some seconds")
        ticket = self._random_text()
        self._expires_at[_digest_of(ticket)] = now + self._lifetime
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Use a ticket up. False: never given out, used before, or too old."""
        expires_at = self._expires_at.pop(_digest_of(ticket), None)
        return expires_at is not None and self._clock() < expires_at

    def _forget_expired(self, now: float) -> None:
        for digest, expires_at in list(self._expires_at.items()):
            if expires_at > now:
                return
            del self._expires_at[digest]


def _digest_of(ticket: str) -> bytes:
    return sha256(ticket.encode("utf-8", "surrogatepass")).digest()
