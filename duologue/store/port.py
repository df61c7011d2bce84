"""The port to durable state: what a dialogue asks of a store, and nothing of how it is done.

A dialogue's durable state is a **head** (small, rewritten) and a **log** of records (appended to, never
rewritten). There is one write, `Store.append`. It is fenced: the store itself compares the writer's
`owner_term` and nonce with its own by equality, and the writer's `expected_log_index` with the log's end,
in the same step that writes. It is safe to repeat: a `Write` has a `write_id`, and repeating the last one
that was applied returns its first result and changes nothing.

Every method raises `StoreUnavailable` when the store did not answer within its time limit. No method
retries a write by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from duologue.messages import (
    DialogueId,
    DialogueMeta,
    DialogueStatus,
    FinishReason,
    Message,
    MessageId,
    Position,
    Tier,
    TurnId,
)

__all__ = [
    "Owner",
    "Head",
    "HeadUpdate",
    "Write",
    "Created",
    "DialogueRow",
    "DialoguePage",
    "TurnOutcome",
    "TurnOpened",
    "AttemptBegan",
    "AnswerExtended",
    "TurnClosed",
    "MessageSuperseded",
    "MessageQueued",
    "Record",
    "LogEntry",
    "Store",
]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may write. Both are compared for equality: terms can repeat after a failover of the store, pairs do not."""

    term: int
    nonce: str


# ── records: what the log holds ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class MessageQueued:
    """A user's message was accepted while a turn was open; a later turn will answer it.

    `position` is that of the event which announced it, so that the same message is answered the same again.
    """

    message: Message
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class TurnOpened:
    """A turn began, with the messages that it answers. Those of them that the log does not have yet come along.

    `position` is that of the event which announced the new message; `None` when none came along.
    """

    turn_id: TurnId
    message_ids: tuple[MessageId, ...]
    messages: tuple[Message, ...]
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class MessageSuperseded:
    """A message was replaced by an edit or a regeneration. It stays in the log."""

    message_id: MessageId


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """Written before a recovery calls a model again, so that a message that kills its reader can be counted."""

    turn_id: TurnId
    attempt: int


@dataclass(frozen=True, slots=True)
class AnswerExtended:
    """A checkpoint of a streaming answer: the text from `offset` (in code points) on. Offset 0 replaces what was."""

    turn_id: TurnId
    attempt: int
    offset: int
    text: str
    model: str
    tier: Tier
    service: str


class TurnOutcome(StrEnum):
    """How a turn ended; one of the three terminal events."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The end of a turn, with the answer that it leaves in the history.

    `answer` is complete, or partial (cancelled, or failed with text kept), or `None` when nothing was said.
    """

    turn_id: TurnId
    attempt: int
    outcome: TurnOutcome
    answer: Message | None
    finish_reason: FinishReason | None = None
    error_code: str | None = None


Record = MessageQueued | TurnOpened | MessageSuperseded | AttemptBegan | AnswerExtended | TurnClosed


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A record with its place in the log; the first has index 1."""

    index: int
    record: Record


# ── the head ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class HeadUpdate:
    """What a write makes of the head.

    Args:
        position: Epoch and seq of the event that announces this write.
        open_turn: The turn that is open after this write, `None` for none. A dialogue with an open turn is in
            the index of open turns: put there before the write, taken out after.
        updated_at: Seconds since the Unix epoch.
        preview: First words of the last message, for lists; at most 120 code points.
    """

    position: Position
    open_turn: TurnId | None
    updated_at: float
    preview: str


@dataclass(frozen=True, slots=True)
class Head:
    """A dialogue's head as it was read."""

    dialogue: DialogueId
    owner: Owner
    log_index: int
    """Index of the last record; 0 when the log is empty."""
    write_id: str
    """Of the last applied write; empty when there was none."""
    position: Position
    open_turn: TurnId | None
    updated_at: float
    preview: str
    meta: DialogueMeta


