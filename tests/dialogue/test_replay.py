"""Gaps are filled exactly, or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from duologue.dialogue.events import Event, TurnDelta
from duologue.dialogue.replay import Replay
from tests.dialogue.builders import accepted, deltas


def a_turn(first_seq: int, texts: list[str], turn: str) -> list[Event]:
    return [accepted(first_seq, turn), *deltas(first_seq + 1, texts, turn=turn)]


def replay_of(turns: list[list[Event]]) -> Replay:
    replay = Replay()
    for turn in turns:
        replay.begin_turn(turn[0].seq)
        for event in turn:
            replay.append(event)
    return replay


def test_an_up_to_date_viewer_gets_an_empty_fill() -> None:
    fill = replay_of([a_turn(1, ["a", "b"], "t")]).after(3)
    assert fill is not None
    assert list(fill) == []


def test_a_position_from_the_future_is_refused() -> None:
    assert replay_of([a_turn(1, ["a"], "t")]).after(9) is None


def test_deltas_of_a_gap_come_as_one_that_starts_where_the_gap_does() -> None:
    fill = replay_of([a_turn(1, ["ab", "😀c", "d"], "t")]).after(2)
    assert fill is not None
    (only,) = fill
    assert isinstance(only, TurnDelta)
    assert (only.first_seq, only.seq, only.offset, only.text) == (3, 4, 2, "😀cd")


def test_a_gap_of_one_delta_is_filled_by_a_delta_that_is_not_merged() -> None:
    fill = replay_of([a_turn(1, ["a", "b"], "t")]).after(2)
    assert fill is not None
    (only,) = fill
    assert isinstance(only, TurnDelta)
    assert only.merged_from is None
    assert only.text == "b"


def test_another_attempt_begins_another_run() -> None:
    replay = Replay()
    replay.begin_turn(1)
    for event in [accepted(1), *deltas(2, ["a", "b"]), *deltas(4, ["x", "y"], attempt=2)]:
        replay.append(event)
    fill = replay.after(0)
    assert fill is not None
    texts = [(e.attempt, e.text) for e in fill if isinstance(e, TurnDelta)]
    assert texts == [(1, "ab"), (2, "xy")]


def test_the_turn_before_is_kept_and_older_ones_are_not() -> None:
    turns = [a_turn(1, ["a"], "t1"), a_turn(3, ["b"], "t2"), a_turn(5, ["c"], "t3")]
    replay = replay_of(turns)
    assert replay.after(1) is None
    fill = replay.after(2)
    assert fill is not None
    assert [event.seq for event in fill] == [3, 4, 5, 6]


def test_after_a_reset_only_the_present_position_can_be_resumed() -> None:
    replay = replay_of([a_turn(1, ["a"], "t")])
    replay.reset(7)
    assert replay.after(6) is None
    assert replay.after(7) is not None


@given(
    turns=st.lists(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=6), min_size=1, max_size=5),
    data=st.data(),
)
def test_a_fill_is_gap_free_and_has_exactly_the_missed_text(
    turns: list[list[str]], data: st.DataObject
) -> None:
    made, seq = [], 1
    for index, texts in enumerate(turns):
        made.append(a_turn(seq, texts, f"t{index}"))
        seq += len(texts) + 1
    replay = replay_of(made)
    events = [event for turn in made for event in turn]
    after = data.draw(st.integers(0, len(events)))
    fill = replay.after(after)
    oldest = made[max(0, len(made) - 2)][0].seq
    assert (fill is None) is (after + 1 < oldest and after != len(events))
    if fill is None:
        return
    known = after
    text = ""
    for event in fill:
        assert event.first_seq == known + 1
        known = event.seq
        text += event.text if isinstance(event, TurnDelta) else f"<{event.seq}>"
    assert known == len(events)
    wanted = [e for e in events if e.seq > after]
    assert text == "".join(e.text if isinstance(e, TurnDelta) else f"<{e.seq}>" for e in wanted)
