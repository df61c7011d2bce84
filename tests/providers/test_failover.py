"""The plan: which model is called next, for every category and place. Pure, so no loop is needed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.messages import Tier
from duologue.providers.failover import SHORT_WAIT, Call, Candidate, OnStreamFailure, Tried, next_call
from duologue.providers.failures import Category, ProviderFailure

THREE = [Candidate(Tier.PRIMARY, "a"), Candidate(Tier.SECONDARY, "b"), Candidate(Tier.BACKUP, "c")]


def failed(
    position: int,
    category: Category,
    *,
    had_content: bool = False,
    status: int | None = None,
    retry_after: float | None = None,
) -> Tried:
    failure = ProviderFailure(
        category, "x", http_status=status, retry_after=retry_after, had_content=had_content
    )
    return Tried(position, failure)


def test_the_first_call_goes_to_the_primary_for_no_reason() -> None:
    assert next_call(THREE, []) == Call(0, 0.0, None)


@pytest.mark.parametrize(
    "category", [category for category in Category if category is not Category.CONTENT_FILTER]
)
@pytest.mark.parametrize("had_content", [False, True])
def test_every_failure_but_a_filters_goes_straight_to_the_next_tier(
    category: Category, had_content: bool
) -> None:
    tried = [failed(0, category, had_content=had_content)]
    assert next_call(THREE, tried) == Call(1, 0.0, category)
    tried.append(failed(1, category, had_content=had_content))
    assert next_call(THREE, tried) == Call(2, 0.0, category)
    tried.append(failed(2, category, had_content=had_content))
    assert next_call(THREE, tried) is None


def test_a_content_filter_is_not_routed_around() -> None:
    assert next_call(THREE, [failed(0, Category.CONTENT_FILTER)]) is None


def test_a_one_off_500_is_tried_once_more_on_the_same_model() -> None:
    tried = [failed(0, Category.SERVER_ERROR, status=500)]
    again = next_call(THREE, tried)
    assert again is not None
    assert (again.position, again.reason) == (0, Category.SERVER_ERROR)
    assert 0 < again.after < 1
    tried.append(failed(0, Category.SERVER_ERROR, status=500))
    assert next_call(THREE, tried) == Call(1, 0.0, Category.SERVER_ERROR)


@pytest.mark.parametrize("status", [502, 503, 504, None])
def test_other_server_errors_are_not_repeated(status: int | None) -> None:
    assert next_call(THREE, [failed(0, Category.SERVER_ERROR, status=status)]) == Call(
        1, 0.0, Category.SERVER_ERROR
    )


@pytest.mark.parametrize(
    ("retry_after", "call"),
    [
        (0.0, Call(0, 0.0, Category.RATE_LIMITED)),
        (SHORT_WAIT, Call(0, SHORT_WAIT, Category.RATE_LIMITED)),
        (SHORT_WAIT + 0.1, Call(1, 0.0, Category.RATE_LIMITED)),
        (1e12, Call(1, 0.0, Category.RATE_LIMITED)),
        (None, Call(1, 0.0, Category.RATE_LIMITED)),
    ],
)
def test_a_rate_limit_is_waited_for_only_when_it_is_short(retry_after: float | None, call: Call) -> None:
    assert next_call(THREE, [failed(0, Category.RATE_LIMITED, status=429, retry_after=retry_after)]) == call


def test_quota_is_no_rate_limit_and_is_never_waited_for() -> None:
    assert next_call(THREE, [failed(0, Category.QUOTA, status=429, retry_after=1.0)]) == Call(
        1, 0.0, Category.QUOTA
    )


def test_nothing_is_repeated_after_content() -> None:
    tried = [failed(0, Category.SERVER_ERROR, status=500, had_content=True)]
    assert next_call(THREE, tried) == Call(1, 0.0, Category.SERVER_ERROR)


def test_terminate_ends_the_turn_after_content_and_only_then() -> None:
    before, after = failed(0, Category.TRUNCATED), failed(0, Category.TRUNCATED, had_content=True)
    assert next_call(THREE, [before], OnStreamFailure.TERMINATE) == Call(1, 0.0, Category.TRUNCATED)
    assert next_call(THREE, [after], OnStreamFailure.TERMINATE) is None
    assert next_call(THREE, [after], OnStreamFailure.RESTART) == Call(1, 0.0, Category.TRUNCATED)
    assert next_call(THREE, [after], OnStreamFailure.CONTINUE) == Call(1, 0.0, Category.TRUNCATED)


def test_a_prompt_that_does_not_fit_goes_to_a_larger_model_or_one_of_unknown_size() -> None:
    small, same, large, unknown = (
        Candidate(Tier.PRIMARY, "small", 1000),
        Candidate(Tier.SECONDARY, "same", 1000),
        Candidate(Tier.BACKUP, "large", 2000),
        Candidate(Tier.BACKUP, "unknown"),
    )
    full = [failed(0, Category.CONTEXT_LENGTH)]
    assert next_call([small, same, large], full) == Call(2, 0.0, Category.CONTEXT_LENGTH)
    assert next_call([small, same, unknown], full) == Call(2, 0.0, Category.CONTEXT_LENGTH)
    assert next_call([small, same], full) is None
    assert next_call([unknown, same], full) == Call(1, 0.0, Category.CONTEXT_LENGTH)
    assert (
        next_call([large, Candidate(Tier.SECONDARY, "s"), same], [*full, failed(1, Category.CONNECT)]) is None
    )


@given(
    size=st.integers(1, 3),
    failures=st.lists(
        st.tuples(st.sampled_from(list(Category)), st.booleans(), st.sampled_from([None, 429, 500]),
                  st.sampled_from([None, 0.0, 1.0, 99.0])),
        min_size=12, max_size=12,
    ),
    policy=st.sampled_from(list(OnStreamFailure)),
)  # fmt: skip
def test_every_plan_ends_never_goes_back_and_calls_no_model_three_times(
    size: int, failures: list[tuple[Category, bool, int | None, float | None]], policy: OnStreamFailure
) -> None:
    candidates = THREE[:size]
    tried: list[Tried] = []
    for category, had_content, status, retry_after in failures:
        call = next_call(candidates, tried, policy)
        if call is None:
            break
        tried.append(
            failed(call.position, category, had_content=had_content, status=status, retry_after=retry_after)
        )
    else:
        raise AssertionError("the plan did not end")
    positions = [entry.position for entry in tried]
    assert positions == sorted(positions)
    assert all(len(list(group)) <= 2 for _, group in itertools.groupby(positions))
