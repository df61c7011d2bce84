"""Run the measures: `python -m benchmarks [--quick] [--only NAME]... [--json FILE]`. See benchmarks/README.md."""

import argparse
import asyncio
import datetime as dt
import resource
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Measure
from benchmarks.measures import MEASURES
from benchmarks.processes import InvalidRun
from benchmarks.report import describe_machine, print_table, write_json
from benchmarks.scene import Scene, Sizes


def main() -> int:
    """0: all that was judged passed. 1: something was missed or invalid."""
    arguments = _parse()
    _raise_file_limit()
    # A file or a pipe gets the table as wide as it is.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    started_at, started = dt.datetime.now(dt.UTC), time.monotonic()
    sizes = Sizes.quick() if arguments.quick else Sizes()
    measures, machine = asyncio.run(_run(arguments.only or list(MEASURES), sizes, console))
    seconds = time.monotonic() - started
    console.print()
    print_table(measures, console)
    console.print(f"{seconds:.0f} s on {machine['cpu']}, {machine['cores']} cores")
    if arguments.json:
        write_json(
            arguments.json,
            measures,
            sizes=sizes,
            machine=machine,
            started_at=started_at.isoformat(timespec="seconds"),
            seconds=seconds,
        )
        console.print(f"written to {arguments.json}")
    missed = any(figure.passed is False for measure in measures for figure in measure.figures)
    return int(missed or any(measure.invalid for measure in measures))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look in about a minute, with rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument(
        "--only", action="append", choices=list(MEASURES), help="this measure; may be repeated"
    )
    return parser.parse_args()


async def _run(names: list[str], sizes: Sizes, console: Console) -> tuple[list[Measure], dict[str, object]]:
    measures = []
    async with Scene.open(sizes) as scene:
        machine = describe_machine(scene.directory)
        for name in names:
            console.print(f"[bold]{name}[/bold]")
            try:
                measure = await MEASURES[name](scene, lambda line: console.print(f"  {line}", markup=False))
            except (InvalidRun, OSError, TimeoutError) as exc:
                measure = Measure(name, name, invalid=f"{type(exc).__name__}: {exc}")
                console.print(f"  invalid: {exc}", markup=False)
            measures.append(measure)
    return measures, machine


def _raise_file_limit() -> None:
    """Thousands of sockets: the children inherit what is allowed at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
