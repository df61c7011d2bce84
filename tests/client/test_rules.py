import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.client.errors import ConnectionClosed, NumberingBroken
from duologue.client.rules import Backoff, Numbering, final_close, final_handshake
from duologue.errors import BadRequest, Forbidden, NotAuthenticated, NotFound, TooMany
from duologue.messages import Epoch, Position


def delta(seq: int, *, first: int | None = None, epoch: str = "e") -> dict[str, object]:
    event: dict[str, object] = {"event": "turn.delta", "epoch": epoch, "seq": seq}
    return event if first is None else {**event, "first_seq": first}


@given(failures=st.integers(0, 10_000), fraction=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_cap_nor_than_the_bound_of_its_failures(failures, fraction):
    delay = Backoff(base=0.25, cap=10.0).delay(failures, fraction)
    assert 0 <= delay <= min(10.0, 0.25 * 2 ** min(failures, 60))


def test_the_bound_doubles_with_each_failure():
    backoff = Backoff(base=1.0, cap=100.0)
    assert [backoff.delay(n, 0.5) for n in range(4)] == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "code", [1000, 1001, 1006, 1009, 1011, 1012, 3000, 4000, 4001, 4008, 4012, 4013, 4499]
)
def test_codes_below_4500_say_come_back(code):
    assert final_close(code, "") is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4500, BadRequest),
        (4501, NotAuthenticated),
        (4503, Forbidden),
        (4508, TooMany),
        (4999, ConnectionClosed),
    ],
)
def test_codes_from_4500_end_the_client_with_a_typed_error_that_says_the_reason(code, error):
    final = final_close(code, "because")
    assert type(final) is error
    assert "because" in str(final)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotAuthenticated), (403, Forbidden), (404, NotFound), (429, None), (500, None), (503, None)],
)
def test_a_refused_handshake_is_final_unless_it_may_pass(status, error):
    final = final_handshake(status)
    assert final is None if error is None else type(final) is error


def test_numbers_that_follow_each_other_move_the_position():
    numbering = Numbering(Position(Epoch("e"), 4))
    numbering.take(delta(5))
    numbering.take(delta(9, first=6))
    assert numbering.position == Position(Epoch("e"), 9)


@pytest.mark.parametrize(
    "event",
    [delta(4), delta(6), delta(9, first=7), delta(9, first=4), delta(5, epoch="other"), delta(4, first=5)],
)
def test_a_hole_a_double_or_a_foreign_epoch_is_told_and_leaves_the_position(event):
    numbering = Numbering(Position(Epoch("e"), 4))
    with pytest.raises(NumberingBroken):
        numbering.take(event)
    assert numbering.position == Position(Epoch("e"), 4)


def test_without_a_position_only_a_snapshot_may_come_first():
    numbering = Numbering()
    with pytest.raises(NumberingBroken):
        numbering.take(delta(1))
    numbering.take({"event": "dialogue.snapshot", "epoch": "f", "seq": 7})
    numbering.take(delta(8, epoch="f"))
    assert numbering.position == Position(Epoch("f"), 8)


def test_events_without_a_number_of_their_own_do_not_count():
    numbering = Numbering(Position(Epoch("e"), 4))
    numbering.take({"event": "dialogue.closed", "epoch": "e", "seq": 4, "reason": "deleted"})
    numbering.take({"event": "from.the.future"})
    assert numbering.position == Position(Epoch("e"), 4)
