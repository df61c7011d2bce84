"""What waits for a slow reader: order, merging and the bound."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.dialogue.events import DialogueClosed, DialogueSnapshot, Event, Snapshot, TurnDelta
from duologue.messages import DialogueId, DialogueStatus, Epoch, TurnId, Usage
from duologue.web.codec import JSON
from duologue.web.outbox import Outbox

E = Epoch("e")


def delta(
    seq: int, text: str = "x", *, dialogue: str = "d1", offset: int = 0, attempt: int = 1, turn: str = "t"
) -> TurnDelta:
    return TurnDelta(DialogueId(dialogue), E, seq, TurnId(turn), attempt, offset, text)


def closed(seq: int, dialogue: str = "d1") -> Event:
    return DialogueClosed(DialogueId(dialogue), E, seq, "deleted")


def snapshot(dialogue: str = "d1") -> Event:
    whole = Snapshot(
        DialogueId(dialogue), E, 0, "f", None, None, DialogueStatus.IDLE, [], None, None, Usage()
    )
    return DialogueSnapshot(DialogueId(dialogue), E, 0, whole)


def outbox(bytes_max: int = 1_000_000) -> Outbox:
    return Outbox(JSON.event, bytes_max=bytes_max)


def drained(box: Outbox) -> list[dict]:
    taken = []
    while box:
        taken.append(json.loads(box.take()))
    return taken


def test_entries_come_out_as_they_went_in():
    box = outbox()
    assert box.put_event(closed(1))
    assert box.put_bytes(b'{"re":1}')
    assert box.put_event(closed(2, "d2"))
    assert [entry.get("re", entry.get("seq")) for entry in drained(box)] == [1, 1, 2]
    assert box.bytes == 0


def test_deltas_that_follow_each_other_become_one():
    box = outbox()
    for seq in range(5, 10):
        box.put_event(delta(seq, f"{seq} ", offset=(seq - 5) * 2))
    (merged,) = drained(box)
    assert (merged["first_seq"], merged["seq"]) == (5, 9)
    assert (merged["offset"], merged["text"]) == (0, "5 6 7 8 9 ")


def test_a_single_delta_goes_out_as_everybody_elses_bytes():
    box, event = outbox(), delta(1)
    box.put_event(event)
    assert box.take() is JSON.event(event)


def test_deltas_of_one_dialogue_merge_across_another_ones():
    box = outbox()
    for seq in (1, 2, 3):
        box.put_event(delta(seq, dialogue="d1", offset=seq - 1))
        box.put_event(delta(seq, dialogue="d2", offset=seq - 1))
    assert [(e["dialogue"], e["first_seq"], e["seq"]) for e in drained(box)] == [("d1", 1, 3), ("d2", 1, 3)]


@pytest.mark.parametrize(
    "second",
    [delta(3), delta(2, attempt=2), delta(2, turn="t2")],
    ids=["a gap", "another attempt", "another turn"],
)
def test_deltas_that_do_not_follow_are_not_merged(second: TurnDelta):
    box = outbox()
    box.put_event(delta(1))
    box.put_event(second)
    assert len(drained(box)) == 2


def test_no_delta_overtakes_an_event_of_its_dialogue():
    box = outbox()
    box.put_event(delta(1))
    box.put_event(closed(2))
    box.put_event(delta(3))
    assert [e["event"] for e in drained(box)] == ["turn.delta", "dialogue.closed", "turn.delta"]


def test_no_delta_overtakes_an_answer():
    box = outbox()
    box.put_event(delta(1))
    box.put_bytes(b'{"re":1}')
    box.put_event(delta(2))
    assert [entry.get("re", entry.get("seq")) for entry in drained(box)] == [1, 1, 2]


def test_what_is_being_taken_is_not_added_to():
    box = outbox()
    box.put_event(delta(1))
    box.put_event(closed(1, "d2"))
    box.take()
    box.put_event(delta(2))
    assert [e["seq"] for e in drained(box)] == [1, 2]


def test_going_over_the_bound_is_told():
    box = outbox(bytes_max=500)
    assert box.put_event(delta(1, "x" * 200))
    assert not box.put_event(delta(2, "x" * 200, offset=200))


def test_many_small_events_go_over_the_bound_too():
    box = outbox(bytes_max=1_000)
    fits = [box.put_event(closed(seq)) for seq in range(1, 30)]
    assert fits[0]
    assert not fits[-1]
    assert box.bytes > 1_000


def test_one_entry_may_be_larger_than_the_bound_where_nothing_else_waits():
    assert outbox(bytes_max=10).put_bytes(b"x" * 1_000)


def test_snapshots_count_little_so_that_many_dialogues_can_be_attached_at_once():
    box = outbox()
    assert all(box.put_event(snapshot(f"d{number}")) for number in range(200))
    assert len(drained(box)) == 200
    assert box.bytes == 0


def test_taking_from_nothing_is_an_error_of_the_caller():
    with pytest.raises(IndexError):
        outbox().take()


def test_a_cleared_outbox_is_empty():
    box = outbox()
    box.put_event(delta(1))
    box.clear()
    assert not box
    assert (len(box), box.bytes) == (0, 0)


def test_a_long_run_of_tiny_deltas_keeps_its_text_and_little_else():
    box, text = outbox(bytes_max=10_000_000), ""
    for seq in range(1, 5_001):
        assert box.put_event(delta(seq, f"{seq},", offset=len(text)))
        text += f"{seq},"
    assert len(box) == 1
    assert box.bytes < len(text) + 1_000
    (merged,) = drained(box)
    assert merged["text"] == text


steps = st.lists(
    st.sampled_from(["d1", "d2", "answer", "close d1", "take"]) | st.text(min_size=1, max_size=3), max_size=60
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_whatever_is_put_in_and_taken_out_each_dialogue_sees_all_of_its_events_in_order(actions: list[str]):
    box = outbox()
    seqs, offsets, texts = {"d1": 0, "d2": 0}, {"d1": 0, "d2": 0}, {"d1": "", "d2": ""}
    seen: list[dict] = []
    for action in actions:
        if action == "take":
            if box:
                seen.append(json.loads(box.take()))
        elif action == "answer":
            box.put_bytes(json.dumps({"re": 0, "after": dict(seqs)}).encode())
        elif action == "close d1":
            seqs["d1"] += 1
            box.put_event(closed(seqs["d1"]))
        else:
            name, text = (action, "é") if action in seqs else ("d2", action)
            seqs[name] += 1
            box.put_event(delta(seqs[name], text, dialogue=name, offset=offsets[name]))
            offsets[name] += len(text)
            texts[name] += text
    seen += drained(box)
    assert box.bytes == 0
    last, read = {"d1": 0, "d2": 0}, {"d1": "", "d2": ""}
    for entry in seen:
        if "re" in entry:
            assert entry["after"] == last, "an answer stays between what came before and after it"
            continue
        name = entry["dialogue"]
        assert entry.get("first_seq", entry["seq"]) == last[name] + 1
        last[name] = entry["seq"]
        if entry["event"] == "turn.delta":
            assert entry["offset"] == len(read[name])
            read[name] += entry["text"]
    assert (last, read) == (seqs, texts)
