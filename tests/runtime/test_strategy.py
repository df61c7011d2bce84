import pytest

from duologue.runtime import Strategy
from duologue.runtime.strategy import affected

ORDER = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("strategy", "ended", "again"),
    [
        (Strategy.ONE_FOR_ONE, "b", ["b"]),
        (Strategy.ONE_FOR_ALL, "b", ["a", "b", "c", "d"]),
        (Strategy.REST_FOR_ONE, "b", ["b", "c", "d"]),
        (Strategy.REST_FOR_ONE, "a", ["a", "b", "c", "d"]),
        (Strategy.REST_FOR_ONE, "d", ["d"]),
    ],
)
def test_each_strategy_names_who_is_started_again_and_in_which_order(
    strategy: Strategy, ended: str, again: list[str]
):
    assert affected(strategy, ORDER, ended) == again
