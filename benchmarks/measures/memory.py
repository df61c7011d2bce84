"""Memory of the server process for each connected dialogue that says nothing.

Each connection opens a dialogue, watches it and takes one short turn, as every dialogue that was ever used has. The
kernel's own memory for sockets is in no process and is not counted; the load client is another process.
"""

import asyncio
from collections.abc import Callable

from benchmarks.figures import Figure, Measure
from benchmarks.processes import Memory
from benchmarks.scene import Scene, Server

__all__ = ["measure_memory"]

_WARM = 50
_SETTLE = 2.0


async def measure_memory(scene: Scene, say: Callable[[str], None]) -> Measure:
    """Before any of them, when all are connected, and when each has had its turn."""
    count = scene.sizes.connections
    measure = Measure("memory", "Memory per connected idle dialogue")
    measure.inputs = {"connections": count, "turns_each": 1, "tokens_per_answer": scene.tokens("short")}
    async with scene.duologue(data="memory") as server:
        await _open(scene, server, "warm", _WARM)  # code, pools and caches are there before the first reading
        await scene.client.do("close", group="warm")
        before = await _settled(server)
        await _open(scene, server, "idle", count, turn=False)
        connected = await _settled(server)
        say(f"{count:,} connected: {(connected.rss - before.rss) / count:.1f} KiB each")
        await scene.client.do(
            "turns", group="idle", path=scene.modes()["short"], tokens=scene.tokens("short"), at_once=_WARM
        )
        after = await _settled(server)
        say(f"after one turn each: {(after.rss - before.rss) / count:.1f} KiB each")
        await scene.client.do("close", group="idle")
    measure.details = {
        "kib": {"before": vars(before), "connected": vars(connected), "after_a_turn": vars(after)}
    }
    measure.figures = [
        Figure("after one turn, RSS", (after.rss - before.rss) / count, "KiB", at_most=40.0),
        Figure("after one turn, PSS", (after.pss - before.pss) / count, "KiB"),
        Figure("opened and watched only, RSS", (connected.rss - before.rss) / count, "KiB", at_most=40.0),
        Figure("the server before, RSS", before.rss / 1024, "MiB"),
    ]
    return measure


async def _open(scene: Scene, server: Server, group: str, count: int, *, turn: bool = True) -> None:
    await scene.client.do("connect", group=group, kind="duologue", port=server.port, count=count)
    await scene.client.do("open", group=group, feature="short")
    if turn:
        await scene.client.do("turns", group=group, path=scene.modes()["short"], tokens=scene.tokens("short"))


async def _settled(server: Server) -> Memory:
    await asyncio.sleep(_SETTLE)
    return server.process.memory()
