"""The measures, one module each: a function of the scene that returns a `Measure`."""

from collections.abc import Awaitable, Callable

from benchmarks.figures import Measure
from benchmarks.measures.first_token import measure_first_token
from benchmarks.measures.history import measure_history
from benchmarks.measures.memory import measure_memory
from benchmarks.measures.startup import measure_startup
from benchmarks.measures.throughput import measure_flood, measure_paced
from benchmarks.scene import Scene

__all__ = ["MEASURES"]

MEASURES: dict[str, Callable[[Scene, Callable[[str], None]], Awaitable[Measure]]] = {
    "startup": measure_startup,
    "flood": measure_flood,
    "paced": measure_paced,
    "first_token": measure_first_token,
    "memory": measure_memory,
    "history": measure_history,
}
"""By the name that `--only` takes, in the order that they run in."""
