"""From starting the command until `/readyz` says 200, with the bundled store, in a new and in an old directory."""

from collections.abc import Callable

from benchmarks.figures import Figure, Measure, median
from benchmarks.scene import Scene

__all__ = ["measure_startup"]


async def measure_startup(scene: Scene, say: Callable[[str], None]) -> Measure:
    """The interpreter's start and all imports are in it; the Python files are compiled already after the first."""
    starts = scene.sizes.starts
    measure = Measure("startup", "Startup to ready, with the bundled store")
    measure.inputs = {"starts": starts}
    async with scene.duologue(data="startup-warm"):
        pass
    new: list[float] = []
    again: list[float] = []
    for number in range(starts):
        for seconds in (new, again):
            async with scene.duologue(data=f"startup-{number}") as server:
                seconds.append(server.ready_after)
        say(f"start {number + 1}/{starts}: new {new[-1]:.2f} s, again {again[-1]:.2f} s")
    measure.details = {"seconds": {"new": new, "again": again}}
    measure.figures = [
        Figure("new data directory, median", median(new), "s", at_most=2.0),
        Figure("new data directory, slowest", max(new), "s"),
        Figure("existing data directory, median", median(again), "s", at_most=2.0),
    ]
    return measure
