"""Events, messages and answers as the client hands them out: the wire's own maps, typed.

Nothing is translated: what the contract (docs/protocol.md) names is what you get, in both formats, and an
event of a newer server passes through. A type checker narrows by the name:

    if event["event"] == "turn.delta":
        print(event["text"])
"""

from typing import Any, Literal, NotRequired, TypedDict

__all__ = [
    "Event",
    "DialogueSnapshot",
    "MessageAccepted",
    "MessageSuperseded",
    "TurnStarted",
    "TurnDelta",
    "TurnRestarted",
    "TurnContinued",
    "TurnToolCall",
    "TurnToolResult",
    "TurnInterrupted",
    "TurnCompleted",
    "TurnFailed",
    "TurnCancelled",
    "DialogueClosed",
    "TERMINAL",
    "Accepted",
    "DialogueRow",
    "DialoguePage",
    "ErrorInfo",
    "LiveTurn",
    "Message",
    "MessagePage",
    "Snapshot",
    "Usage",
]


class Usage(TypedDict):
    """Tokens as the provider counted them; `None` is "not told"."""

    input_tokens: int | None
    output_tokens: int | None


class Message(TypedDict):
    """One message of the history. `created_at`: seconds since the Unix epoch."""

    id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    turn_id: str
    created_at: float
    status: Literal["complete", "partial", "superseded"]
    model: NotRequired[str]
    usage: NotRequired[Usage]
    client_message_id: NotRequired[str]


class LiveTurn(TypedDict):
    """The open turn and what it has said so far."""

    id: str
    attempt: int
    text: str
    model: str | None
    tier: str | None


class Snapshot(TypedDict):
    """A dialogue as it stands, with its last 50 messages; `before` is the cursor of older ones."""

    id: str
    epoch: str
    seq: int
    feature: str
    section: str | None
    account: str | None
    status: Literal["idle", "generating"]
    messages: list[Message]
    before: str | None
    turn: LiveTurn | None
    usage: Usage


class ErrorInfo(TypedDict):
    """An error inside an event."""

    code: str
    message: str
    retryable: bool
    category: NotRequired[str]


class Accepted(TypedDict):
    """The message is durable; events with a greater `seq` are what came of it."""

    message_id: str
    turn_id: str
    epoch: str
    seq: int


class MessagePage(TypedDict):
    """A page of history, in order; `before` is the cursor of the older page."""

    messages: list[Message]
    before: str | None


class DialogueRow(TypedDict):
    """One line of the list of dialogues."""

    id: str
    feature: str
    section: str | None
    status: Literal["idle", "generating"]
    viewers: int
    updated_at: float


class DialoguePage(TypedDict):
    """Dialogues, the newest first, and the cursor of the next page."""

    dialogues: list[DialogueRow]
    before: str | None


class _Common(TypedDict):
    dialogue: str
    epoch: str
    seq: int


class DialogueSnapshot(_Common):
    """Everything before this is replaced by `snapshot`."""

    event: Literal["dialogue.snapshot"]
    snapshot: Snapshot


class MessageAccepted(_Common):
    """A user's message is durable."""

    event: Literal["message.accepted"]
    message: Message
    turn: str


class MessageSuperseded(_Common):
    """The message with this id was replaced."""

    event: Literal["message.superseded"]
    message: str


class TurnStarted(_Common):
    """The first content of a turn follows."""

    event: Literal["turn.started"]
    turn: str
    attempt: int
    message_ids: list[str]
    model: str
    service: str
    tier: str


class TurnDelta(_Common):
    """More text; `offset` counts code points of the answer so far."""

    event: Literal["turn.delta"]
    turn: str
    attempt: int
    offset: int
    text: str
    first_seq: NotRequired[int]


class TurnRestarted(_Common):
    """All text before this is withdrawn; another attempt answers from the start."""

    event: Literal["turn.restarted"]
    turn: str
    attempt: int
    model: str
    tier: str
    reason: str


class TurnContinued(_Common):
    """Another attempt goes on; the text so far stands."""

    event: Literal["turn.continued"]
    turn: str
    attempt: int
    model: str
    tier: str
    reason: str


class TurnToolCall(_Common):
    """The model asks for a tool."""

    event: Literal["turn.tool_call"]
    turn: str
    call: dict[str, Any]


class TurnToolResult(_Common):
    """What the tool said."""

    event: Literal["turn.tool_result"]
    turn: str
    call: str
    ok: bool
    result: Any


class TurnInterrupted(_Common):
    """A restart found the turn unfinished; what comes of it follows by itself."""

    event: Literal["turn.interrupted"]
    turn: str
    partial: str


class TurnCompleted(_Common):
    """The answer is complete and durable. Terminal."""

    event: Literal["turn.completed"]
    turn: str
    attempt: int
    message: Message
    finish_reason: Literal["stop", "length", "content_filter"]
    model: str
    usage: Usage | None


class TurnFailed(_Common):
    """No complete answer. Terminal."""

    event: Literal["turn.failed"]
    turn: str
    error: ErrorInfo
    partial: str


class TurnCancelled(_Common):
    """Somebody stopped the answer. Terminal."""

    event: Literal["turn.cancelled"]
    turn: str
    partial: str


class DialogueClosed(_Common):
    """Nothing more will come of this dialogue."""

    event: Literal["dialogue.closed"]
    reason: str


Event = (
    DialogueSnapshot
    | MessageAccepted
    | MessageSuperseded
    | TurnStarted
    | TurnDelta
    | TurnRestarted
    | TurnContinued
    | TurnToolCall
    | TurnToolResult
    | TurnInterrupted
    | TurnCompleted
    | TurnFailed
    | TurnCancelled
    | DialogueClosed
)
"""Told apart by `event["event"]`."""

TERMINAL = frozenset({"turn.completed", "turn.failed", "turn.cancelled"})
"""Names of the events that end a turn; each turn has exactly one of them."""
