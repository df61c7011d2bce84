import math

import pytest

from benchmarks.figures import Figure, histogram_quantile, median, parse_histogram, percentile
from duologue.telemetry import Metrics


def test_percentiles_are_samples_that_occurred():
    samples = [float(number) for number in range(1, 101)]
    assert percentile(samples, 0.5) == 50
    assert percentile(samples, 0.99) == 99
    assert percentile(samples, 1.0) == 100
    assert percentile([7.0], 0.99) == 7.0
    assert percentile(samples[::-1], 0.99) == 99, "the order does not matter"


def test_the_median_of_an_even_number_lies_between_the_two_in_the_middle():
    assert median([4.0, 1.0, 3.0]) == 3.0
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.5


def test_a_histogram_is_read_from_what_the_server_really_writes():
    metrics = Metrics()
    for seconds in (0.0005, 0.0015, 0.0015, 0.3):
        metrics.committed(seconds=seconds)
    before = parse_histogram(metrics.render(), "duologue_commit_seconds")
    assert before[math.inf] == 4
    assert histogram_quantile({}, before, 0.5) == 0.002
    for _ in range(100):
        metrics.committed(seconds=0.004)
    after = parse_histogram(metrics.render(), "duologue_commit_seconds")
    assert histogram_quantile(before, after, 0.99) == 0.005, "what came before does not count"
    assert histogram_quantile(after, after, 0.99) is None


@pytest.mark.parametrize(
    ("figure", "passed"),
    [
        (Figure("f", 1.3, "x", at_least=1.3), True),
        (Figure("f", 1.29, "x", at_least=1.3), False),
        (Figure("f", 10.0, "ms", at_most=10.0), True),
        (Figure("f", 10.1, "ms", at_most=10.0), False),
        (Figure("f", 99.0, "ms", at_most=10.0, judged=False), None),
        (Figure("f", 1.0, "x"), None),
    ],
)
def test_a_figure_passes_when_it_meets_its_target(figure, passed):
    assert figure.passed is passed
