"""The order of a dialogue's writes: one at a time, each built when its turn comes.

A write's fence and numbers depend on the one before, so a second write is not begun before the first is
known to have happened or not. Pure: the actor does the writing and tells the journal how it ended.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from duologue.dialogue.events import ErrorInfo
from duologue.dialogue.requests import Accepted
from duologue.dialogue.turn import Turn
from duologue.errors import DuologueError
from duologue.messages import DialogueId, Message, MessageId, Position
from duologue.runtime import ReplyTo
from duologue.store.port import HeadUpdate, MessageQueued, Owner, Record, TurnClosed, TurnOpened, Write

__all__ = [
    "Intent",
    "MessageIntent",
    "OpenTurnIntent",
    "QueueIntent",
    "CloseIntent",
    "CheckpointIntent",
    "AttemptIntent",
    "Journal",
]


@dataclass(slots=True, eq=False)
class Intent:
    """Something to be written.

    Args:
        turn: The turn that it belongs to.
        records: What the log gets.
    """

    turn: Turn
    records: tuple[Record, ...]

    @property
    def must(self) -> bool:
        """True: repeated until confirmed. False: may be refused, and whoever waits for it is told."""
        return True

    def events(self) -> int:
        """How many numbered events announce it."""
        return 1

    def records_at(self, position: Position) -> tuple[Record, ...]:
        """What the log gets when the event that announces it will have this position."""
        del position
        return self.records

    def accepts(self) -> dict[str, MessageId]:
        """Client message ids that it accepts, with the messages they name."""
        return {}


@dataclass(slots=True, eq=False)
class MessageIntent(Intent):
    """A new message, which callers wait for.

    Args:
        message: The message; `None` where an old question is answered once more, or queued ones are.
        repliers: Who waits: the caller, and any who sent the same message again meanwhile.
    """

    message: Message | None
    repliers: list[ReplyTo[Accepted]]

    @property
    def must(self) -> bool:
        return False

    def accepts(self) -> dict[str, MessageId]:
        message = self.message
        if message is None or message.client_message_id is None:
            return {}
        return {message.client_message_id: message.id}

    def records_at(self, position: Position) -> tuple[Record, ...]:
        if self.message is None:
            return self.records
        *earlier, last = self.records
        assert isinstance(last, TurnOpened | MessageQueued)
        return (*earlier, replace(last, position=position))

    def fail(self, error: DuologueError) -> None:
        """Tell everybody who waits that nothing was kept."""
        for reply_to in self.repliers:
            reply_to.fail(error)
        self.repliers.clear()

    def reply(self, accepted: Accepted) -> None:
        """Tell everybody who waits that it is durable."""
        for reply_to in self.repliers:
            reply_to.reply(accepted)
        self.repliers.clear()


@dataclass(slots=True, eq=False)
class OpenTurnIntent(MessageIntent):
    """Open `turn`, superseding what an edit or a regeneration replaces.

    Args:
        superseded: What is replaced, in order.
        unasked: For messages that were accepted earlier: it has to be, whatever the store does.
    """

    superseded: tuple[MessageId, ...]
    unasked: bool

    @property
    def must(self) -> bool:
        return self.unasked

    def events(self) -> int:
        return len(self.superseded) + (self.message is not None)


@dataclass(slots=True, eq=False)
class QueueIntent(MessageIntent):
    """Keep a message for a later turn while `turn` is open; `interrupt` cancels that one then."""

    interrupt: bool

    @property
    def queued(self) -> Message:
        """The message; there always is one."""
        assert self.message is not None
        return self.message


@dataclass(slots=True, eq=False)
class CloseIntent(Intent):
    """Close the turn; one terminal event announces it.

    Args:
        closing: The record, once more by its type.
        error: What a failed turn's viewers are told.
    """

    closing: TurnClosed
    error: ErrorInfo | None
    abandoned: bool = False
    """The terminal event went out as `not_saved` before the store answered."""

    def events(self) -> int:
        return 0 if self.abandoned else 1


@dataclass(slots=True, eq=False)
class CheckpointIntent(Intent):
    """Keep what a streaming answer has said since the last checkpoint, which ended at `offset`."""

    offset: int

    @property
    def must(self) -> bool:
        return False

    def events(self) -> int:
        return 0


@dataclass(slots=True, eq=False)
class AttemptIntent(Intent):
    """Count an attempt, so that no later one of this turn has its number.

    Args:
        generates: The attempt is made when this is written (after a restart); otherwise it is under way.
    """

    generates: bool

    @property
    def must(self) -> bool:
        return self.generates

    def events(self) -> int:
        return 0


class Journal:
    """The queue of intents, and the one that is being written."""

    __slots__ = ("_dialogue", "_waiting", "flying", "in_index", "owner", "troubled", "write")

    def __init__(self, dialogue: DialogueId) -> None:
        self._dialogue = dialogue
        self._waiting: deque[Intent] = deque()
        self.owner = Owner(0, "")
        """Who writes."""
        self.flying: Intent | None = None
        """What is being written now."""
        self.write: Write | None = None
        """The write that carries it."""
        self.troubled: DuologueError | None = None
        """Why the present write takes so long; new messages are refused with it."""
        self.in_index = False
        """Whether the store's index of open turns names this dialogue."""

    def __iter__(self) -> Iterator[Intent]:
        """What is being written, then what waits, in order."""
        if self.flying is not None:
            yield self.flying
        yield from self._waiting

    def __bool__(self) -> bool:
        return self.flying is not None or bool(self._waiting)

    def submit(self, intent: Intent) -> None:
        """Put at the end of the queue."""
        self._waiting.append(intent)

    def begin(
        self, *, write_id: str, log_index: int, make_head: Callable[[Intent], tuple[HeadUpdate, bool]]
    ) -> Write | None:
        """Build the next write, if none is under way and something waits.

        Args:
            write_id: A new name for the write.
            log_index: Where the log ends.
            make_head: The head after an intent, and whether anything is open or queued then.
        """
        if self.flying is not None or not self._waiting:
            return None
        intent = self.flying = self._waiting.popleft()
        head, unfinished = make_head(intent)
        self.write = Write(
            dialogue=self._dialogue,
            owner=self.owner,
            write_id=write_id,
            expected_log_index=log_index,
            records=intent.records_at(head.position),
            head=head,
            message_ids=intent.accepts(),
            opens_turn=unfinished and not self.in_index,
            closes_turn=self.in_index and not unfinished,
        )
        return self.write

    def settle(self, owner: Owner, *, applied: bool) -> Intent:
        """The present write has ended; `owner` is who may write the next one. Returns what it carried."""
        intent, write = self.flying, self.write
        assert intent is not None and write is not None
        self.flying = self.write = self.troubled = None
        self.owner = owner
        if applied:
            self.in_index = (self.in_index or write.opens_turn) and not write.closes_turn
        return intent

    def withdraw_messages(self) -> list[MessageIntent]:
        """Take out what waits and may be refused; nothing of it was sent."""
        refused = [
            intent for intent in self._waiting if isinstance(intent, MessageIntent) and not intent.must
        ]
        self._waiting = deque(intent for intent in self._waiting if intent not in refused)
        return refused

    def queueing(self) -> list[QueueIntent]:
        """Messages under way to the queue, in order."""
        return [intent for intent in self if isinstance(intent, QueueIntent)]

    def asking(self, client_message_id: str) -> MessageIntent | None:
        """The intent under way that accepts this client message id, if any."""
        for intent in self:
            if isinstance(intent, MessageIntent) and client_message_id in intent.accepts():
                return intent
        return None
