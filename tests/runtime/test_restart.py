import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.runtime import RestartWindow


def test_as_many_as_the_intensity_are_allowed_and_the_next_is_refused():
    window = RestartWindow(intensity=3, period=5.0)
    assert [window.allow(at) for at in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]


def test_events_that_are_older_than_the_period_do_not_count():
    window = RestartWindow(intensity=1, period=5.0)
    assert window.allow(0.0)
    assert not window.allow(5.0)
    window = RestartWindow(intensity=1, period=5.0)
    assert window.allow(0.0)
    assert window.allow(5.01)


def test_restarts_that_are_wider_apart_than_the_period_never_trip():
    window = RestartWindow(intensity=1, period=1.0)
    assert all(window.allow(at * 1.1) for at in range(1000))


def test_an_intensity_of_zero_allows_nothing():
    assert not RestartWindow(intensity=0, period=1.0).allow(0.0)


def test_a_refused_event_counts_too():
    window = RestartWindow(intensity=1, period=5.0)
    assert [window.allow(at) for at in (0.0, 4.0, 8.0)] == [True, False, False]


def test_a_calm_window_may_be_forgotten():
    window = RestartWindow(intensity=2, period=5.0)
    assert window.calm(0.0)
    window.allow(0.0)
    assert not window.calm(5.0)
    assert window.calm(5.1)
    window.allow(6.0)
    window.reset()
    assert window.calm(6.0)


def test_impossible_bounds_are_refused_by_name():
    with pytest.raises(ValueError, match="intensity"):
        RestartWindow(intensity=-1)
    with pytest.raises(ValueError, match="period"):
        RestartWindow(period=0)


@given(
    intensity=st.integers(0, 5),
    period=st.integers(1, 20),
    gaps=st.lists(st.integers(0, 10), max_size=60),
)
def test_the_window_agrees_with_counting_all_events_again(intensity: int, period: int, gaps: list[int]):
    window = RestartWindow(intensity, period)
    now, seen = 0, []
    for gap in gaps:
        now += gap
        seen.append(now)
        within = [at for at in seen if now - at <= period]
        assert window.allow(now) is (len(within) <= intensity)
