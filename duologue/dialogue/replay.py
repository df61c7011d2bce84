"""What a viewer that was away needs: the events of this turn and the one before, small enough to keep.

Deltas are not kept one by one. All deltas of an attempt are one text that only grows, so a run of them is
the text and one number for each delta, and the fill for a gap is one merged delta that starts exactly
where the gap does.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from duologue.dialogue.events import Event, TurnDelta

__all__ = ["DeltaRun", "Replay"]


class DeltaRun:
    """Deltas of one attempt with consecutive numbers."""

    __slots__ = ("_first", "_offsets", "_pieces")

    def __init__(self, first: TurnDelta) -> None:
        self._first = first
        self._offsets = array("L", (first.offset,))
        self._pieces = [first.text]

    @property
    def first_seq(self) -> int:
        """Number of the first delta."""
        return self._first.seq

    @property
    def last_seq(self) -> int:
        """Number of the last delta."""
        return self._first.seq + len(self._offsets) - 1

    def accepts(self, delta: TurnDelta) -> bool:
        """Whether this is the very next delta of the same attempt."""
        first = self._first
        return delta.seq == self.last_seq + 1 and delta.attempt == first.attempt and delta.turn == first.turn

    def append(self, delta: TurnDelta) -> None:
        """Add the next delta."""
        self._offsets.append(delta.offset)
        self._pieces.append(delta.text)

    def after(self, seq: int) -> TurnDelta:
        """All deltas with a number greater than `seq` as one event. `seq` is less than `last_seq`."""
        index = max(0, seq + 1 - self.first_seq)
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        first, offset = self._first, self._offsets[index]
        text = self._pieces[0][offset - first.offset :]
        from_seq = self.first_seq + index
        merged_from = from_seq if from_seq < self.last_seq else None
        return TurnDelta(
            first.dialogue, first.epoch, self.last_seq, first.turn, first.attempt, offset, text, merged_from
        )


class Replay:
    """Numbered events since the beginning of the previous turn, in order, without a hole.

    Bounded by what two turns emit; nothing older is kept.
    """

    __slots__ = ("_items", "_last", "_starts")

    def __init__(self) -> None:
        self._items: list[Event | DeltaRun] = []
        self._starts: list[int] = []
        """Number of the event that began each kept turn, oldest first; at most two."""
        self._last = 0

    def begin_turn(self, first_seq: int) -> None:
        """A turn begins with event `first_seq`: forget what is older than the turn before it."""
        self._starts.append(first_seq)
        if len(self._starts) > 2:
            del self._starts[0]
            oldest = self._starts[0]
            keep = bisect_right(self._items, oldest, key=_last_seq)
            # The item whose last number is the oldest one still wanted stays.
            while keep > 0 and _last_seq(self._items[keep - 1]) >= oldest:
                keep -= 1
            del self._items[:keep]

    def append(self, event: Event) -> None:
        """Keep one numbered event; it follows the one before."""
        items = self._items
        if type(event) is TurnDelta:
            last = items[-1] if items else None
            if type(last) is DeltaRun and last.accepts(event):
                last.append(event)
            else:
                items.append(DeltaRun(event))
        else:
            items.append(event)
        self._last = event.seq

    def after(self, seq: int) -> Iterator[Event] | None:
        """The events with a number greater than `seq`; `None` when some of them are not kept any more."""
        if seq == self._last:
            return iter(())
        if not self._items or seq > self._last or seq + 1 < _first_seq(self._items[0]):
            return None
        start = bisect_right(self._items, seq, key=_last_seq)
        return self._fill(start, seq)

    def _fill(self, start: int, seq: int) -> Iterator[Event]:
        for item in self._items[start:]:
            yield item.after(seq) if isinstance(item, DeltaRun) else item

    def reset(self, seq: int) -> None:
        """Begin anew after event `seq` (0 for a new epoch)."""
        self._items.clear()
        self._starts.clear()
        self._last = seq


def _first_seq(item: Event | DeltaRun) -> int:
    return item.first_seq


def _last_seq(item: Event | DeltaRun) -> int:
    return item.last_seq if isinstance(item, DeltaRun) else item.seq
