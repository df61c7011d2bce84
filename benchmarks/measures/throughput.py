"""Tokens per CPU-second, ours and the pass-through's, in alternating rounds of one run.

A round is one whole turn on each of the connections, from the first question to the last end of an answer: the
request, the commits and the ends are in it. Tokens count only when every answer was complete and right.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import orjson

from benchmarks.figures import Figure, Measure, median
from benchmarks.processes import read_http
from benchmarks.scene import Scene, Server

__all__ = ["LATE_SHARE_MAX", "Pair", "Round", "measure_flood", "measure_paced"]

LATE_SHARE_MAX = 0.01
"""Share of tokens that the upstream may write more than an interval late. Late ones come in clumps, so a busy machine
makes a paced round look cheaper than it is: such a pair of rounds is not counted and run again."""
_DISTURBED_MAX = 2
"""How many pairs may be lost so before the measure is invalid."""


@dataclass(frozen=True)
class Round:
    """What one server did in one round."""

    tokens: int
    seconds: float
    cpu_seconds: float
    store_cpu_seconds: float
    tokens_per_cpu_second: float
    tokens_per_second: float
    tokens_per_frame: float
    late_tokens: int


@dataclass(frozen=True)
class Pair:
    """Two rounds, one right after the other: compared with each other, so that the machine's mood cancels out."""

    theirs: Round
    ours: Round

    @property
    def ratio(self) -> float:
        return self.ours.tokens_per_cpu_second / self.theirs.tokens_per_cpu_second

    @property
    def late_share(self) -> float:
        return (self.ours.late_tokens + self.theirs.late_tokens) / (self.ours.tokens + self.theirs.tokens)


async def measure_flood(scene: Scene, say: Callable[[str], None]) -> Measure:
    """The upstream as fast as it can."""
    measure = Measure("flood", "Flood: the upstream as fast as it can")
    return await _compare(scene, measure, rounds=scene.sizes.flood_rounds, ratio_at_least=1.3, say=say)


async def measure_paced(scene: Scene, say: Callable[[str], None]) -> Measure:
    """The upstream at a model's pace, one token per write."""
    measure = Measure("paced", f"Paced: {scene.sizes.paced_rate} tokens/s for each dialogue")
    return await _compare(scene, measure, rounds=scene.sizes.paced_rounds, ratio_at_least=0.75, say=say)


async def _compare(
    scene: Scene, measure: Measure, *, rounds: int, ratio_at_least: float, say: Callable[[str], None]
) -> Measure:
    measure.inputs = {
        "dialogues": scene.sizes.dialogues,
        "viewers_per_dialogue": 1,
        "tokens_per_answer": scene.tokens(measure.name),
        "rounds": rounds,
        "upstream": scene.modes()[measure.name],
    }
    pairs: list[Pair] = []
    disturbed: list[Pair] = []
    async with scene.passthrough() as baseline, scene.duologue(data=measure.name) as ours:
        for server in (baseline, ours):
            await scene.client.do(
                "connect", group=server.kind, kind=server.kind, port=server.port, count=scene.sizes.dialogues
            )
            await _round(scene, server, "warm")
        while len(pairs) < rounds:
            pair = Pair(await _round(scene, baseline, measure.name), await _round(scene, ours, measure.name))
            (disturbed if pair.late_share > LATE_SHARE_MAX else pairs).append(pair)
            say(_line(pair, len(pairs), rounds))
            if len(disturbed) > _DISTURBED_MAX:
                measure.invalid = f"the machine is too busy: {len(disturbed)} rounds were written late"
                break
        for server in (baseline, ours):
            await scene.client.do("close", group=server.kind)
    measure.details = {
        "rounds": [asdict(pair) for pair in pairs],
        "disturbed": [asdict(pair) for pair in disturbed],
    }
    measure.figures = _figures(pairs or disturbed, ratio_at_least)
    return measure


def _line(pair: Pair, number: int, rounds: int) -> str:
    late = f", {100 * pair.late_share:.1f} % late: disturbed" if pair.late_share > LATE_SHARE_MAX else ""
    ours, theirs = pair.ours.tokens_per_cpu_second, pair.theirs.tokens_per_cpu_second
    return f"round {number}/{rounds}: {ours:,.0f} to {theirs:,.0f} tokens/CPU-s, ratio {pair.ratio:.2f}{late}"


def _figures(pairs: Sequence[Pair], ratio_at_least: float) -> list[Figure]:
    def middle(name: str, side: str) -> float:
        return median([getattr(getattr(pair, side), name) for pair in pairs])

    return [
        Figure("Duologue", middle("tokens_per_cpu_second", "ours"), "tokens/CPU-s"),
        Figure("pass-through", middle("tokens_per_cpu_second", "theirs"), "tokens/CPU-s"),
        Figure("ratio", median([pair.ratio for pair in pairs]), "x", at_least=ratio_at_least),
        Figure("Duologue, tokens per frame", middle("tokens_per_frame", "ours"), ""),
        Figure("Duologue's store, apart", middle("store_cpu_seconds", "ours"), "CPU-s a round"),
        Figure("Duologue, wall clock", middle("tokens_per_second", "ours"), "tokens/s"),
        Figure("pass-through, wall clock", middle("tokens_per_second", "theirs"), "tokens/s"),
        Figure("written late by the upstream", 100 * max(pair.late_share for pair in pairs), "%"),
    ]


async def _round(scene: Scene, server: Server, mode: str) -> Round:
    """One turn on each connection. Dialogues are new, so that no round carries the history of another."""
    await scene.client.do("open", group=server.kind, feature=mode)
    late, before = await _late_tokens(scene), server.process.cpu()
    done = await scene.client.do(
        "turns", group=server.kind, path=scene.modes()[mode], tokens=scene.tokens(mode)
    )
    used = server.process.cpu().since(before)
    tokens = sum(turn["tokens"] for turn in done["turns"])
    return Round(
        tokens=tokens,
        seconds=done["seconds"],
        cpu_seconds=used.server,
        store_cpu_seconds=used.store,
        tokens_per_cpu_second=tokens / max(used.server, 0.01),
        tokens_per_second=tokens / done["seconds"],
        tokens_per_frame=tokens / sum(turn["frames"] for turn in done["turns"]),
        late_tokens=await _late_tokens(scene) - late,
    )


async def _late_tokens(scene: Scene) -> int:
    _, body = await read_http(scene.upstream_port, "/stats")
    late: int = orjson.loads(body)["late_tokens"]
    return late
