"""Who gets what, and when it waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.dialogue.broadcast import Broadcast
from tests.dialogue.builders import accepted, attachment, delta, deltas


def test_a_viewer_without_a_window_gets_everything_at_once() -> None:
    broadcast = Broadcast()
    viewer, seen = attachment()
    broadcast.add(viewer)
    for event in deltas(1, ["a", "b"]):
        assert broadcast.publish(event) == ()
    assert seen.seqs == [(1, 1), (2, 2)]


def test_the_first_delta_of_an_attempt_never_waits() -> None:
    broadcast = Broadcast()
    viewer, seen = attachment(40)
    broadcast.add(viewer)
    first, second = deltas(1, ["a", "b"])
    assert broadcast.publish(first) == ()
    assert list(broadcast.publish(second)) == [40]
    assert seen.text == "a"


def test_what_waits_is_merged_and_goes_out_once_for_the_whole_window() -> None:
    broadcast = Broadcast()
    (one, seen_one), (two, seen_two) = attachment(40), attachment(40)
    broadcast.add(one)
    broadcast.add(two)
    first, *rest = deltas(1, ["a", "b", "c", "d"])
    broadcast.publish(first)
    timed = [broadcast.publish(event) for event in rest]
    assert [list(windows) for windows in timed] == [[40], [], []]
    broadcast.flush(40)
    assert seen_one.seqs == [(1, 1), (2, 4)]
    assert seen_one.events[1] is seen_two.events[1]
    assert seen_one.text == "abcd"


def test_another_event_pushes_out_what_waits_before_it() -> None:
    broadcast = Broadcast()
    viewer, seen = attachment(100)
    broadcast.add(viewer)
    for event in deltas(1, ["a", "b", "c"]):
        broadcast.publish(event)
    assert broadcast.publish(accepted(4)) == ()
    assert seen.seqs == [(1, 1), (2, 3), (4, 4)]
    broadcast.flush(100)
    assert len(seen.events) == 3


def test_a_viewer_that_joins_a_window_misses_what_waited_in_it() -> None:
    broadcast = Broadcast()
    (early, seen_early), (late, seen_late) = attachment(40), attachment(40)
    broadcast.add(early)
    for event in deltas(1, ["a", "b"]):
        broadcast.publish(event)
    broadcast.add(late)
    broadcast.publish(delta(3, "c", 2))
    broadcast.flush(40)
    assert seen_early.seqs == [(1, 1), (2, 2), (3, 3)]
    assert seen_late.seqs == [(3, 3)]


def test_discarding_tells_whether_it_was_there_and_drops_an_empty_window() -> None:
    broadcast = Broadcast()
    viewer, seen = attachment(500)
    assert broadcast.discard(viewer) is False
    broadcast.add(viewer)
    for event in deltas(1, ["a", "b"]):
        broadcast.publish(event)
    assert broadcast.discard(viewer) is True
    broadcast.flush_all()
    assert seen.seqs == [(1, 1)]
    assert len(broadcast) == 0


def test_only_the_very_next_delta_of_the_same_attempt_can_be_merged() -> None:
    one = delta(1, "a", 0)
    for other in (delta(3, "b", 1), delta(2, "b", 1, attempt=2), delta(2, "b", 1, turn="u")):
        with pytest.raises(AssertionError):
            one.merged_with(other)


@given(st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=3)), min_size=1, max_size=20))
def test_however_windows_end_everybody_reads_the_same_text_without_a_gap(
    steps: list[tuple[bool, str]],
) -> None:
    broadcast = Broadcast()
    pairs = [attachment(window) for window in (0, 40, 100, 500)]
    for viewer, _ in pairs:
        broadcast.add(viewer)
    whole = deltas(1, [text for _, text in steps])
    for (over, _), event in zip(steps, whole, strict=True):
        broadcast.publish(event)
        if over:
            broadcast.flush(40)
    broadcast.flush_all()
    for _, seen in pairs:
        assert seen.text == "".join(text for _, text in steps)
        known = 0
        for first, last in seen.seqs:
            assert first == known + 1
            known = last
