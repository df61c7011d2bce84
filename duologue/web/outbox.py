"""What a slow reader has not been sent yet. Pure: says what to write next and when it is too much.

Rules:

1. Order is kept for each dialogue, and an answer stays before everything that was put in after it.
2. Deltas of one turn that follow each other are merged into one while they wait, so that a reader who is
   behind gets fewer and longer frames. What is merged is kept as text; it is encoded when its turn comes.
3. Waiting bytes are bounded. Going over the bound is the end of the connection; nothing is ever dropped.
4. A snapshot counts little: its messages are the actor's own, shared and not copied, until it is written.
   Otherwise nobody with a few long dialogues could ever attach to them at once.
"""

from collections import deque
from collections.abc import Callable

from duologue.dialogue.events import DialogueSnapshot, Event, TurnDelta
from duologue.messages import DialogueId

__all__ = ["Outbox"]

_ENVELOPE_BYTES = 192  # an estimate of a delta without its text: names, two ids of 22 characters, numbers
_SNAPSHOT_BYTES = 4_096
_PIECES_MAX = 64


class _Run:
    """Deltas that wait as one. Keeps text, not events, so that its memory is what it counts."""

    __slots__ = ("_chunks", "_first", "_last_seq", "_pieces", "bytes")

    def __init__(self, first: TurnDelta) -> None:
        self._first = first
        self._last_seq = first.seq
        self._pieces = [first.text]
        self._chunks: list[str] = []
        self.bytes = _ENVELOPE_BYTES + _utf8_length(first.text)

    @property
    def dialogue(self) -> DialogueId:
        return self._first.dialogue

    def add(self, delta: TurnDelta) -> int | None:
        """Take in the next delta and return the bytes that it adds. `None`: it does not follow directly."""
        first = self._first
        if (
            delta.first_seq != self._last_seq + 1
            or delta.turn != first.turn
            or delta.attempt != first.attempt
            or delta.epoch != first.epoch
        ):
            return None
        self._pieces.append(delta.text)
        self._last_seq = delta.seq
        if len(self._pieces) > _PIECES_MAX:  # thousands of tiny strings would weigh ten times their text
            self._chunks.append("".join(self._pieces))
            self._pieces.clear()
        added = _utf8_length(delta.text)
        self.bytes += added
        return added

    def event(self) -> TurnDelta:
        """All of them as one event."""
        first = self._first
        if self._last_seq == first.seq:
            return first
        return TurnDelta(
            first.dialogue,
            first.epoch,
            self._last_seq,
            first.turn,
            first.attempt,
            first.offset,
            "".join(self._chunks) + "".join(self._pieces),
            first.first_seq,
        )


_Entry = bytes | Event | _Run


class Outbox:
    """Entries that wait for one connection, in order.

    Args:
        encode: Makes an event what is written; has to give the same bytes each time.
        bytes_max: Bound on waiting bytes. A single entry may be larger: it is let in when nothing waits.
    """

    __slots__ = ("_encode", "_entries", "_runs", "bytes", "bytes_max")

    def __init__(self, encode: Callable[[Event], bytes], *, bytes_max: int) -> None:
        self._encode = encode
        self.bytes_max = bytes_max
        self.bytes = 0
        """Bytes that wait. A delta's are estimated, the others' exact."""
        # Both made with the first entry: most connections never fall behind.
        self._entries: deque[_Entry] | None = None
        self._runs: dict[DialogueId, _Run] | None = None  # the run that a dialogue's next delta may join

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __len__(self) -> int:
        return 0 if self._entries is None else len(self._entries)

    def put_event(self, event: Event) -> bool:
        """Let an event wait. False: over the bound, and the connection has to end."""
        if type(event) is TurnDelta:
            return self._put_delta(event)
        if self._runs:
            self._runs.pop(event.dialogue, None)
        return self._put(
            event, _SNAPSHOT_BYTES if type(event) is DialogueSnapshot else len(self._encode(event))
        )

    def put_bytes(self, data: bytes) -> bool:
        """Let bytes wait that are written as they are. False: over the bound, as above."""
        if self._runs:
            # No later delta may join a run from before this answer: it might be what the answer announces.
            self._runs.clear()
        return self._put(data, len(data))

    def take(self) -> bytes:
        """The next bytes to write.

        Raises:
            IndexError: Nothing waits.
        """
        if not self._entries:
            raise IndexError("nothing waits")
        entry = self._entries.popleft()
        if isinstance(entry, bytes):
            data = entry
            self.bytes -= len(data)
        elif isinstance(entry, _Run):
            if self._runs is not None and self._runs.get(entry.dialogue) is entry:
                del self._runs[entry.dialogue]
            data = self._encode(entry.event())
            self.bytes -= entry.bytes
        else:
            data = self._encode(entry)
            self.bytes -= _SNAPSHOT_BYTES if type(entry) is DialogueSnapshot else len(data)
        if not self._entries:
            # Back to the weight of a connection that never fell behind.
            self._entries = self._runs = None
        return data

    def clear(self) -> None:
        """Forget everything: the connection has ended."""
        self._entries = self._runs = None
        self.bytes = 0

    def _put_delta(self, delta: TurnDelta) -> bool:
        runs = self._runs
        run = None if runs is None else runs.get(delta.dialogue)
        added = None if run is None else run.add(delta)
        if added is not None:
            self.bytes += added
            return self.bytes <= self.bytes_max
        run = _Run(delta)
        if not self._put(run, run.bytes):
            return False
        if self._runs is None:
            self._runs = {}
        self._runs[delta.dialogue] = run
        return True

    def _put(self, entry: _Entry, size: int) -> bool:
        if self._entries is None:
            self._entries = deque()
        fits = not self._entries or self.bytes + size <= self.bytes_max
        self._entries.append(entry)
        self.bytes += size
        return fits


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
