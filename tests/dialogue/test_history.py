"""The log applied to a history, record by record."""

import pytest

from duologue.dialogue.history import History, preview_of
from duologue.messages import MessageId, MessageStatus, Position, Role, Tier, TurnId, Usage
from duologue.store.port import (
    AnswerExtended,
    AttemptBegan,
    MessageQueued,
    MessageSuperseded,
    Record,
    TurnClosed,
    TurnOpened,
    TurnOutcome,
)
from tests.dialogue.builders import EPOCH, message


def opened(turn: str, *contents: str) -> TurnOpened:
    new = tuple(message(f"q-{turn}-{c}", c, turn=turn) for c in contents)
    return TurnOpened(TurnId(turn), tuple(m.id for m in new), new)


def closed(turn: str, text: str | None, outcome: TurnOutcome = TurnOutcome.COMPLETED) -> TurnClosed:
    status = MessageStatus.COMPLETE if outcome is TurnOutcome.COMPLETED else MessageStatus.PARTIAL
    answer = None
    if text is not None:
        answer = message(f"a-{turn}", text, Role.ASSISTANT, turn, status=status, usage=Usage(10, 3))
    return TurnClosed(TurnId(turn), 1, outcome, answer)


def history(*records: Record) -> History:
    made = History()
    for record in records:
        made.apply(record)
    return made


def contents(h: History) -> list[str]:
    return [m.content for m in h.prompt(None)]


def test_the_index_counts_records() -> None:
    assert history(opened("t", "?"), closed("t", "!")).log_index == 2


def test_a_turn_that_was_not_closed_is_found_with_what_its_checkpoints_kept() -> None:
    def extended(offset: int, text: str, attempt: int = 1) -> AnswerExtended:
        return AnswerExtended(TurnId("t"), attempt, offset, text, "m1", Tier.PRIMARY, "s")

    h = history(opened("t", "?"), extended(0, "One "), extended(4, "two "))
    assert h.open_turn is not None
    assert (h.open_turn.text, h.open_turn.attempt, h.open_turn.model) == ("One two ", 1, "m1")
    h.apply(extended(0, "Anew ", attempt=2))
    assert (h.open_turn.text, h.open_turn.attempt) == ("Anew ", 2)
    h.apply(AttemptBegan(TurnId("t"), 3))
    assert h.open_turn.attempt == 3
    h.apply(closed("t", "Anew."))
    assert h.open_turn is None


def test_opening_a_turn_implies_its_first_attempt() -> None:
    h = history(opened("t", "?"))
    assert h.open_turn is not None
    assert h.open_turn.attempt == 1


def test_a_record_for_a_turn_that_is_not_open_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="not open"):
        history(opened("t", "?")).apply(AttemptBegan(TurnId("other"), 2))


def test_queued_messages_wait_by_turn_and_leave_when_it_opens() -> None:
    h = history(
        opened("t", "1?"),
        MessageQueued(message("m2", "2?", turn="u")),
        MessageQueued(message("m3", "3?", turn="u")),
        MessageQueued(message("m4", "4?", turn="v")),
    )
    assert [(turn.turn_id, turn.message_ids) for turn in h.queued] == [("u", ["m2", "m3"]), ("v", ["m4"])]
    assert contents(h) == ["1?"]
    h.apply(closed("t", "1!"))
    h.apply(TurnOpened(TurnId("u"), (MessageId("m2"), MessageId("m3")), ()))
    assert [turn.turn_id for turn in h.queued] == ["v"]
    assert contents(h) == ["1?", "1!", "2?", "3?"]


def test_superseded_messages_stay_but_are_not_shown_to_the_model() -> None:
    h = history(opened("t", "?"), closed("t", "bad"), MessageSuperseded(MessageId("a-t")))
    assert contents(h) == ["?"]
    found = h.find(MessageId("a-t"))
    assert found is not None
    assert found.status is MessageStatus.SUPERSEDED
    assert len(h.messages) == 2


def test_the_last_questions_are_those_asked_together() -> None:
    h = history(opened("t", "0?"), closed("t", "0!"), opened("u", "1?", "2?"), closed("u", "!"))
    assert [m.content for m in h.last_questions()] == ["1?", "2?"]
    failed = history(opened("t", "1?"), closed("t", None, TurnOutcome.FAILED), opened("u", "2?"))
    assert [m.content for m in failed.last_questions()] == ["2?"]
    assert list(history().last_questions()) == []


def test_usage_is_summed_and_superseded_answers_were_paid_for() -> None:
    h = history(opened("t", "?"), closed("t", "!"), MessageSuperseded(MessageId("a-t")), opened("u", "?"))
    h.apply(closed("u", "!"))
    assert h.usage == Usage(20, 6)


def test_messages_are_found_by_the_sender_s_name_for_them() -> None:
    new = message("m1", "?", client_message_id="c1")
    h = history(TurnOpened(TurnId("t"), (new.id,), (new,), Position(EPOCH, 3)))
    assert h.find_by_client_id("c1") == new
    assert h.accepted_at(new.id) == Position(EPOCH, 3)
    assert h.find_by_client_id("c2") is None


@pytest.mark.parametrize(
    ("before", "limit", "wanted", "cursor"),
    [
        (None, 2, ["3", "4"], 3),
        (3, 2, ["1", "2"], 1),
        (1, 2, ["0"], None),
        (None, 9, ["0", "1", "2", "3", "4"], None),
    ],
)
def test_pages_go_backwards_and_their_cursor_is_a_place(
    before: int | None, limit: int, wanted: list[str], cursor: int | None
) -> None:
    h = history(opened("t", *"01234"))
    page, following = h.page(before, limit)
    assert [m.content for m in page] == wanted
    assert following == cursor


def test_a_cursor_beyond_the_end_is_the_end() -> None:
    page, _ = history(opened("t", *"01")).page(99, 1)
    assert [m.content for m in page] == ["1"]


def test_a_preview_is_one_short_line() -> None:
    assert preview_of("  What\n\tis  this? ") == "What is this?"
    assert len(preview_of("word " * 1000)) == 120


def test_a_question_that_waited_stands_after_the_answer_that_it_waited_for() -> None:
    h = history(opened("t", "1?"), MessageQueued(message("m2", "2?", turn="u")), closed("t", "1!"))
    h.apply(TurnOpened(TurnId("u"), (MessageId("m2"),), ()))
    h.apply(closed("u", "2!"))
    assert contents(h) == ["1?", "1!", "2?", "2!"]
    assert h.standing_after(MessageId("m2")) == ["a-u"]
    assert [m.content for m in h.last_questions()] == ["2?"]


def test_answering_once_more_does_not_move_the_question() -> None:
    h = history(opened("t", "1?"), closed("t", "1!"), MessageSuperseded(MessageId("a-t")))
    h.apply(TurnOpened(TurnId("u"), (MessageId("q-t-1?"),), ()))
    h.apply(closed("u", "1!!"))
    assert contents(h) == ["1?", "1!!"]


def test_a_prompt_makes_no_message_anew() -> None:
    h = history(opened("t", "1?"), closed("t", "1!"))
    assert all(one is two for one, two in zip(h.prompt(None), h.prompt(None), strict=True))
