"""One of everything that is stored, by name. `golden/v1.json` holds their bytes as version 1 wrote them."""

from collections.abc import Mapping
from typing import Final

from duologue.messages import (
    DialogueMeta,
    Epoch,
    FinishReason,
    Message,
    MessageId,
    MessageStatus,
    Position,
    Role,
    Tier,
    TurnId,
    Usage,
)
from duologue.store.port import (
    AnswerExtended,
    AttemptBegan,
    HeadUpdate,
    MessageQueued,
    MessageSuperseded,
    Record,
    TurnClosed,
    TurnOpened,
    TurnOutcome,
)

_TURN = TurnId("t1")
_QUESTION = Message(
    MessageId("m1"), Role.USER, "Où est H₂O? 😀", _TURN, 1_700_000_000.25, client_message_id="c-7"
)
_ANSWER = Message(
    MessageId("m2"),
    Role.ASSISTANT,
    "Partout.\u2028\n",
    _TURN,
    1_700_000_001.0,
    MessageStatus.PARTIAL,
    model="fast",
    usage=Usage(12, None),
)

RECORDS: Final[Mapping[str, Record]] = {
    "message_queued": MessageQueued(_QUESTION, Position(Epoch("ep"), 7)),
    "turn_opened": TurnOpened(
        _TURN, (MessageId("m0"), MessageId("m1")), (_QUESTION,), Position(Epoch("ep"), 1)
    ),
    "turn_opened_bare": TurnOpened(_TURN, (), ()),
    "message_superseded": MessageSuperseded(MessageId("m1")),
    "attempt_began": AttemptBegan(_TURN, 3),
    "answer_extended": AnswerExtended(_TURN, 2, 1_000_000, "…text", "fast", Tier.SECONDARY, "standard"),
    "turn_completed": TurnClosed(_TURN, 2, TurnOutcome.COMPLETED, _ANSWER, FinishReason.LENGTH),
    "turn_failed": TurnClosed(_TURN, 1, TurnOutcome.FAILED, None, None, "timeout"),
}
HEADS: Final[Mapping[str, HeadUpdate]] = {
    "head_open": HeadUpdate(Position(Epoch("ep"), 2**40), _TURN, 1_700_000_000.5, "Où est…"),
    "head_idle": HeadUpdate(Position(Epoch("ep"), 0), None, 0.0, ""),
}
METAS: Final[Mapping[str, DialogueMeta]] = {
    "meta": DialogueMeta("student_dialogue", "real-chem", "acme", "Be kind.", {"a": "1", "é": ""}, 1.5),
    "meta_bare": DialogueMeta("f", None, None, None, {}, 0.0),
}