@dataclass(frozen=True, slots=True)
class Write:
    """One append, all or nothing.

    Args:
        dialogue: Whose log.
        owner: The writer, as `create` or `claim` named it.
        write_id: Unique for this write; the same when it is repeated.
        expected_log_index: Where the writer believes the log ends.
        records: What to append, in order; at least one.
        head: What the head is afterwards.
        message_ids: Client message ids that this write accepts, each with the id of the message it made.
        opens_turn: `head.open_turn` was not open before this write.
        closes_turn: A turn that was open before this write no longer is, and none is open after it.
    """

    dialogue: DialogueId
    owner: Owner
    write_id: str
    expected_log_index: int
    records: Sequence[Record]
    head: HeadUpdate
    message_ids: Mapping[str, MessageId] = field(default_factory=dict)
    opens_turn: bool = False
    closes_turn: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """Outcome of `Store.create`: the head, owned by the caller, and whether it is new."""

    head: Head
    created: bool


@dataclass(frozen=True, slots=True)
class DialogueRow:
    """One line of a list of dialogues. `status` is what the store knows: generating while a turn is open."""

    dialogue: DialogueId
    feature: str
    section: str | None
    account: str | None
    status: DialogueStatus
    updated_at: float
    preview: str


@dataclass(frozen=True, slots=True)
class DialoguePage:
    """Rows, newest first, and the cursor of the next page; `None` when this was the last."""

    rows: Sequence[DialogueRow]
    before: str | None


class Store(Protocol):
    """Durable state of dialogues. All methods may be called concurrently and cancelled at any moment.

    Cancelling a call leaves the store's connections clean; whether a cancelled write happened is unknown.
    """

    async def open(self) -> None:
        """Prepare connections. Does not raise when the store is down: the other methods will say so."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent; later calls of other methods raise `StoreUnavailable`."""
        ...

    async def ping(self) -> None:
        """Return when the store can serve reads and writes now.

        Raises:
            StoreUnavailable: It can't (down, loading, read-only, full); the message says which.
        """
        ...

    async def create(
        self, dialogue: DialogueId, owner_nonce: str, meta: DialogueMeta, position: Position
    ) -> Created:
        """Make a dialogue with an empty log, or take ownership of the one that exists.

        A deleted dialogue's id can be created anew; its term goes on, so that no late write of its earlier
        life can pass the fence.
        """
        ...

    async def claim(self, dialogue: DialogueId, owner_nonce: str) -> Head | None:
        """Take ownership: the term grows by one and the nonce becomes the caller's. `None`: no such dialogue."""
        ...

    async def append(self, write: Write) -> int:
        """Do the one fenced write and return the log's new index.

        Raises:
            Moved: `owner` is not the owner (or the dialogue was deleted). Nothing was written.
            LogConflict: The log ends elsewhere. Nothing was written.
            Conflict: One of `message_ids` was accepted before by another write. Nothing was written.
            BadRequest: A text in it has a lone surrogate. Nothing was written.
            StoreUnavailable: No answer; its `applied` says whether the write may have happened.
        """
        ...

    async def read_head(self, dialogue: DialogueId) -> Head | None:
        """The head as it is, without taking ownership. `None`: no such dialogue."""
        ...

    async def read(self, dialogue: DialogueId, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        """At most `limit` records with an index greater than `after`, in order.

        Raises:
            RecordCorrupt: A record in the range fails its checksum. The bytes are left as they are.
        """
        ...

    async def delete(self, dialogue: DialogueId) -> bool:
        """Remove all state of a dialogue and leave a tombstone that refuses late writes. `False`: was not there."""
        ...

    async def list_dialogues(
        self, *, status: DialogueStatus | None = None, before: str | None = None, limit: int = 50
    ) -> DialoguePage:
        """Dialogues by when they were made or last opened or closed a turn, newest first.

        Not a snapshot: one that changes meanwhile may be met twice.
        """
        ...

    async def open_turns(self) -> Sequence[DialogueId]:
        """Dialogues that may have an open turn: every one that has, and perhaps some that no longer do."""
        ...
