"""Numbers, positions and joins without a race."""

import pytest

from duologue.dialogue.events import DialogueSnapshot, Snapshot
from duologue.dialogue.feed import Feed
from duologue.messages import DialogueStatus, Epoch, Position, Usage
from tests.dialogue.builders import DIALOGUE, EPOCH, accepted, attachment, delta, deltas


def a_feed(seq: int = 0) -> tuple[Feed, list[int]]:
    windows: list[int] = []
    feed = Feed(DIALOGUE, windows.append)
    feed.start_at(Position(EPOCH, seq))
    return feed, windows


def a_snapshot(feed: Feed) -> Snapshot:
    idle = DialogueStatus.IDLE
    return Snapshot(DIALOGUE, feed.epoch, feed.seq, "f", None, None, idle, (), None, None, Usage(0, 0))


def test_events_must_come_in_order() -> None:
    feed, _ = a_feed()
    feed.emit(accepted(1))
    for wrong in (1, 3):
        with pytest.raises(AssertionError, match="out of order"):
            feed.emit(accepted(wrong))
    assert feed.position == Position(EPOCH, 1)


def test_a_window_that_begins_to_hold_back_is_timed_once() -> None:
    feed, windows = a_feed()
    viewer, seen = attachment(40)
    feed.attach(viewer, feed.position)[1]()
    for event in deltas(1, ["a", "b", "c"]):
        feed.emit(event)
    assert windows == [40]
    feed.flush(40)
    assert seen.seqs == [(1, 1), (2, 3)]


def test_attaching_takes_its_position_with_what_waits_already_delivered_to_others() -> None:
    feed, _ = a_feed()
    early, seen_early = attachment(40)
    feed.attach(early, feed.position)[1]()
    feed.begin_turn()
    for event in deltas(1, ["a", "b"]):
        feed.emit(event)
    late, seen_late = attachment(40)
    resumed, deliver = feed.attach(late, Position(EPOCH, 1))
    deliver()
    assert resumed
    assert seen_early.seqs == [(1, 1), (2, 2)]
    assert seen_late.seqs == [(2, 2)]


def test_attaching_again_moves_the_viewer_and_does_not_double_it() -> None:
    feed, _ = a_feed()
    viewer, seen = attachment()
    feed.attach(viewer, None)[1]()
    feed.attach(viewer, None)[1]()
    feed.emit(accepted(1))
    assert seen.seqs == [(1, 1)]
    assert feed.viewers == 1


def test_another_epoch_or_a_forgotten_position_can_t_be_resumed() -> None:
    feed, _ = a_feed(seq=7)
    viewer, _ = attachment()
    assert feed.attach(viewer, Position(Epoch("other"), 7))[0] is False
    assert feed.attach(viewer, Position(EPOCH, 6))[0] is False
    assert feed.attach(viewer, Position(EPOCH, 7))[0] is True
    assert feed.attach(viewer, None)[0] is False


def test_taking_over_viewers_sends_one_shared_snapshot_to_those_who_are_elsewhere() -> None:
    feed, _ = a_feed(seq=3)
    (here, seen_here), (there, seen_there), (new, seen_new) = attachment(), attachment(), attachment()
    here.epoch, here.seq = EPOCH, 3
    there.epoch, there.seq = EPOCH, 2
    feed.adopt([here, there, new], lambda: a_snapshot(feed))
    assert seen_here.events == []
    assert isinstance(seen_there.events[0], DialogueSnapshot)
    assert seen_there.events[0] is seen_new.events[0]
    feed.emit(delta(4, "x", 0))
    assert [len(seen.events) for seen in (seen_here, seen_there, seen_new)] == [1, 2, 2]


def test_what_waits_for_a_window_can_be_sent_at_once() -> None:
    feed, _ = a_feed()
    viewer, seen = attachment(500)
    feed.attach(viewer, feed.position)[1]()
    for event in deltas(1, ["a", "b"]):
        feed.emit(event)
    feed.flush_all()
    assert seen.text == "ab"
