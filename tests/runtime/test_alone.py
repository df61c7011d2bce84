"""The kernel is of use on its own."""

import subprocess
import sys

import pytest

import duologue.runtime

_ALLOWED = {"duologue", "duologue.errors", "duologue.telemetry", "duologue.runtime"}


def test_it_needs_the_standard_library_and_two_modules_of_ours_only():
    program = """
import sys
before = set(sys.modules)
import duologue.runtime
new = set(sys.modules) - before
print(*sorted(name for name in new if name.partition('.')[0] not in sys.stdlib_module_names))
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name for name in found if not name.startswith("duologue.runtime.")} <= _ALLOWED


def test_every_public_name_is_there_once():
    names = duologue.runtime.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(duologue.runtime, name) is not None


@pytest.mark.parametrize("name", ["Actor", "Ref", "Supervisor", "DynamicSupervisor", "Registry"])
def test_what_people_hold_or_derive_from_has_no_dictionary_of_its_own(name: str):
    assert "__dict__" not in vars(getattr(duologue.runtime, name))
