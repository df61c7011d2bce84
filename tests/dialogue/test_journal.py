"""One write at a time, each built on the one before."""

from duologue.dialogue.journal import CheckpointIntent, CloseIntent, Journal, OpenTurnIntent
from duologue.dialogue.turn import Turn
from duologue.errors import StoreUnavailable
from duologue.messages import MessageId, Position, TurnId
from duologue.store.port import HeadUpdate, Owner, TurnClosed, TurnOpened, TurnOutcome
from tests.dialogue.builders import DIALOGUE, EPOCH, message

TURN = Turn(TurnId("t"), [MessageId("m")], service="s")
OWNER = Owner(1, "n")


def opening(client_id: str | None = None, *, unasked: bool = False) -> OpenTurnIntent:
    new = message("m", client_message_id=client_id)
    return OpenTurnIntent(TURN, (TurnOpened(TURN.turn_id, (new.id,), (new,)),), new, [], (), unasked)


def closing() -> CloseIntent:
    record = TurnClosed(TURN.turn_id, 1, TurnOutcome.CANCELLED, None)
    return CloseIntent(TURN, (record,), record, None)


def begin(journal: Journal, *, unfinished: bool, name: str = "w", log_index: int = 0):
    head = HeadUpdate(Position(EPOCH, 0), None, 0.0, "")
    return journal.begin(write_id=name, log_index=log_index, make_head=lambda intent: (head, unfinished))


def a_journal() -> Journal:
    journal = Journal(DIALOGUE)
    journal.owner = OWNER
    return journal


def test_the_next_write_is_built_only_when_the_one_before_has_ended() -> None:
    journal = a_journal()
    assert begin(journal, unfinished=True) is None
    first, second = opening(), closing()
    journal.submit(first)
    journal.submit(second)
    write = begin(journal, unfinished=True, log_index=4)
    assert write is not None
    assert (write.owner, write.expected_log_index) == (OWNER, 4)
    assert write.records == first.records_at(write.head.position)
    assert begin(journal, unfinished=False) is None
    other = Owner(2, "o")
    assert journal.settle(other, applied=True) is first
    following = begin(journal, unfinished=False, log_index=5)
    assert following is not None
    assert (following.owner, following.records) == (other, second.records)


def test_the_index_of_open_turns_is_entered_once_and_left_when_nothing_is_open() -> None:
    journal = a_journal()
    marks = []
    for unfinished in (True, True, False, False):
        journal.submit(closing())
        write = begin(journal, unfinished=unfinished)
        assert write is not None
        marks.append((write.opens_turn, write.closes_turn))
        journal.settle(OWNER, applied=True)
    assert marks == [(True, False), (False, False), (False, True), (False, False)]


def test_a_write_that_was_withdrawn_changes_nothing_about_the_index() -> None:
    journal = a_journal()
    journal.submit(opening())
    begin(journal, unfinished=True)
    journal.settle(OWNER, applied=False)
    assert journal.in_index is False


def test_trouble_is_over_when_the_write_ends() -> None:
    journal = a_journal()
    journal.submit(opening())
    begin(journal, unfinished=True)
    journal.troubled = StoreUnavailable("down")
    journal.settle(OWNER, applied=True)
    assert journal.troubled is None


def test_only_what_may_be_refused_and_was_not_sent_is_withdrawn() -> None:
    journal = a_journal()
    flying, asked, unasked, end = opening(), opening(), opening(unasked=True), closing()
    for intent in (flying, asked, unasked, end):
        journal.submit(intent)
    begin(journal, unfinished=True)
    assert journal.withdraw_messages() == [asked]
    assert list(journal) == [flying, unasked, end]


def test_a_message_under_way_is_found_by_its_sender_s_name() -> None:
    journal = a_journal()
    intent = opening("c1")
    journal.submit(CheckpointIntent(TURN, (), 0))
    journal.submit(intent)
    assert journal.asking("c1") is intent
    assert journal.asking("c2") is None
    assert bool(journal)


def test_what_must_be_written_is_what_nobody_can_be_told_was_refused() -> None:
    assert [i.must for i in (opening(), opening(unasked=True), closing(), CheckpointIntent(TURN, (), 0))] == [
        False,
        True,
        True,
        False,
    ]


def test_a_new_message_s_record_knows_where_it_is_announced_and_an_old_one_s_does_not() -> None:
    at = Position(EPOCH, 7)
    (new,) = opening("c1").records_at(at)
    assert isinstance(new, TurnOpened)
    assert new.position == at
    again = OpenTurnIntent(TURN, (TurnOpened(TURN.turn_id, (), ()),), None, [], (), unasked=False)
    assert again.records_at(at) == again.records
