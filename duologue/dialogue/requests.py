"""What may be asked of a dialogue, and the shape of each answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import Snapshot
from duologue.messages import DialogueId, Epoch, Message, MessageId, OnBusy, Position, TurnId
from duologue.runtime import Request

__all__ = [
    "Opened",
    "Accepted",
    "Attached",
    "MessagePage",
    "Open",
    "Ask",
    "Regenerate",
    "Edit",
    "CancelTurn",
    "Attach",
    "Detach",
    "GetSnapshot",
    "GetMessages",
    "Delete",
]


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer to `Open`. `created` is false when the dialogue was there, opened with the same words."""

    dialogue: DialogueId
    epoch: Epoch
    seq: int
    created: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is durable; events with a greater seq are what came of it."""

    message_id: MessageId
    turn_id: TurnId
    epoch: Epoch
    seq: int


@dataclass(frozen=True, slots=True)
class Attached:
    """`resumed`: everything since the viewer's position follows. Otherwise a snapshot comes first."""

    resumed: bool
    epoch: Epoch
    seq: int


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in order, and the cursor of the older page; `None` when there is none."""

    messages: Sequence[Message]
    before: str | None


@dataclass(frozen=True, slots=True)
class Open(Request[Opened]):
    """Create the dialogue, or find it opened with the same words.

    Raises:
        Conflict: It exists and was opened with other words.
        FeatureNotConfigured: The feature resolves to no service.
    """

    feature: str
    section: str | None = None
    account: str | None = None
    system_prompt: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask(Request[Accepted]):
    """Say something and have it answered. Replied to after the message is durable.

    Raises:
        BadRequest: Empty, or not encodable as UTF-8.
        MessageTooLarge: Over the limit in UTF-8 bytes.
        Busy: An answer is streaming and the policy is to reject.
        Conflict: `client_message_id` was used before for another content.
        StoreUnavailable: Not kept as far as is known. Where only the store's reply was lost it may turn out to be
            kept, and is answered then; sent again under the same `client_message_id` it is said once.
    """

    content: str
    client_message_id: str | None = None
    on_busy: OnBusy | None = None
    """`None`: the feature's own policy."""


@dataclass(frozen=True, slots=True)
class Regenerate(Request[Accepted]):
    """Answer the last user message once more; the answer that was there is superseded."""


@dataclass(frozen=True, slots=True)
class Edit(Request[Accepted]):
    """Replace a user message; it and everything after it is superseded, and the new one is answered."""

    message_id: MessageId
    content: str


@dataclass(frozen=True, slots=True)
class CancelTurn(Request[bool]):
    """Stop the answer. False when nothing (or another turn than the named one) was open."""

    turn_id: TurnId | None = None


@dataclass(frozen=True, slots=True)
class Attach(Request[Attached]):
    """Watch. The position in the answer is taken inside the actor, so nothing is missed or doubled.

    Attaching an attached viewer again moves it to the new position.
    """

    attachment: Attachment
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class Detach:
    """Stop watching. Only ever cast; a viewer that is not attached is ignored."""

    attachment: Attachment


@dataclass(frozen=True, slots=True)
class GetSnapshot(Request[Snapshot]):
    """The dialogue as it stands."""


@dataclass(frozen=True, slots=True)
class GetMessages(Request[MessagePage]):
    """A page of history, newest page first, in order within the page.

    Raises:
        BadRequest: `before` is no cursor of ours.
    """

    before: str | None = None
    limit: int = 50
    """1 to 200."""


@dataclass(frozen=True, slots=True)
class Delete(Request[bool]):
    """Forget the dialogue: its turn is stopped, its state removed, its viewers told. False: was not there."""
