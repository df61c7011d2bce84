"""The run for people, a table with the issue's targets, and for machines, one line of JSON."""

import json
from collections.abc import Sequence

from benchmarks.figures import Figure
from benchmarks.kernel.peers import Peer
from benchmarks.kernel.rounds import LOOPS, Samples

__all__ = ["figures_of", "json_line", "table", "peer_table"]

_BEAM = {"call": 580_000, "cast": 6_500_000, "start": 260_000}
"""A second, of an Elixir GenServer on one core of such a machine."""
PEER_FACTOR = 5.0
_GROWTH_MAX = 3.0
"""How much dearer a child may be among ten times as many. Linear is 1, plus what the garbage collector takes to look at
ten times as many objects, which is up to as much again; what is not linear would be 10.
"""


def figures_of(
    samples: Samples, resident: float | None, *, many: int, whole: bool
) -> list[tuple[Figure, str]]:
    """Each figure of the table on uvloop, and the same on asyncio beside it.

    Args:
        samples: Of all rounds.
        resident: Bytes that a process grows by with `many` idle actors; `None`: not known.
        many: How many actors were started and stopped.
        whole: Whether the sizes are those that may be judged.
    """

    def us(loop: str, subject: str, name: str) -> float:
        return samples.median(loop, subject, name) * 1e6

    def ratio(loop: str, name: str) -> float:
        return samples.median(loop, "ours", name) / samples.median(loop, "bare", name)

    def line(name: str, value: float, other: float, unit: str, at_most: float | None = None) -> None:
        lines.append((Figure(name, value, unit, at_most=at_most, judged=whole), f"{other:.3g}"))

    lines: list[tuple[Figure, str]] = []
    for name, text, at_most in (
        ("call", "call", 1.0),
        ("concurrent_calls", "call, 100 callers", None),
        ("cast", "cast", 1.0),
        ("start", "start", None),
    ):
        line(text, us("uvloop", "ours", name), us("asyncio", "ours", name), "us")
        line("  bare queue", us("uvloop", "bare", name), us("asyncio", "bare", name), "us")
        line("  ratio", ratio("uvloop", name), ratio("asyncio", name), "x", at_most)
        if name in _BEAM:
            ahead = {loop: _BEAM[name] * us(loop, "ours", name) / 1e6 for loop in LOOPS}
            line("  BEAM ahead", ahead["uvloop"], ahead["asyncio"], "x")
    line(
        "crash to answering",
        us("uvloop", "ours", "restart") / 1e3,
        us("asyncio", "ours", "restart") / 1e3,
        "ms",
        1.0,
    )
    line("  bare task", us("uvloop", "bare", "restart") / 1e3, us("asyncio", "bare", "restart") / 1e3, "ms")
    idle = {key[:2]: samples.median(*key) for key in samples.of if key[2] == "idle_bytes"}
    line("idle actor", idle["uvloop", "ours"], idle["asyncio", "ours"], "bytes", 1024)
    line("  bare queue and task", idle["uvloop", "bare"], idle["asyncio", "bare"], "bytes")
    if resident is not None:
        line(f"{many:,} idle, process grows by", resident / 1e6, float("nan"), "MB", 250)
    for which in ("start", "stop"):
        whole_run = {
            (loop, who): samples.median(loop, who, f"many_{which}")
            for loop in LOOPS
            for who in ("ours", "bare")
        }
        tenth = {loop: samples.median(loop, "ours", f"tenth_{which}") for loop in LOOPS}
        line(f"{many:,} {which}", whole_run["uvloop", "ours"], whole_run["asyncio", "ours"], "s")
        line("  bare tasks", whole_run["uvloop", "bare"], whole_run["asyncio", "bare"], "s")
        growth = {loop: whole_run[loop, "ours"] / (10 * tenth[loop]) for loop in LOOPS}
        line(f"  each, to one of {many // 10:,}", growth["uvloop"], growth["asyncio"], "x", _GROWTH_MAX)
    return lines


def json_line(samples: Samples) -> str:
    """The uvloop figures."""

    def of(name: str, subject: str = "ours") -> float:
        return samples.median("uvloop", subject, name)

    return json.dumps(
        {
            "call_us": round(of("call") * 1e6, 3),
            "queue_call_us": round(of("call", "bare") * 1e6, 3),
            "cast_us": round(of("cast") * 1e6, 3),
            "queue_cast_us": round(of("cast", "bare") * 1e6, 3),
            "start_us": round(of("start") * 1e6, 3),
            "restart_ms": round(of("restart") * 1e3, 4),
            "idle_bytes": round(of("idle_bytes"), 1),
            "hundred_k_start_s": round(of("many_start"), 3),
            "hundred_k_stop_s": round(of("many_stop"), 3),
        }
    )


def table(lines: Sequence[tuple[Figure, str]]) -> str:
    """One figure a line: uvloop, asyncio, target and whether it is met (on uvloop)."""
    rows = [("", "uvloop", "asyncio", "", "target", "")]
    for figure, other in lines:
        verdict = {True: "pass", False: "FAIL", None: "not judged" if figure.target else ""}[figure.passed]
        rows.append(
            (
                figure.name,
                f"{figure.value:.3g}",
                other.replace("nan", ""),
                figure.unit,
                figure.target,
                verdict,
            )
        )
    return _columns(rows)


def peer_table(ours_us: float, peers: Sequence[Peer]) -> tuple[str, bool]:
    """The peers' calls next to ours, and whether each is at least five times as dear."""
    rows = [("", "us a call", "calls/s", "ours is faster by", "target", "")]
    rows.append(("duologue.runtime", f"{ours_us:.3g}", f"{1e6 / ours_us:,.0f}", "", "", ""))
    good = True
    for peer in peers:
        if peer.call_us is None:
            rows.append((peer.name, peer.missing or "", "", "", "", "not measured"))
            continue
        factor = peer.call_us / ours_us
        good = good and factor >= PEER_FACTOR
        verdict = "pass" if factor >= PEER_FACTOR else "FAIL"
        rows.append(
            (
                f"{peer.name} {peer.version}",
                f"{peer.call_us:.3g}",
                f"{1e6 / peer.call_us:,.0f}",
                f"{factor:.1f} x",
                f">= {PEER_FACTOR:g}",
                verdict,
            )
        )
    return _columns(rows), good


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in {0, 3, 5} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
