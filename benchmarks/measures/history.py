"""What a turn costs the server with a short and with a long history, the provider's request aside.

The turns go to the `scripted` provider, which takes the request and makes nothing of it: no JSON, no HTTP. What is
left of the request is the list of its messages, which the dialogue makes anew for each turn. Its cost is measured
alone (benchmarks/prompt_cost.py: the same function on a history of the same length, in its own process) and taken off.
Both the whole and the difference are shown. What building the JSON costs is shown for scale; it is in neither.
"""

from collections.abc import Callable
from typing import Any

import orjson

from benchmarks.figures import Figure, Measure, median
from benchmarks.processes import start
from benchmarks.scene import SCRIPTED_ANSWER, Scene, Server, Sizes

__all__ = ["measure_history"]

_TURNS_PER_SHORT = 5
"""Turns on one short dialogue in a round: it grows from 10 messages to 20, not to hundreds."""


async def measure_history(scene: Scene, say: Callable[[str], None]) -> Measure:
    """Rounds on short dialogues and on a long one by turns; new short ones for each round."""
    sizes = scene.sizes
    measure = Measure("history", "Cost of a turn, by length of the history")
    measure.inputs = {
        "short": sizes.history_short,
        "long": sizes.history_long,
        "turns_per_round": sizes.history_turns,
        "rounds": sizes.history_rounds,
    }
    async with scene.duologue(data="history") as server:
        await _connect(scene, server, "long", 1)
        await scene.client.do("open", group="long", feature="scripted")
        await _turns(scene, "long", sizes.history_long // 2, timeout=300.0)
        say(f"a dialogue with {sizes.history_long:,} messages is there")
        shorts = sizes.history_turns // _TURNS_PER_SHORT
        await _connect(scene, server, "short", shorts)
        costs: dict[str, list[float]] = {"short": [], "long": []}
        for number in range(sizes.history_rounds):
            await scene.client.do("open", group="short", feature="scripted")
            await _turns(scene, "short", shorts * sizes.history_short // 2)
            for group, values in costs.items():
                before = server.process.cpu()
                await _turns(scene, group, sizes.history_turns)
                values.append(1000 * server.process.cpu().since(before).server / sizes.history_turns)
            short, long = (values[-1] for values in costs.values())
            say(f"round {number + 1}/{sizes.history_rounds}: short {short:.2f} ms, long {long:.2f} ms a turn")
    # Each of its turns made the long one longer by two: its prompt is measured as it was half way.
    length = sizes.history_long + sizes.history_rounds * sizes.history_turns
    prompt = await _prompt_costs(scene, [sizes.history_short + _TURNS_PER_SHORT, length])
    measure.details = {"cpu_ms_per_turn": costs, "prompt_ms": prompt}
    measure.figures = _figures(scene, {group: median(values) for group, values in costs.items()}, prompt)
    return measure


def _figures(scene: Scene, cost: dict[str, float], prompt: list[dict[str, float]]) -> list[Figure]:
    short, long = prompt
    net = (cost["long"] - long["messages"]) / (cost["short"] - short["messages"])
    return [
        Figure(
            "ratio, long to short, request aside",
            net,
            "x",
            at_most=1.2,
            judged=scene.sizes.history_long >= Sizes.history_long,
        ),
        Figure("ratio, long to short, whole", cost["long"] / cost["short"], "x"),
        Figure("a turn, short history", cost["short"], "CPU-ms"),
        Figure("a turn, long history", cost["long"], "CPU-ms"),
        Figure("of it the request's list, long", long["messages"], "CPU-ms"),
        Figure("its JSON (in none of the above), long", long["json"], "CPU-ms"),
    ]


async def _connect(scene: Scene, server: Server, group: str, count: int) -> None:
    await scene.client.do("connect", group=group, kind="duologue", port=server.port, count=count)


async def _turns(scene: Scene, group: str, times: int, *, timeout: float = 180.0) -> None:
    """One after the other: nothing runs beside the turn that is measured."""
    await scene.client.do("repeat", group=group, expected=SCRIPTED_ANSWER, times=times, timeout=timeout)


async def _prompt_costs(scene: Scene, lengths: list[int]) -> list[dict[str, Any]]:
    command = ["benchmarks.prompt_cost", *map(str, lengths)]
    async with start("prompt_cost", command, directory=scene.directory) as process:
        costs: list[dict[str, Any]] = orjson.loads(await process.first_line(timeout=60.0))
        return costs
