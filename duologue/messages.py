"""The words that every room shares: who spoke, what was said, what it cost, and the kinds of names."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

__all__ = [
    "DialogueId",
    "MessageId",
    "TurnId",
    "Epoch",
    "Position",
    "Role",
    "Tier",
    "FinishReason",
    "MessageStatus",
    "DialogueStatus",
    "OnBusy",
    "Usage",
    "Message",
    "DialogueMeta",
]

DialogueId = NewType("DialogueId", str)
"""Names a dialogue for ever: 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`.
One that the server made has 128 random bits."""
MessageId = NewType("MessageId", str)
"""Names a message within everything."""
TurnId = NewType("TurnId", str)
"""Names a turn: one question (or several merged ones) and its answer, over all attempts."""
Epoch = NewType("Epoch", str)
"""Opaque name of an unbroken run of event numbers. Compared for equality only."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a dialogue's stream of events: all events up to and with `seq` of this `epoch` are known."""

    epoch: Epoch
    seq: int


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Tier(StrEnum):
    """A model's place in its service, in the order of failover."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    BACKUP = "backup"


class FinishReason(StrEnum):
    """Why a complete answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"


class MessageStatus(StrEnum):
    """Whether a message is what its author meant to say."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    """An answer that was cancelled or cut; never called complete."""
    SUPERSEDED = "superseded"
    """Replaced by an edit or a regeneration; kept in the log, not shown to the model again."""


class DialogueStatus(StrEnum):
    """Whether an answer is being made."""

    IDLE = "idle"
    GENERATING = "generating"


class OnBusy(StrEnum):
    """What to do with a message that comes while an answer streams."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them. `None` is "not told", which is not zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dialogue's history."""

    id: MessageId
    role: Role
    content: str
    turn_id: TurnId
    created_at: float
    """Seconds since the Unix epoch, by the clock of the server that accepted it. Never used for ordering."""
    status: MessageStatus = MessageStatus.COMPLETE
    model: str | None = None
    """Name of the registered model whose words these are; `None` for anybody else's."""
    usage: Usage | None = None
    client_message_id: str | None = None
    """The sender's own name for it, which makes sending it twice harmless."""


@dataclass(frozen=True, slots=True)
class DialogueMeta:
    """What a dialogue was opened with. Set once; opening again with the same values is harmless."""

    feature: str
    section: str | None
    account: str | None
    system_prompt: str | None
    """`None`: the feature's own, read from the configuration at each turn."""
    metadata: Mapping[str, str]
    created_at: float
    """Seconds since the Unix epoch."""

    def same_opening(self, other: "DialogueMeta") -> bool:
        """Whether both were opened with the same words; the time of opening does not count."""
        return (self.feature, self.section, self.account, self.system_prompt, dict(self.metadata)) == (
            other.feature,
            other.section,
            other.account,
            other.system_prompt,
            dict(other.metadata),
        )
