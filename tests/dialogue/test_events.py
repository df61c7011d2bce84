"""Each event on the wire: exactly the contract's fields, in its order."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from duologue.dialogue import events
from duologue.dialogue.events import (
    TERMINAL,
    DialogueClosed,
    DialogueSnapshot,
    ErrorInfo,
    Event,
    LiveTurn,
    MessageAccepted,
    MessageWasSuperseded,
    Snapshot,
    TurnCancelled,
    TurnCompleted,
    TurnContinued,
    TurnDelta,
    TurnFailed,
    TurnInterrupted,
    TurnRestarted,
    TurnStarted,
    message_to_wire,
)
from duologue.errors import NotSaved, ProviderFailed
from duologue.messages import (
    DialogueStatus,
    FinishReason,
    Message,
    MessageId,
    MessageStatus,
    Role,
    Tier,
    TurnId,
    Usage,
)
from tests.dialogue.builders import DIALOGUE, EPOCH, delta, message

T = TurnId("t")
QUESTION = message("m1", "Hi", client_message_id="c-7")
ANSWER = Message(
    MessageId("m2"), Role.ASSISTANT, "Hello", T, 2.0, MessageStatus.COMPLETE, "fast", Usage(3, None)
)
SNAPSHOT = Snapshot(
    DIALOGUE,
    EPOCH,
    7,
    "student_dialogue",
    None,
    "acme",
    DialogueStatus.GENERATING,
    [QUESTION],
    "12",
    LiveTurn(T, 2, "Hel", "fast", Tier.BACKUP),
    Usage(10, 4),
)
QUESTION_WIRE = {
    "id": "m1",
    "role": "user",
    "content": "Hi",
    "turn_id": "t",
    "created_at": 1.0,
    "status": "complete",
    "client_message_id": "c-7",
}
ANSWER_WIRE = {
    "id": "m2",
    "role": "assistant",
    "content": "Hello",
    "turn_id": "t",
    "created_at": 2.0,
    "status": "complete",
    "model": "fast",
    "usage": {"input_tokens": 3, "output_tokens": None},
}
SNAPSHOT_WIRE = {
    "id": "d",
    "epoch": "e",
    "seq": 7,
    "feature": "student_dialogue",
    "section": None,
    "account": "acme",
    "status": "generating",
    "messages": [QUESTION_WIRE],
    "before": "12",
    "turn": {"id": "t", "attempt": 2, "text": "Hel", "model": "fast", "tier": "backup"},
    "usage": {"input_tokens": 10, "output_tokens": 4},
}


def made(kind: Any, *fields: object) -> Event:
    event: Event = kind(DIALOGUE, EPOCH, 7, *fields)
    return event


CASES: Sequence[tuple[Event, str, dict[str, Any]]] = [
    (made(DialogueSnapshot, SNAPSHOT), "dialogue.snapshot", {"snapshot": SNAPSHOT_WIRE}),
    (made(MessageAccepted, QUESTION, T), "message.accepted", {"message": QUESTION_WIRE, "turn": "t"}),
    (made(MessageWasSuperseded, MessageId("m1")), "message.superseded", {"message": "m1"}),
    (
        made(TurnStarted, T, 2, (MessageId("m1"),), "fast", "standard", Tier.SECONDARY),
        "turn.started",
        {
            "turn": "t",
            "attempt": 2,
            "message_ids": ["m1"],
            "model": "fast",
            "service": "standard",
            "tier": "secondary",
        },
    ),
    (made(TurnDelta, T, 1, 0, "Hel"), "turn.delta", {"turn": "t", "attempt": 1, "offset": 0, "text": "Hel"}),
    (
        made(TurnDelta, T, 1, 4, "lo", 5),
        "turn.delta",
        {"turn": "t", "attempt": 1, "offset": 4, "text": "lo", "first_seq": 5},
    ),
    (
        made(TurnRestarted, T, 2, "steady", Tier.BACKUP, "truncated"),
        "turn.restarted",
        {"turn": "t", "attempt": 2, "model": "steady", "tier": "backup", "reason": "truncated"},
    ),
    (
        made(TurnContinued, T, 2, "steady", Tier.BACKUP, "truncated"),
        "turn.continued",
        {"turn": "t", "attempt": 2, "model": "steady", "tier": "backup", "reason": "truncated"},
    ),
    (made(TurnInterrupted, T, "Hel"), "turn.interrupted", {"turn": "t", "partial": "Hel"}),
    (
        made(TurnCompleted, T, 1, ANSWER, FinishReason.LENGTH, "fast", Usage(3, None)),
        "turn.completed",
        {
            "turn": "t",
            "attempt": 1,
            "message": ANSWER_WIRE,
            "finish_reason": "length",
            "model": "fast",
            "usage": {"input_tokens": 3, "output_tokens": None},
        },
    ),
    (
        made(TurnFailed, T, ErrorInfo.of(NotSaved("Not kept.")), "Hel"),
        "turn.failed",
        {
            "turn": "t",
            "error": {"code": "not_saved", "message": "Not kept.", "retryable": False},
            "partial": "Hel",
        },
    ),
    (made(TurnCancelled, T, ""), "turn.cancelled", {"turn": "t", "partial": ""}),
    (made(DialogueClosed, "deleted"), "dialogue.closed", {"reason": "deleted"}),
]


@pytest.mark.parametrize(("event", "name", "body"), CASES, ids=[name for _, name, _ in CASES])
def test_an_event_has_the_common_four_fields_and_its_own_in_order(
    event: Event, name: str, body: dict[str, Any]
) -> None:
    wire = event.to_wire()
    assert wire == {"event": name, "dialogue": "d", "epoch": "e", "seq": 7, **body}
    assert list(wire) == ["event", "dialogue", "epoch", "seq", *body]
    assert json.loads(json.dumps(wire, allow_nan=False)) == wire


def test_every_event_that_there_is_was_tried() -> None:
    known = {
        kind
        for name in events.__all__
        if isinstance(kind := getattr(events, name), type) and issubclass(kind, Event) and kind is not Event
    }
    assert known == {type(event) for event, _, _ in CASES}


def test_a_provider_s_failure_tells_its_category() -> None:
    error = ErrorInfo.of(ProviderFailed("No model answered.", category="timeout_idle"))
    assert error.to_wire() == {
        "code": "provider_failed",
        "message": "No model answered.",
        "retryable": True,
        "category": "timeout_idle",
    }


def test_a_snapshot_with_no_turn_says_null() -> None:
    idle = Snapshot(
        DIALOGUE, EPOCH, 0, "f", None, None, DialogueStatus.IDLE, [], None, None, Usage(0, 0)
    ).to_wire()
    assert (idle["turn"], idle["before"], idle["status"], idle["messages"]) == (None, None, "idle", [])


def test_a_message_leaves_out_what_it_has_not() -> None:
    assert list(message_to_wire(message("m"))) == [
        "id",
        "role",
        "content",
        "turn_id",
        "created_at",
        "status",
    ]


def test_only_snapshots_and_goodbyes_have_no_number_of_their_own() -> None:
    assert {type(event) for event, _, _ in CASES if not event.numbered} == {DialogueSnapshot, DialogueClosed}


def test_three_events_end_a_turn() -> None:
    assert set(TERMINAL) == {TurnCompleted, TurnFailed, TurnCancelled}


def test_an_event_is_encoded_once_for_each_format() -> None:
    event, encoded = delta(1, "a", 0), []

    def encode(one: Event) -> bytes:
        encoded.append(one)
        return b"bytes"

    for _again in range(3):
        assert event.encoded("json", encode) == b"bytes"
    event.encoded("msgpack", encode)
    assert encoded == [event, event]


def test_merged_deltas_cover_all_their_numbers_and_none_is_changed() -> None:
    one, two, three = delta(4, "a", 10), delta(5, "b", 11), delta(6, "c", 12)
    merged = one.merged_with(two).merged_with(three)
    assert (merged.first_seq, merged.seq, merged.offset, merged.text) == (4, 6, 10, "abc")
    assert (one.first_seq, one.text) == (4, "a")


@pytest.mark.parametrize(
    "later", [delta(6, "b", 11), delta(5, "b", 0, attempt=2), delta(5, "b", 0, turn="u")]
)
def test_deltas_that_do_not_follow_each_other_are_never_merged(later: TurnDelta) -> None:
    with pytest.raises(AssertionError):
        delta(4, "a", 10).merged_with(later)
