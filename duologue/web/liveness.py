"""Whether the other end of a socket is alive and reading. Pure rules, and one timer for all sockets.

A stream of small frames does not fill a socket's buffers for minutes, so TCP can't tell that a reader has
stopped. Pings of our own can: they queue behind everything sent before them.
"""

import logging
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

__all__ = ["Due", "Liveness", "Pulse", "Sweep"]

_log = logging.getLogger(__name__)


class Due(Enum):
    """What has to be done for a socket now."""

    NOTHING = auto()
    PING = auto()
    CLOSE = auto()


class Pulse:
    """The times that liveness is judged by, in seconds, and the bytes that bring a ping forward."""

    __slots__ = ("ping_interval", "pong_timeout", "unanswered_bytes_max")

    def __init__(
        self, *, ping_interval: float = 20.0, pong_timeout: float = 10.0, unanswered_bytes_max: int = 65_536
    ) -> None:
        self.ping_interval = ping_interval
        self.pong_timeout = pong_timeout
        self.unanswered_bytes_max = unanswered_bytes_max


class Liveness:
    """The judgement of one socket.

    Args:
        pulse: The times, shared by all sockets.
        now: Seconds, on the clock of all later calls.
        phase: From 0 to 1: where in the second half of an interval the first ping falls. Sockets that came at
            once, as after a restart, are not pinged at once for ever.
    """

    __slots__ = ("_pinged", "_pulse", "next_at", "unanswered_bytes")

    def __init__(self, pulse: Pulse, now: float, *, phase: float = 1.0) -> None:
        self._pulse = pulse
        self._pinged = False
        self.unanswered_bytes = 0
        """Bytes sent since the client last answered a ping or acknowledged an event."""
        self.next_at = now + pulse.ping_interval * (0.5 + 0.5 * phase)
        """When `due` has to be asked next."""

    @property
    def wants_ping(self) -> bool:
        """Whether enough is unanswered for a ping before its time."""
        return not self._pinged and self.unanswered_bytes > self._pulse.unanswered_bytes_max

    def due(self, now: float) -> Due:
        """What to do at `now`. `PING` counts as sent."""
        if now < self.next_at:
            return Due.NOTHING
        if self._pinged:
            return Due.CLOSE
        self.pinged(now)
        return Due.PING

    def pinged(self, now: float) -> None:
        """A ping was sent: from now on it has to be answered in time."""
        self._pinged = True
        self.next_at = now + self._pulse.pong_timeout

    def answered(self, now: float) -> None:
        """The client proved that it reads."""
        self._pinged = False
        self.unanswered_bytes = 0
        self.next_at = now + self._pulse.ping_interval


class Swept(Protocol):
    """What a `Sweep` calls."""

    def on_sweep(self, now: float) -> float | None:
        """Do what is due; return when to be called next, or `None` to be forgotten. Must not raise."""
        ...


class _Timer(Protocol):
    def cancel(self) -> None: ...


class Sweep:
    """One timer for any number of sockets: those due within the same slot are called together.

    Args:
        clock: Monotonic seconds.
        call_at: Calls a function at a time of that clock, like `loop.call_at`.
        resolution: Length of a slot in seconds; how late a call may be.
    """

    __slots__ = ("_call_at", "_clock", "_resolution", "_slot_of", "_slots", "_timer", "_timer_slot")

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], _Timer],
        resolution: float = 0.5,
    ) -> None:
        self._clock = clock
        self._call_at = call_at
        self._resolution = resolution
        self._slots: dict[int, dict[Swept, None]] = {}
        self._slot_of: dict[Swept, int] = {}
        self._timer: _Timer | None = None
        self._timer_slot = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def now(self) -> float:
        """The clock that `at` is meant by."""
        return self._clock()

    def schedule(self, swept: Swept, at: float) -> None:
        """Call at or shortly after `at`; replaces an earlier wish of the same one."""
        slot = math.ceil(at / self._resolution)
        present = self._slot_of.get(swept)
        if present == slot:
            return
        if present is not None:
            self._remove(swept, present)
        self._slot_of[swept] = slot
        self._slots.setdefault(slot, {})[swept] = None
        if self._timer is None or slot < self._timer_slot:
            self._arm(slot)

    def cancel(self, swept: Swept) -> None:
        """Forget. Harmless for one that is not known."""
        slot = self._slot_of.pop(swept, None)
        if slot is not None:
            self._remove(swept, slot)
        if not self._slots and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _remove(self, swept: Swept, slot: int) -> None:
        members = self._slots[slot]
        del members[swept]
        if not members:
            del self._slots[slot]

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_slot = slot
        self._timer = self._call_at(slot * self._resolution, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock()
        # A loop may call a timer a little early; what is due by then is due.
        latest = max(self._timer_slot, math.floor(now / self._resolution))
        for slot in sorted(slot for slot in self._slots if slot <= latest):
            for swept in tuple(self._slots.get(slot, ())):
                if self._slot_of.get(swept) != slot:
                    continue  # another's call has moved or cancelled it
                del self._slot_of[swept]
                self._remove(swept, slot)
                at = _call(swept, now)
                if at is not None:
                    self.schedule(swept, max(at, now + self._resolution))
        if self._slots and self._timer is None:
            self._arm(min(self._slots))


def _call(swept: Swept, now: float) -> float | None:
    try:
        return swept.on_sweep(now)
    except Exception:  # noqa: BLE001 - one broken socket must not stop the clock of all others
        _log.exception("a socket failed in its sweep")
        return None
