"""The turn's table: which phase follows which, and nothing else decides it.

    phase        input            next         what the server does on the way
    ─────────────────────────────────────────────────────────────────────────────────────────────────
    OPENING      COMMITTED        WAITING      acknowledge, announce the message, call the service
    OPENING      REFUSED          CLOSED       tell the caller; the turn never was
    OPENING      CANCEL           DOOMED       remember it: the message may already be in the store
    DOOMED       COMMITTED        CLOSING      acknowledge, announce, close as cancelled
    DOOMED       REFUSED          CLOSED       tell the caller
    DOOMED       CANCEL           DOOMED
    WAITING      CONTENT          STREAMING    turn.started, turn.delta
    WAITING      ATTEMPT_FAILED   WAITING      nothing was shown, so nothing is said
    STREAMING    CONTENT          STREAMING    turn.delta
    STREAMING    ATTEMPT_FAILED   RECOVERING   the text stands until another attempt speaks
    STREAMING    FINISHED         CLOSING      commit the answer
    RECOVERING   CONTENT          STREAMING    turn.restarted (the text is withdrawn), turn.delta
    RECOVERING   ATTEMPT_FAILED   RECOVERING
    WAITING      EXHAUSTED        CLOSING      commit the failure
    STREAMING    EXHAUSTED        CLOSING      commit the failure with the text as partial
    RECOVERING   EXHAUSTED        CLOSING      the same
    WAITING      CANCEL           CLOSING      stop the service, commit the cancellation
    STREAMING    CANCEL           CLOSING      the same with the text as partial
    RECOVERING   CANCEL           CLOSING      the same
    CLOSING      CANCEL           CLOSING      too late: the end is already on its way
    CLOSING      COMMITTED        CLOSED       the one terminal event
    CLOSING      GAVE_UP          CLOSED       turn.failed `not_saved`: the store stayed ill

A turn that a restart found open begins in RECOVERING: whatever was shown of it is withdrawn by the first
content. A pair that is not listed is a bug of ours: it raises `AssertionError` and changes nothing.
"""

from collections.abc import Sequence
from enum import Enum, auto

from duologue.messages import FinishReason, MessageId, Tier, TurnId, Usage

__all__ = ["Phase", "TurnInput", "TABLE", "Turn"]


class Phase(Enum):
    """Where a turn is in its life."""

    OPENING = auto()
    DOOMED = auto()
    WAITING = auto()
    STREAMING = auto()
    RECOVERING = auto()
    CLOSING = auto()
    CLOSED = auto()


class TurnInput(Enum):
    """What can happen to a turn."""

    COMMITTED = auto()
    REFUSED = auto()
    CONTENT = auto()
    ATTEMPT_FAILED = auto()
    FINISHED = auto()
    EXHAUSTED = auto()
    CANCEL = auto()
    GAVE_UP = auto()


TABLE: dict[tuple[Phase, TurnInput], Phase] = {
    (Phase.OPENING, TurnInput.COMMITTED): Phase.WAITING,
    (Phase.OPENING, TurnInput.REFUSED): Phase.CLOSED,
    (Phase.OPENING, TurnInput.CANCEL): Phase.DOOMED,
    (Phase.DOOMED, TurnInput.COMMITTED): Phase.CLOSING,
    (Phase.DOOMED, TurnInput.REFUSED): Phase.CLOSED,
    (Phase.DOOMED, TurnInput.CANCEL): Phase.DOOMED,
    (Phase.WAITING, TurnInput.CONTENT): Phase.STREAMING,
    (Phase.WAITING, TurnInput.ATTEMPT_FAILED): Phase.WAITING,
    (Phase.STREAMING, TurnInput.CONTENT): Phase.STREAMING,
    (Phase.STREAMING, TurnInput.ATTEMPT_FAILED): Phase.RECOVERING,
    (Phase.STREAMING, TurnInput.FINISHED): Phase.CLOSING,
    (Phase.RECOVERING, TurnInput.CONTENT): Phase.STREAMING,
    (Phase.RECOVERING, TurnInput.ATTEMPT_FAILED): Phase.RECOVERING,
    (Phase.WAITING, TurnInput.EXHAUSTED): Phase.CLOSING,
    (Phase.STREAMING, TurnInput.EXHAUSTED): Phase.CLOSING,
    (Phase.RECOVERING, TurnInput.EXHAUSTED): Phase.CLOSING,
    (Phase.WAITING, TurnInput.CANCEL): Phase.CLOSING,
    (Phase.STREAMING, TurnInput.CANCEL): Phase.CLOSING,
    (Phase.RECOVERING, TurnInput.CANCEL): Phase.CLOSING,
    (Phase.CLOSING, TurnInput.CANCEL): Phase.CLOSING,
    (Phase.CLOSING, TurnInput.COMMITTED): Phase.CLOSED,
    (Phase.CLOSING, TurnInput.GAVE_UP): Phase.CLOSED,
}


