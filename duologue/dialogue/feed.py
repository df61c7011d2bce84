"""What a dialogue tells its viewers: the numbering, the replay and who gets what. No I/O, no loop.

All numbers are given here, in one place, and the position that an attaching viewer gets is taken in the
same step that adds it: snapshot, fill and live join without a race.
"""

from collections.abc import Callable, Iterable, Sequence

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.broadcast import Broadcast
from duologue.dialogue.events import DialogueSnapshot, Event, Snapshot
from duologue.dialogue.replay import Replay
from duologue.messages import DialogueId, Epoch, Position

__all__ = ["Feed"]


class Feed:
    """Numbered events out, in one order for everybody.

    Args:
        dialogue: Whose events these are.
        start_window: Called with a merge window in milliseconds when something begins to wait for it.
    """

    __slots__ = ("_broadcast", "_replay", "_start_window", "dialogue", "epoch", "seq")

    def __init__(self, dialogue: DialogueId, start_window: Callable[[int], None]) -> None:
        self.dialogue = dialogue
        self.epoch = Epoch("")
        self.seq = 0
        """Number of the last event; the next one has one more."""
        self._replay = Replay()
        self._broadcast = Broadcast()
        self._start_window = start_window

    @property
    def position(self) -> Position:
        """Where the stream of events stands."""
        return Position(self.epoch, self.seq)

    def start_at(self, position: Position) -> None:
        """Number from here on; what came before can't be replayed."""
        self.epoch, self.seq = position.epoch, position.seq
        self._replay.reset(position.seq)

    def begin_turn(self) -> None:
        """The next event is a turn's first: what is older than the turn before need not be kept."""
        self._replay.begin_turn(self.seq + 1)

    def emit(self, event: Event) -> None:
        """Send the next numbered event.

        Raises:
            AssertionError: Its number is not the next one.
        """
        assert event.seq == self.seq + 1, "an event out of order"
        self.seq = event.seq
        self._replay.append(event)
        for window in self._broadcast.publish(event):
            self._start_window(window)

    def flush(self, window: int) -> None:
        """The window is over: send what waited."""
        self._broadcast.flush(window)

    def attach(self, attachment: Attachment, after: Position | None) -> tuple[bool, Callable[[], None]]:
        """Add a viewer that knows everything up to `after`.

        Returns:
            Whether the gap can be filled exactly, and what delivers the fill; where it can't be, that is for
            the caller to follow with a snapshot. Calling it is left to the caller because its answer to the
            viewer comes first. Nothing may be emitted in between.
        """
        self._broadcast.discard(attachment)
        self._broadcast.flush_all()
        fill = None
        if after is not None and after.epoch == self.epoch:
            fill = self._replay.after(after.seq)
        resumed = fill is not None
        missed: Sequence[Event] = tuple(fill or ())

        def deliver() -> None:
            self._broadcast.add(attachment)
            for event in missed:
                attachment.deliver(event)
            attachment.epoch, attachment.seq = self.epoch, self.seq

        return resumed, deliver

    def adopt(self, attachments: Iterable[Attachment], snapshot: Callable[[], Snapshot]) -> None:
        """Take over viewers from an earlier actor; those who know another position get a snapshot."""
        shared: DialogueSnapshot | None = None
        for attachment in attachments:
            self._broadcast.add(attachment)
            if (attachment.epoch, attachment.seq) != (self.epoch, self.seq):
                shared = shared or self.snapshot_event(snapshot())
                attachment.deliver(shared)

    def announce(self, snapshot: Callable[[], Snapshot]) -> None:
        """Show everybody how things stand, where no event could say it."""
        self._broadcast.flush_all()
        if len(self._broadcast):
            shared = self.snapshot_event(snapshot())
            for attachment in tuple(self._broadcast):
                attachment.deliver(shared)

    def snapshot_event(self, snapshot: Snapshot) -> DialogueSnapshot:
        """The snapshot as an event that stands for the present position."""
        return DialogueSnapshot(self.dialogue, self.epoch, self.seq, snapshot)

    def detach(self, attachment: Attachment) -> bool:
        """Deliver no more to this viewer. Whether it was there."""
        return self._broadcast.discard(attachment)

    def flush_all(self) -> None:
        """Send everything that waits for a window."""
        self._broadcast.flush_all()

    @property
    def viewers(self) -> int:
        """How many are attached."""
        return len(self._broadcast)
