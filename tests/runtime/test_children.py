from typing import Any

import pytest

from duologue.runtime import (
    BRUTAL_KILL,
    INFINITY,
    KILLED,
    NORMAL,
    SHUTDOWN,
    BadChildSpec,
    ChildSpec,
    ChildType,
    ExitReason,
    Restart,
    Supervisor,
)
from tests.runtime.actors import Probe

CRASH = ExitReason("error", "ValueError")


@pytest.mark.parametrize(
    ("restart", "reason", "wanted"),
    [
        (Restart.PERMANENT, NORMAL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, CRASH, True),
        (Restart.TRANSIENT, NORMAL, False),
        (Restart.TRANSIENT, ExitReason.shutdown("drained"), False),
        (Restart.TRANSIENT, CRASH, True),
        (Restart.TRANSIENT, KILLED, True),
        (Restart.TEMPORARY, NORMAL, False),
        (Restart.TEMPORARY, SHUTDOWN, False),
        (Restart.TEMPORARY, CRASH, False),
    ],
)
def test_the_nine_cases_of_restarting_and_killed(restart: Restart, reason: ExitReason, wanted: bool):
    assert restart.wanted(reason) is wanted


def test_the_defaults_are_those_of_otp():
    spec = ChildSpec("a", Probe)
    assert (spec.restart, spec.type, spec.patience) == (Restart.PERMANENT, ChildType.WORKER, 5.0)
    assert ChildSpec("a", Supervisor, type=ChildType.SUPERVISOR).patience == INFINITY
    assert ChildSpec("a", Probe, shutdown=BRUTAL_KILL).patience is BRUTAL_KILL
    assert ChildSpec("a", Probe, shutdown=0).patience == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 7),
        ("start", Probe()),
        ("start", None),
        ("restart", "permanent"),
        ("shutdown", -1),
        ("shutdown", "5"),
        ("shutdown", True),
        ("type", "worker"),
        ("significant", 1),
        ("significant", True),  # of a permanent child
        ("name", ""),
        ("start_timeout", -0.1),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any):
    fields: dict[str, Any] = {"id": "child-7", "start": Probe, field: value}
    with pytest.raises(BadChildSpec, match=field) as refused:
        ChildSpec(**fields)
    if field != "id":
        assert "child-7" in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_two_children_of_one_id_are_refused_before_anything_starts():
    with pytest.raises(BadChildSpec, match="twin"):
        Supervisor([ChildSpec("twin", Probe), ChildSpec("twin", Probe)])


def test_a_significant_child_needs_a_supervisor_that_can_end_with_it():
    with pytest.raises(BadChildSpec, match="significant"):
        Supervisor([ChildSpec("a", Probe, Restart.TEMPORARY, significant=True)])
