"""One dialogue's viewers, by merge window: what is delivered now, and what waits for its window.

A window's viewers share one pending delta, so that a merged frame is made and encoded once for all of
them. An event that is not a delta, and the first delta of an attempt, never waits.
"""

from collections.abc import Iterable, Iterator, Sequence

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import Event, TurnDelta

__all__ = ["Broadcast"]


class Broadcast:
    """Delivers events to attachments. Pure but for `Attachment.deliver`, which returns at once."""

    __slots__ = ("_at_once", "_pending", "_windows")

    def __init__(self) -> None:
        self._at_once: list[Attachment] = []
        """Viewers without a window; the common case, so it has a list of its own."""
        self._windows: dict[int, list[Attachment]] = {}
        self._pending: dict[int, TurnDelta] = {}

    def add(self, attachment: Attachment) -> None:
        """Deliver to this viewer from now on. Whatever its window holds back is older, so it goes out first."""
        if attachment.coalesce_ms == 0:
            self._at_once.append(attachment)
            return
        self.flush(attachment.coalesce_ms)
        self._windows.setdefault(attachment.coalesce_ms, []).append(attachment)

    def discard(self, attachment: Attachment) -> bool:
        """Deliver no more to this viewer. Whether it was there."""
        group = self._at_once if attachment.coalesce_ms == 0 else self._windows.get(attachment.coalesce_ms)
        if group is None or attachment not in group:
            return False
        group.remove(attachment)
        if not group and attachment.coalesce_ms:
            del self._windows[attachment.coalesce_ms]
            self._pending.pop(attachment.coalesce_ms, None)
        return True

    def publish(self, event: Event) -> Sequence[int]:
        """Deliver, or hold back. Returns the windows in milliseconds that began to hold back now: time them."""
        for attachment in self._at_once:
            attachment.deliver(event)
        if not self._windows:
            return ()
        if type(event) is TurnDelta and event.offset > 0:
            return self._hold(event)
        for window, group in self._windows.items():
            self.flush(window)
            _deliver(group, event)
        return ()

    def _hold(self, delta: TurnDelta) -> Sequence[int]:
        began = []
        for window in self._windows:
            held = self._pending.get(window)
            if held is None:
                began.append(window)
            self._pending[window] = delta if held is None else held.merged_with(delta)
        return began

    def flush(self, window: int) -> None:
        """Deliver what this window holds back, if anything."""
        held = self._pending.pop(window, None)
        if held is not None:
            _deliver(self._windows.get(window, ()), held)

    def flush_all(self) -> None:
        """Deliver everything that is held back."""
        for window in tuple(self._pending):
            self.flush(window)

    def __iter__(self) -> Iterator[Attachment]:
        yield from self._at_once
        for group in self._windows.values():
            yield from group

    def __len__(self) -> int:
        return len(self._at_once) + sum(map(len, self._windows.values()))


def _deliver(group: Iterable[Attachment], event: Event) -> None:
    for attachment in group:
        attachment.deliver(event)
