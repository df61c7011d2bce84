"""Rounds that take turns, so that what slows the machine down slows everybody down."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks.figures import median
from benchmarks.kernel import bare, ours

__all__ = ["LOOPS", "Sizes", "Samples", "measure", "resident_bytes"]

T = TypeVar("T")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
SUBJECTS = {"ours": ours, "bare": bare}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each."""

    rounds: int = 15
    """Of everything but the many."""
    calls: int = 10_000
    casts: int = 40_000
    starts: int = 2_000
    restarts: int = 300
    idle: int = 10_000
    many: int = 100_000
    many_rounds: int = 3

    @classmethod
    def quick(cls) -> "Sizes":
        """A look in some seconds."""
        return cls(5, 4_000, 10_000, 500, 100, 2_000, 5_000, 1)


@dataclass(slots=True)
class Samples:
    """What came of all rounds: (loop, subject, name of the figure) to samples."""

    of: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def add(self, loop: str, subject: str, name: str, value: float) -> None:
        self.of.setdefault((loop, subject, name), []).append(value)

    def median(self, loop: str, subject: str, name: str) -> float:
        return median(self.of[loop, subject, name])


def run_in(loop: str, work: Coroutine[Any, Any, T]) -> T:
    """In a loop of its own, after the garbage of whoever ran before is gone."""
    gc.collect()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(work)


def measure(sizes: Sizes, progress: Callable[[str], None]) -> Samples:
    """Everything, on both loops, the kernel and the bare queue in turn. The first round of each is not counted."""
    samples = Samples()
    timed = {
        "call": sizes.calls,
        "concurrent_calls": sizes.calls,
        "cast": sizes.casts,
        "start": sizes.starts,
        "restart": sizes.restarts,
    }
    for name, count in timed.items():
        progress(name)
        for number in range(sizes.rounds + 1):
            for loop, subject in _turns(number):
                seconds = run_in(loop, getattr(SUBJECTS[subject], name)(count))
                if number:
                    samples.add(loop, subject, name, seconds)
    progress("bytes of an idle actor")
    for loop, subject in _turns(0):
        samples.add(loop, subject, "idle_bytes", run_in(loop, _idle_bytes(subject, sizes.idle)))
    progress(f"{sizes.many:,} actors")
    for number in range(sizes.many_rounds):
        for loop, subject in _turns(number):
            for count, which in ((sizes.many // 10, "tenth"), (sizes.many, "many")):
                started, stopped = run_in(loop, SUBJECTS[subject].start_and_stop_many(count))
                samples.add(loop, subject, f"{which}_start", started)
                samples.add(loop, subject, f"{which}_stop", stopped)
    return samples


def _turns(number: int) -> Sequence[tuple[str, str]]:
    """Who comes after whom changes from round to round."""
    turns = [(loop, subject) for loop in LOOPS for subject in SUBJECTS]
    return turns[number % len(turns) :] + turns[: number % len(turns)]


async def _idle_bytes(subject: str, count: int) -> float:
    """Bytes of Python's allocator for one that waits for its first message, and has no state of its own."""
    start: Callable[[int], Awaitable[Any]] = getattr(SUBJECTS[subject], "start_idle")  # noqa: B009 - two modules
    tracemalloc.start()
    try:
        first = await start(10)  # what is made once, for all
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        idle = await start(count)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await _end(subject, first)
    await _end(subject, idle)
    return (after - before) / count


async def _end(subject: str, idle: Any) -> None:
    if subject == "ours":
        await idle[0].shutdown(timeout=None)
    else:
        await bare.stop(*(task for _, task in idle))


async def resident_bytes(count: int) -> int:
    """How much bigger the process is with so many idle actors under one supervisor; run in a fresh process."""
    before = _resident()
    system, _, children = await ours.start_idle(count)
    after = _resident()
    assert len(children) == count
    await system.shutdown(timeout=None)
    return after - before


def _resident() -> int:
    """Resident set of this process in bytes."""
    import resource  # not on every platform

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
