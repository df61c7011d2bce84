"""Time: the wheel that ends calls, and an actor's named timers."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from duologue.runtime.process import Process

__all__ = ["DeadlineWheel", "NamedTimer", "TICKS_PER_SECOND"]

TICKS_PER_SECOND = 50
_PRUNE_AT = 256


class Expiring(Protocol):
    """What waits on the wheel."""

    def expire(self) -> None:
        """The deadline has passed."""


class DeadlineWheel:
    """Coarse deadlines: entries of one 20 ms tick share one set, and all ticks share one timer.

    A deadline is never early and at most two ticks late. Taking an entry out is removing it from its
    set, so a call that is answered leaves nothing behind. With no entry there is no timer, or one that finds nothing.
    """

    __slots__ = ("_armed_tick", "_buckets", "_call_later", "_clock", "_handle", "_prune_at")

    def __init__(
        self,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._buckets: dict[int, set[Any]] = {}
        self._armed_tick = 0  # the tick that the timer waits for; 0: there is no timer
        self._handle: asyncio.TimerHandle | None = None
        self._prune_at = _PRUNE_AT

    def bucket(self, timeout: float) -> set[Any]:
        """The set whose entries expire `timeout` seconds from now. The caller adds to it at once."""
        tick = int((self._clock() + timeout) * TICKS_PER_SECOND) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._open(tick)
        return bucket

    def close(self) -> None:
        """Forget everything; nothing expires any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_tick = 0
        self._buckets.clear()

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def _open(self, tick: int) -> set[Any]:
        if len(self._buckets) >= self._prune_at:  # long timeouts at a high rate leave many empty ticks
            self._prune()
            self._prune_at = max(_PRUNE_AT, 2 * len(self._buckets))
        bucket = self._buckets[tick] = set()
        if not self._armed_tick or tick < self._armed_tick:
            self._arm(tick)
        return bucket

    def _prune(self) -> None:
        for tick in [tick for tick, bucket in self._buckets.items() if not bucket]:
            del self._buckets[tick]

    def _arm(self, tick: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_tick = tick
        delay = tick / TICKS_PER_SECOND - self._clock()
        self._handle = self._call_later(max(delay, 0.0), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._armed_tick = 0
        passed = int(
            self._clock() * TICKS_PER_SECOND + 1e-6
        )  # the product of an exact tick may fall just short
        due = sorted(tick for tick in self._buckets if tick <= passed)
        for bucket in [self._buckets.pop(tick) for tick in due]:
            for entry in tuple(bucket):
                entry.expire()
        self._prune()
        if self._buckets:
            first = min(self._buckets)
            if not self._armed_tick or first < self._armed_tick:
                self._arm(first)


class NamedTimer:
    """One timer of one actor.

    Its message comes as an info unless it was cancelled or replaced before the actor takes it, even if it
    waits in the mailbox already.
    """

    __slots__ = ("_deadline", "_handle", "_message", "_name", "_process")

    def __init__(self, process: "Process", name: str, delay: float, message: object) -> None:
        system = process.system
        self._process: Process | None = process
        self._name = name
        self._message = message
        self._deadline = system.clock() + delay
        self._handle: asyncio.TimerHandle | None = system.loop.call_later(delay, self._fire)

    def cancel(self) -> float:
        """Never deliver. Returns the seconds that were left, 0.0 when it waits in the mailbox."""
        process, self._process = self._process, None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        return max(0.0, self._deadline - process.system.clock()) if process else 0.0

    @property
    def wanted(self) -> bool:
        """Whether `claim` would be true (kernel)."""
        return self._process is not None

    def claim(self) -> bool:
        """Whether its message is still wanted (kernel); true once."""
        process, self._process = self._process, None
        if process is None:
            return False
        assert process.timers is not None
        del process.timers[self._name]
        return True

    def _fire(self) -> None:
        self._handle = None
        if self._process is not None:
            self._process.post_info(self._message, self)
