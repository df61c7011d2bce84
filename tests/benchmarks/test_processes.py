import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measures.throughput import Pair, Round
from benchmarks.processes import (
    ROOT,
    ClientProcess,
    Cpu,
    InvalidRun,
    free_port,
    parse_cpu_ticks,
    parse_memory,
    read_http,
    start,
)
from benchmarks.scene import Scene, Sizes, build_configuration
from duologue.config import load_settings


def test_cpu_is_found_behind_any_command_name():
    stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 3 20 10 20 0 1 0 100 0 0"
    assert parse_cpu_ticks(stat) == (10, 30)


def test_memory_is_read_from_the_kernels_summary():
    rollup = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:        1234 kB\nPss:         567 kB\nPss_Dirty:  1 kB\n"
    memory = parse_memory(rollup)
    assert (memory.rss, memory.pss) == (1234, 567)


def test_the_store_is_counted_apart():
    assert Cpu(5.0, 1.0).since(Cpu(3.0, 0.5)) == Cpu(2.0, 0.5)


async def test_cpu_of_helpers_is_counted_and_they_are_ended_with_their_parent(tmp_path):
    async with start("helped", ["tests.benchmarks.helped"], directory=tmp_path) as process:
        helper = int(await process.first_line())
        assert await process.first_line() == "burnt"
        assert process.cpu().server >= 0.2, "the helper burns that much, its parent nearly nothing"
        assert process.memory().rss > 5_000
    state = Path(f"/proc/{helper}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_process_that_ended_makes_the_run_invalid_and_says_its_last_words(tmp_path):
    async with start("broken", ["tests.benchmarks.nothing_of_that_name"], directory=tmp_path) as process:
        with pytest.raises(InvalidRun, match=r"broken ended with 1.*nothing_of_that_name"):
            await process.first_line()


async def test_the_client_tells_what_was_wrong(tmp_path):
    async with start("client", ["benchmarks.client"], directory=tmp_path, kind=ClientProcess) as client:
        with pytest.raises(InvalidRun, match="ConnectionRefused"):
            await client.do("connect", group="g", kind="duologue", port=free_port(), count=1)


async def test_nobody_at_a_port_is_status_0():
    assert await read_http(free_port(), "/readyz") == (0, b"")


def test_the_configuration_is_one_that_the_server_takes(tmp_path):
    scene = Scene(upstream_port=1, client=None, directory=tmp_path, sizes=Sizes())
    file = tmp_path / "bench.toml"
    file.write_text(
        build_configuration(port=2, upstream_port=1, data_dir=tmp_path / "data", modes=scene.modes())
    )
    settings = load_settings(file, environ={})
    assert set(settings.features) >= {"flood", "paced", "short", "scripted"}
    assert scene.tokens("paced") == 1000


def _round(rate, *, late=0):
    return Round(1000, 1.0, 1.0, 0.0, rate, 1000.0, 1.0, late)


def test_a_pair_of_rounds_is_disturbed_by_late_tokens_of_either():
    assert Pair(theirs=_round(10.0), ours=_round(15.0)).ratio == 1.5
    assert Pair(theirs=_round(10.0, late=30), ours=_round(15.0, late=10)).late_share == 0.02


def test_the_command_says_what_it_can_do():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout and "history" in done.stdout
