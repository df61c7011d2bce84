"""Events of a dialogue, as every viewer gets them. Past tense: they happened.

Numbered events share one `seq` for all viewers. An event is immutable; its encodings are kept on it, one
for each wire format, so that a thousand viewers cost one encoding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from duologue.errors import DuologueError, ProviderFailed
from duologue.messages import (
    DialogueId,
    DialogueStatus,
    Epoch,
    FinishReason,
    Message,
    MessageId,
    Tier,
    TurnId,
    Usage,
)

__all__ = [
    "Event",
    "DialogueSnapshot",
    "MessageAccepted",
    "MessageWasSuperseded",
    "TurnStarted",
    "TurnDelta",
    "TurnRestarted",
    "TurnContinued",
    "TurnInterrupted",
    "TurnCompleted",
    "TurnFailed",
    "TurnCancelled",
    "DialogueClosed",
    "Snapshot",
    "LiveTurn",
    "ErrorInfo",
    "message_to_wire",
    "TERMINAL",
]


@dataclass(slots=True)
class Event:
    """Base of all events.

    Args:
        dialogue: Whose event it is.
        epoch: The run of numbers that `seq` belongs to.
        seq: Place in that run, from 1. For an unnumbered event the position that it stands for.
    """

    name: ClassVar[str]
    numbered: ClassVar[bool] = True

    dialogue: DialogueId
    epoch: Epoch
    seq: int
    _encoded: dict[str, bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def first_seq(self) -> int:
        """First number that this event covers; less than `seq` only for merged deltas."""
        return self.seq

    def body(self) -> dict[str, Any]:
        """The fields beyond the common four, as plain values."""
        raise NotImplementedError

    def to_wire(self) -> dict[str, Any]:
        """The whole event as plain values, in the order of the contract."""
        return {
            "event": self.name,
            "dialogue": self.dialogue,
            "epoch": self.epoch,
            "seq": self.seq,
            **self.body(),
        }

    def encoded(self, key: str, encode: Callable[["Event"], bytes]) -> bytes:
        """The event in one wire format, made once. `key` names the format."""
        cache = self._encoded
        if cache is None:
            cache = self._encoded = {}
        data = cache.get(key)
        if data is None:
            data = cache[key] = encode(self)
        return data


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as clients see it."""

    code: str
    message: str
    retryable: bool
    category: str | None = None

    @classmethod
    def of(cls, error: DuologueError) -> "ErrorInfo":
        """Translate one of our errors; nothing of it is left out, since their messages are safe to show."""
        category = error.category if isinstance(error, ProviderFailed) else None
        return cls(error.code, str(error), error.retryable, category)

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.category is not None:
            wire["category"] = self.category
        return wire


def _usage(usage: Usage | None) -> dict[str, int | None] | None:
    if usage is None:
        return None
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def message_to_wire(message: Message) -> dict[str, Any]:
    """A message as plain values; what is `None` is left out. `created_at` is seconds since the Unix epoch."""
    wire: dict[str, Any] = {
        "id": message.id,
        "role": message.role.value,
        "content": message.content,
        "turn_id": message.turn_id,
        "created_at": message.created_at,
        "status": message.status.value,
    }
    if message.model is not None:
        wire["model"] = message.model
    if message.usage is not None:
        wire["usage"] = _usage(message.usage)
    if message.client_message_id is not None:
        wire["client_message_id"] = message.client_message_id
    return wire


# ── snapshots ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LiveTurn:
    """The turn that is open, with what its standing attempt has said so far."""

    id: TurnId
    attempt: int
    text: str
    model: str | None
    tier: Tier | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dialogue as it stands at `(epoch, seq)`, with its last 50 messages."""

    id: DialogueId
    epoch: Epoch
    seq: int
    feature: str
    section: str | None
    account: str | None
    status: DialogueStatus
    messages: Sequence[Message]
    before: str | None
    """Cursor of older messages; `None` when these are all."""
    turn: LiveTurn | None
    usage: Usage

    def to_wire(self) -> dict[str, Any]:
        turn = self.turn
        return {
            "id": self.id,
            "epoch": self.epoch,
            "seq": self.seq,
            "feature": self.feature,
            "section": self.section,
            "account": self.account,
            "status": self.status.value,
            "messages": [message_to_wire(message) for message in self.messages],
            "before": self.before,
            "turn": None
            if turn is None
            else {
                "id": turn.id,
                "attempt": turn.attempt,
                "text": turn.text,
                "model": turn.model,
                "tier": None if turn.tier is None else turn.tier.value,
            },
            "usage": _usage(self.usage),
        }


@dataclass(slots=True)
class DialogueSnapshot(Event):
    """Sent to one viewer when a gap can't be filled exactly. Unnumbered."""

    name = "dialogue.snapshot"
    numbered = False
    snapshot: Snapshot

    def body(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.to_wire()}