class Turn:
    """One open turn: the phase by the table, and what its standing attempt has said.

    Args:
        turn_id: Its name.
        message_ids: The messages that it answers.
        service: Name of the service that answers.
        phase: `OPENING` for a new turn, `RECOVERING` for one that a restart found.
        opened_at: The loop clock's seconds when it was opened, for telemetry.
    """

    __slots__ = (
        "attempt",
        "checkpointed",
        "counted",
        "finish_reason",
        "message_ids",
        "model",
        "next_attempt",
        "next_usage",
        "opened_at",
        "phase",
        "pieces",
        "reason",
        "service",
        "text_length",
        "tier",
        "turn_id",
        "usage",
    )

    def __init__(
        self,
        turn_id: TurnId,
        message_ids: Sequence[MessageId],
        *,
        service: str,
        phase: Phase = Phase.OPENING,
        opened_at: float = 0.0,
    ) -> None:
        self.turn_id = turn_id
        self.message_ids = tuple(message_ids)
        self.service = service
        self.phase = phase
        self.opened_at = opened_at
        self.attempt = 0
        """The standing attempt: the one whose text is shown. 0 before any content."""
        self.model: str | None = None
        """Registered model of the standing attempt."""
        self.tier: Tier | None = None
        self.pieces: list[str] = []
        """The standing text, in the pieces it came in."""
        self.text_length = 0
        """Of the standing text, in code points; the next delta's offset."""
        self.next_attempt: tuple[int, str, Tier] | None = None
        """Number, model and tier of an attempt that has not spoken yet."""
        self.reason: str | None = None
        """Why the next attempt became necessary, a code; goes on `turn.restarted`."""
        self.checkpointed = 0
        """How many code points of the standing text are in the store."""
        self.counted = 1
        """Highest number of an attempt that the log knows of; opening the turn implies the first."""
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        """The provider's count for the standing attempt; `None` until it told one."""
        self.next_usage: Usage | None = None
        """The same for the attempt that has not spoken yet."""

    def advance(self, happened: TurnInput) -> Phase:
        """Move by the table and return the phase that was left.

        Raises:
            AssertionError: The pair is not listed. Nothing is changed.
        """
        left = self.phase
        following = TABLE.get((left, happened))
        assert following is not None, f"{happened.name} can't happen to a turn that is {left.name}"
        self.phase = following
        return left

    def accepts(self, happened: TurnInput) -> bool:
        """Whether the table lists this input for the present phase."""
        return (self.phase, happened) in TABLE

    def begin_attempt(self, attempt: int, model: str, tier: Tier, reason: str | None) -> None:
        """Another call is being made. What stands goes on standing until it speaks."""
        self.next_attempt = (attempt, model, tier)
        self.next_usage = None
        if reason is not None:
            self.reason = reason

    def adopt_attempt(self) -> None:
        """The attempt that was begun speaks: its text stands from now on, and any earlier text is withdrawn."""
        assert self.next_attempt is not None, "content came before its attempt"
        self.attempt, self.model, self.tier = self.next_attempt
        self.next_attempt = None
        self.pieces = []
        self.text_length = 0
        self.checkpointed = 0
        self.usage, self.next_usage = self.next_usage, None

    def count(self, usage: Usage) -> None:
        """The provider told its count, which belongs to the latest attempt."""
        if self.next_attempt is None:
            self.usage = usage
        else:
            self.next_usage = usage

    def extend(self, text: str) -> int:
        """Add to the standing text and return the offset at which it was added."""
        offset = self.text_length
        self.pieces.append(text)
        self.text_length = offset + len(text)
        return offset

    @property
    def text(self) -> str:
        """The standing text, nothing trimmed."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def open(self) -> bool:
        """Whether clients know of it and it has no terminal event yet."""
        return self.phase not in (Phase.OPENING, Phase.DOOMED, Phase.CLOSED)

    @property
    def last_attempt(self) -> int:
        """Number of the latest call to a model; 0 before the first."""
        return self.next_attempt[0] if self.next_attempt is not None else self.attempt
