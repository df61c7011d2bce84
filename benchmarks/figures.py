"""Numbers out of samples, and what a measure hands to the report. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figure", "Measure", "histogram_quantile", "median", "parse_histogram", "percentile"]


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0 to 1) of all do not exceed: nearest rank, nothing interpolated."""
    assert samples and 0.0 < share <= 1.0
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle."""
    ordered = sorted(samples)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def parse_histogram(metrics: str, name: str) -> dict[float, float]:
    """Cumulative counts by upper bound, of all series of one Prometheus histogram together."""
    counts: dict[float, float] = {}
    for line in metrics.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            labels, _, value = line.rpartition(" ")
            bound = float(labels.partition('le="')[2].partition('"')[0])
            counts[bound] = counts.get(bound, 0.0) + float(value)
    return counts


def histogram_quantile(
    before: Mapping[float, float], after: Mapping[float, float], share: float
) -> float | None:
    """Upper bound of the bucket that the quantile of what came between lies in; `None`: nothing came."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = counts.get(math.inf, 0.0)
    if not total:
        return None
    return next(bound for bound, count in counts.items() if count >= share * total)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    `at_least` and `at_most` are the issue's targets; with neither, the figure stands for scale. `judged` is false
    where the run was too small for the target.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    judged: bool = True

    @property
    def passed(self) -> bool | None:
        """`None`: there is nothing to pass."""
        if not self.judged or (self.at_least is None and self.at_most is None):
            return None
        return not (
            (self.at_least is not None and self.value < self.at_least)
            or (self.at_most is not None and self.value > self.at_most)
        )

    @property
    def target(self) -> str:
        parts = [f">= {self.at_least:g}" for _ in [0] if self.at_least is not None]
        parts += [f"<= {self.at_most:g}" for _ in [0] if self.at_most is not None]
        return " and ".join(parts)


@dataclass
class Measure:
    """What one measure gave. `invalid` says why the figures do not count."""

    name: str
    title: str
    inputs: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    """Raw numbers by round, for the file."""
    invalid: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "inputs": self.inputs,
            "figures": [
                {
                    "name": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "target": figure.target or None,
                    "passed": figure.passed,
                }
                for figure in self.figures
            ],
            "details": self.details,
            "invalid": self.invalid,
        }