# ── numbered events ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class MessageAccepted(Event):
    """A user's message is durable."""

    name = "message.accepted"
    message: Message
    turn: TurnId

    def body(self) -> dict[str, Any]:
        return {"message": message_to_wire(self.message), "turn": self.turn}


@dataclass(slots=True)
class MessageWasSuperseded(Event):
    """A message was replaced by an edit or a regeneration."""

    name = "message.superseded"
    message: MessageId

    def body(self) -> dict[str, Any]:
        return {"message": self.message}


@dataclass(slots=True)
class TurnStarted(Event):
    """The first content of a turn is there; it goes out right after this."""

    name = "turn.started"
    turn: TurnId
    attempt: int
    message_ids: Sequence[MessageId]
    model: str
    service: str
    tier: Tier

    def body(self) -> dict[str, Any]:
        return {
            "turn": self.turn,
            "attempt": self.attempt,
            "message_ids": list(self.message_ids),
            "model": self.model,
            "service": self.service,
            "tier": self.tier.value,
        }


@dataclass(slots=True)
class TurnDelta(Event):
    """More text. `offset` counts code points of the answer so far."""

    name = "turn.delta"
    turn: TurnId
    attempt: int
    offset: int
    text: str
    merged_from: int | None = None
    """First seq that a merged delta covers; `None` for a single one."""

    @property
    def first_seq(self) -> int:
        return self.seq if self.merged_from is None else self.merged_from

    def body(self) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "turn": self.turn,
            "attempt": self.attempt,
            "offset": self.offset,
            "text": self.text,
        }
        if self.merged_from is not None:
            wire["first_seq"] = self.merged_from
        return wire

    def merged_with(self, later: "TurnDelta") -> "TurnDelta":
        """This delta and the next one as one event.

        Raises:
            AssertionError: `later` is not the very next delta of the same attempt.
        """
        assert later.first_seq == self.seq + 1 and later.attempt == self.attempt and later.turn == self.turn
        return TurnDelta(
            self.dialogue,
            self.epoch,
            later.seq,
            self.turn,
            self.attempt,
            self.offset,
            self.text + later.text,
            self.first_seq,
        )


@dataclass(slots=True)
class TurnRestarted(Event):
    """Another attempt answers from the start; all text before this is withdrawn."""

    name = "turn.restarted"
    turn: TurnId
    attempt: int
    model: str
    tier: Tier
    reason: str

    def body(self) -> dict[str, Any]:
        return {
            "turn": self.turn,
            "attempt": self.attempt,
            "model": self.model,
            "tier": self.tier.value,
            "reason": self.reason,
        }


@dataclass(slots=True)
class TurnContinued(TurnRestarted):
    """Another attempt goes on where the text stopped; the text so far stands."""

    name = "turn.continued"


@dataclass(slots=True)
class TurnInterrupted(Event):
    """A restart found this turn unfinished. Never terminal."""

    name = "turn.interrupted"
    turn: TurnId
    partial: str

    def body(self) -> dict[str, Any]:
        return {"turn": self.turn, "partial": self.partial}


@dataclass(slots=True)
class TurnCompleted(Event):
    """The answer is complete and committed. Terminal."""

    name = "turn.completed"
    turn: TurnId
    attempt: int
    message: Message
    finish_reason: FinishReason
    model: str
    usage: Usage | None

    def body(self) -> dict[str, Any]:
        return {
            "turn": self.turn,
            "attempt": self.attempt,
            "message": message_to_wire(self.message),
            "finish_reason": self.finish_reason.value,
            "model": self.model,
            "usage": _usage(self.usage),
        }


@dataclass(slots=True)
class TurnFailed(Event):
    """No complete answer; what text was kept is in `partial`. Terminal."""

    name = "turn.failed"
    turn: TurnId
    error: ErrorInfo
    partial: str

    def body(self) -> dict[str, Any]:
        return {"turn": self.turn, "error": self.error.to_wire(), "partial": self.partial}


@dataclass(slots=True)
class TurnCancelled(Event):
    """Somebody stopped the answer; what was said so far is in `partial`. Terminal."""

    name = "turn.cancelled"
    turn: TurnId
    partial: str

    def body(self) -> dict[str, Any]:
        return {"turn": self.turn, "partial": self.partial}


@dataclass(slots=True)
class DialogueClosed(Event):
    """Nothing more will come: deleted, quarantined or moved. Unnumbered, so that it needs no commit."""

    name = "dialogue.closed"
    numbered = False
    reason: str

    def body(self) -> dict[str, Any]:
        return {"reason": self.reason}


TERMINAL = (TurnCompleted, TurnFailed, TurnCancelled)
"""Exactly one of these ends a turn."""
