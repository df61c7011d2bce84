"""Admission: a slot for each call, given back however the call ends."""

import pytest

from duologue.providers.admission import Admission


def test_a_model_at_its_cap_admits_no_more_until_a_slot_is_given_back() -> None:
    admission = Admission({"a": 2, "b": None})
    first, second = admission.try_admit("a"), admission.try_admit("a")
    assert first is not None
    assert second is not None
    assert admission.try_admit("a") is None
    assert admission.try_admit("b") is not None
    with first:
        pass
    assert admission.running("a") == 1
    assert admission.try_admit("a") is not None


def test_a_model_without_a_cap_admits_all() -> None:
    admission = Admission({"a": None})
    assert all(admission.try_admit(name) is not None for name in ["a", "unheard-of"] * 1000)
    assert admission.running("a") == 1000


def test_a_slot_is_given_back_after_an_error_too() -> None:
    admission = Admission({"a": 1})
    slot = admission.try_admit("a")
    assert slot is not None
    with pytest.raises(KeyError), slot:
        raise KeyError
    assert admission.running("a") == 0


def test_giving_a_slot_back_twice_is_our_bug() -> None:
    slot = Admission({}).try_admit("a")
    assert slot is not None
    with slot:
        pass
    with pytest.raises(AssertionError):
        slot.__exit__(None, None, None)
