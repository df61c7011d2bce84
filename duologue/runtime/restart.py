"""How often is too often: the arithmetic of restarts, with no clock in it."""

from collections import deque

from duologue.runtime.checks import is_count, is_seconds

__all__ = ["RestartWindow"]


class RestartWindow:
    """A sliding window: at most `intensity` events within any `period`.

    Args:
        intensity: How many are allowed; 0 allows none.
        period: Seconds.

    Raises:
        ValueError: `intensity` is negative, or `period` is not positive.
    """

    __slots__ = ("_at", "intensity", "period")

    def __init__(self, intensity: int = 3, period: float = 5.0) -> None:
        if not is_count(intensity):
            raise ValueError(f"intensity must be 0 or more, not {intensity!r}")
        if not is_seconds(period) or period == 0:
            raise ValueError(f"period must be more than 0 seconds, not {period!r}")
        self.intensity = intensity
        self.period = period
        self._at: deque[float] | None = None  # times of the events that still count; made by the first

    def allow(self, now: float) -> bool:
        """Count an event at `now`, in seconds on a clock that only grows. False: it is one too many.

        An event that is refused counts as well, so who goes on asking stays refused.
        """
        if self._at is None:
            self._at = deque(maxlen=self.intensity + 1)
        self._at.append(now)
        return self._recent(now) <= self.intensity

    def recent(self, now: float) -> int:
        """How many events count at `now`; at most `intensity + 1`."""
        return self._recent(now) if self._at else 0

    def calm(self, now: float) -> bool:
        """Whether no event counts any more, so that the window may as well be forgotten."""
        return self.recent(now) == 0

    def reset(self) -> None:
        """Forget all events."""
        self._at = None

    def _recent(self, now: float) -> int:
        assert self._at is not None
        while self._at and now - self._at[0] > self.period:
            self._at.popleft()
        return len(self._at)
