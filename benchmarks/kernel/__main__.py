"""Measure the kernel: `python -m benchmarks.kernel [--quick] [--json] [--peers]`. See benchmarks/README.md."""

import argparse
import io
import json
import logging
import subprocess
import sys

from benchmarks.kernel import rounds
from benchmarks.kernel.peers import measure_peers
from benchmarks.kernel.report import figures_of, json_line, peer_table, table


def main() -> int:
    """0: all that was judged passed. 1: something was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look in some seconds, judged by nothing")
    parser.add_argument("--json", action="store_true", help="print the uvloop figures as a last line of JSON")
    parser.add_argument("--peers", action="store_true", help="only calls, next to other actor libraries")
    parser.add_argument("--resident", type=int, metavar="COUNT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # Crash reports are made as ever, and written to nobody.
    logging.basicConfig(stream=io.StringIO(), level=logging.WARNING)
    if arguments.resident is not None:
        print(rounds.run_in("uvloop", rounds.resident_bytes(arguments.resident)))
        return 0
    sizes = rounds.Sizes.quick() if arguments.quick else rounds.Sizes()
    if arguments.peers:
        return _peers(sizes)
    samples = rounds.measure(sizes, lambda what: print(f"measuring {what} ...", file=sys.stderr))
    lines = figures_of(samples, _resident(sizes), many=sizes.many, whole=not arguments.quick)
    print(table(lines))
    if arguments.json:
        print(json_line(samples))
    return int(any(figure.passed is False for figure, _ in lines))


def _peers(sizes: rounds.Sizes) -> int:
    peers, ours_us = measure_peers(sizes.rounds, sizes.calls // 10)
    text, good = peer_table(ours_us, peers)
    print(text)
    return int(not good)


def _resident(sizes: rounds.Sizes) -> float | None:
    """In a process that has held nothing yet; `None` where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernel", "--resident", str(sizes.many)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    sys.exit(main())
