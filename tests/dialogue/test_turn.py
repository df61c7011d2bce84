"""The turn's table, checked as a whole."""

import itertools
import re

import pytest

from duologue.dialogue import turn as module
from duologue.dialogue.turn import TABLE, Phase, Turn, TurnInput
from duologue.messages import MessageId, Tier, TurnId


def a_turn(phase: Phase = Phase.OPENING) -> Turn:
    return Turn(TurnId("t"), [MessageId("m")], service="s", phase=phase)


@pytest.mark.parametrize(("phase", "happened"), list(itertools.product(Phase, TurnInput)))
def test_every_pair_moves_as_listed_or_raises_and_changes_nothing(phase: Phase, happened: TurnInput) -> None:
    turn = a_turn(phase)
    following = TABLE.get((phase, happened))
    assert turn.accepts(happened) is (following is not None)
    if following is None:
        with pytest.raises(AssertionError, match="can't happen"):
            turn.advance(happened)
        assert turn.phase is phase
    else:
        assert turn.advance(happened) is phase
        assert turn.phase is following


def test_the_table_in_the_docstring_is_the_table() -> None:
    rows = re.findall(r"^    ([A-Z]+) +([A-Z_]+) +([A-Z]+)(?: |$)", module.__doc__ or "", re.MULTILINE)
    documented = {
        (Phase[phase], TurnInput[happened]): Phase[following] for phase, happened, following in rows
    }
    assert documented == TABLE


def test_closed_is_the_only_phase_without_a_way_out() -> None:
    assert {phase for phase in Phase if not any(start is phase for start, _ in TABLE)} == {Phase.CLOSED}


def test_every_phase_can_reach_the_end() -> None:
    reached = {Phase.CLOSED}
    while more := {start for (start, _), end in TABLE.items() if end in reached} - reached:
        reached |= more
    assert reached == set(Phase)


def test_an_attempt_that_speaks_withdraws_the_text_of_the_one_before() -> None:
    turn = a_turn(Phase.WAITING)
    turn.begin_attempt(1, "one", Tier.PRIMARY, None)
    turn.adopt_attempt()
    assert turn.extend("ab") == 0
    assert turn.extend("c") == 2
    turn.checkpointed = 3
    turn.begin_attempt(2, "two", Tier.BACKUP, "truncated")
    assert turn.text == "abc"
    assert turn.last_attempt == 2
    assert turn.attempt == 1
    turn.adopt_attempt()
    assert (turn.text, turn.text_length, turn.checkpointed) == ("", 0, 0)
    assert (turn.attempt, turn.model, turn.tier, turn.reason) == (2, "two", Tier.BACKUP, "truncated")


def test_offsets_count_code_points() -> None:
    turn = a_turn()
    assert turn.extend("héllo 😀") == 0
    assert turn.extend("!") == 7


def test_a_turn_is_open_to_clients_from_its_commit_to_its_terminal_event() -> None:
    assert {phase for phase in Phase if a_turn(phase).open} == {
        Phase.WAITING,
        Phase.STREAMING,
        Phase.RECOVERING,
        Phase.CLOSING,
    }
