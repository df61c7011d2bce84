"""What Duologue adds to the time until the first token, over calling the model server directly.

The same load client asks the same upstream on kept connections in three ways, in alternating rounds: directly, through
the pass-through and through Duologue. The figure is the difference of the percentiles, not a percentile of differences:
no request is made twice in the same moment.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measure, histogram_quantile, parse_histogram, percentile
from benchmarks.processes import read_http
from benchmarks.scene import Scene, Server

__all__ = ["measure_first_token"]

_COMMITS = "duologue_commit_seconds"
_KINDS = ("direct", "passthrough", "duologue", "acknowledged", "after", "disk")
"""`acknowledged` and `after` are the parts of each of `duologue`: until the question was durable, and from then on.
`disk` is what one small write costs that is synced, with nobody else writing: a commit can't be quicker."""
_DISK_WRITES = 100
_DISK_BYTES = 500


async def measure_first_token(scene: Scene, say: Callable[[str], None]) -> Measure:
    """Turns started evenly over some seconds; each goes on at a model's pace, so that later ones start under load."""
    sizes = scene.sizes
    measure = Measure("first_token", "Time to first token")
    measure.inputs = {
        "turns_per_round": sizes.first_token_turns,
        "started_over_seconds": sizes.first_token_over,
        "rounds": sizes.first_token_rounds,
        "samples": sizes.first_token_turns * sizes.first_token_rounds,
        "upstream": scene.modes()["first_token"],
    }
    samples: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    async with scene.passthrough() as baseline, scene.duologue(data="first_token") as ours:
        for server in (baseline, ours):
            await scene.client.do(
                "connect",
                group=server.kind,
                kind=server.kind,
                port=server.port,
                count=sizes.first_token_turns,
            )
        commits_before: dict[float, float] = {}
        for number in range(-1, sizes.first_token_rounds):
            if number == 0:
                commits_before = await _commits(ours)
            await scene.client.do("open", group="duologue", feature="first_token")
            one = await _round(scene) | {
                "disk": await asyncio.to_thread(_time_disk, scene.directory / "disk")
            }
            if number < 0:  # connections, code and caches warm up uncounted
                continue
            for kind, values in one.items():
                samples[kind] += values
            parts = (f"{kind} p99 {1000 * percentile(values, 0.99):.1f} ms" for kind, values in one.items())
            say(f"round {number + 1}/{sizes.first_token_rounds}, {', '.join(parts)}")
        commits_after = await _commits(ours)
        for server in (baseline, ours):
            await scene.client.do("close", group=server.kind)
    measure.details = {
        "samples_ms": {kind: [1000 * value for value in values] for kind, values in samples.items()}
    }
    measure.figures = [*_figures(samples), *_commit_figures(commits_before, commits_after)]
    return measure


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    at = {
        (kind, share): 1000 * percentile(values, share / 100)
        for kind, values in samples.items()
        for share in (50, 99)
    }
    return [
        Figure("added by Duologue, p99", at["duologue", 99] - at["direct", 99], "ms", at_most=10.0),
        Figure("added by Duologue, p50", at["duologue", 50] - at["direct", 50], "ms"),
        Figure("added by the pass-through, p99", at["passthrough", 99] - at["direct", 99], "ms"),
        Figure("added by the pass-through, p50", at["passthrough", 50] - at["direct", 50], "ms"),
        Figure("direct, p99", at["direct", 99], "ms"),
        Figure("direct, p50", at["direct", 50], "ms"),
        Figure("question durable and acknowledged, p99", at["acknowledged", 99], "ms"),
        Figure("question durable and acknowledged, p50", at["acknowledged", 50], "ms"),
        Figure("from there to the first token, p99", at["after", 99], "ms"),
        Figure("from there to the first token, p50", at["after", 50], "ms"),
        Figure("the disk alone, one synced write, p99", at["disk", 99], "ms"),
        Figure("the disk alone, one synced write, p50", at["disk", 50], "ms"),
    ]


def _commit_figures(before: dict[float, float], after: dict[float, float]) -> list[Figure]:
    """What the server itself says of its commits: only the upper bound of a bucket is known."""
    figures = []
    for share in (0.99, 0.5):
        bound = histogram_quantile(before, after, share)
        if bound is not None and bound != math.inf:
            figures.append(
                Figure(f"the commit alone (/metrics), p{100 * share:.0f} at most", 1000 * bound, "ms")
            )
    return figures


async def _round(scene: Scene) -> dict[str, list[float]]:
    sizes = scene.sizes
    path, tokens = scene.modes()["first_token"], scene.tokens("first_token")
    direct = await scene.client.do(
        "direct",
        port=scene.upstream_port,
        path=path,
        tokens=tokens,
        count=sizes.first_token_turns,
        over=sizes.first_token_over,
    )
    turns: dict[str, list[dict[str, Any]]] = {}
    for kind in ("passthrough", "duologue"):
        done = await scene.client.do(
            "turns", group=kind, path=path, tokens=tokens, over=sizes.first_token_over
        )
        turns[kind] = done["turns"]
    return {
        "direct": direct["first_token"],
        "passthrough": [turn["first_token"] for turn in turns["passthrough"]],
        "duologue": [turn["first_token"] for turn in turns["duologue"]],
        "acknowledged": [turn["acknowledged"] for turn in turns["duologue"]],
        "after": [turn["first_token"] - turn["acknowledged"] for turn in turns["duologue"]],
    }


def _time_disk(file: Path) -> list[float]:
    """Seconds of each of some small synced writes where the store has its files."""
    taken = []
    with file.open("ab", buffering=0) as sink:
        for _ in range(_DISK_WRITES):
            sink.write(bytes(_DISK_BYTES))
            started = time.perf_counter()
            os.fdatasync(sink.fileno())
            taken.append(time.perf_counter() - started)
    return taken


async def _commits(server: Server) -> dict[float, float]:
    _, body = await read_http(server.port, "/metrics")
    return parse_histogram(body.decode(), _COMMITS)
