import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.errors import BadRequest
from duologue.messages import DialogueId, DialogueStatus
from duologue.store.listing import Place, build_row, milliseconds, parse_cursor
from tests.store.builders import META, state


@given(at_ms=st.integers(-(10**14), 10**14), name=st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True))
def test_a_cursor_stands_for_its_place(at_ms: int, name: str) -> None:
    place = Place(at_ms, DialogueId(name))
    assert parse_cursor(place.cursor()) == place


@given(cursor=st.text(max_size=40))
def test_any_text_is_a_place_or_a_bad_request(cursor: str) -> None:
    try:
        parse_cursor(cursor)
    except BadRequest as error:
        assert error.code == "bad_request"


def test_places_are_ordered_by_time_and_then_by_name() -> None:
    a, b, c = Place(1, DialogueId("b")), Place(2, DialogueId("a")), Place(2, DialogueId("b"))
    assert sorted([c, b, a]) == [a, b, c]


@pytest.mark.parametrize(("turn", "status"), [(None, DialogueStatus.IDLE), ("t", DialogueStatus.GENERATING)])
def test_a_row_is_generating_while_a_turn_is_open(turn: str | None, status: DialogueStatus) -> None:
    assert build_row(DialogueId("d"), state(open_turn=turn), META).status is status


def test_seconds_become_whole_milliseconds() -> None:
    assert milliseconds(1_700_000_000.5) == 1_700_000_000_500
