"""The kernel's benchmark, made small: that it measures what it says, and judges it rightly."""

import json
import sys

import pytest

from benchmarks.kernel import __main__ as program
from benchmarks.kernel import bare, ours
from benchmarks.kernel.peers import PEERS, Peer, measure_peers
from benchmarks.kernel.report import figures_of, json_line, peer_table, table
from benchmarks.kernel.rounds import LOOPS, Samples, Sizes, measure, run_in

TINY = Sizes(rounds=1, calls=200, casts=200, starts=20, restarts=3, idle=200, many=100, many_rounds=1)
FIELDS = [
    "call_us",
    "queue_call_us",
    "cast_us",
    "queue_cast_us",
    "start_us",
    "restart_ms",
    "idle_bytes",
    "hundred_k_start_s",
    "hundred_k_stop_s",
]


@pytest.fixture(scope="module")
def samples():
    return measure(TINY, lambda what: None)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("subject", [ours, bare], ids=["ours", "bare"])
@pytest.mark.parametrize("name", ["call", "concurrent_calls", "cast", "start", "restart"])
def test_each_measure_checks_its_answers_and_takes_some_time(loop, subject, name):
    assert run_in(loop, getattr(subject, name)(100)) > 0


def test_each_figure_is_taken_of_both_and_on_both_loops(samples):
    whose = {(loop, subject) for loop in LOOPS for subject in ("ours", "bare")}
    assert {key[:2] for key in samples.of} == whose
    for pair in whose:
        assert {key[2] for key in samples.of if key[:2] == pair} == {
            key[2] for key in samples.of if key[:2] == ("uvloop", "ours")
        }
    assert all(value > 0 for values in samples.of.values() for value in values)


def test_an_idle_actors_bytes_are_no_more_than_its_kibibyte_and_a_task_costs_more(samples):
    assert 100 < samples.median("uvloop", "ours", "idle_bytes") <= 1024
    assert samples.median("uvloop", "bare", "idle_bytes") > 2000


def test_the_line_for_machines_has_the_uvloop_figures_in_their_units(samples):
    line = json.loads(json_line(samples))
    assert list(line) == FIELDS
    assert line["call_us"] == pytest.approx(samples.median("uvloop", "ours", "call") * 1e6, abs=0.001)
    assert line["queue_cast_us"] == pytest.approx(samples.median("uvloop", "bare", "cast") * 1e6, abs=0.001)
    assert line["restart_ms"] == pytest.approx(samples.median("uvloop", "ours", "restart") * 1e3, abs=0.001)
    assert line["hundred_k_stop_s"] == pytest.approx(samples.median("uvloop", "ours", "many_stop"), abs=0.001)


def test_the_program_prints_that_line_last(monkeypatch, capsys):
    monkeypatch.setattr(Sizes, "quick", classmethod(lambda cls: TINY))
    monkeypatch.setattr(sys, "argv", ["benchmarks.kernel", "--quick", "--json"])
    assert program.main() == 0, "a small run is not judged"
    *shown, last = capsys.readouterr().out.splitlines()
    assert list(json.loads(last)) == FIELDS
    assert any("not judged" in line for line in shown)


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────────


def made_up(**times: float) -> Samples:
    """Everything takes a second, or counts one, but what is named."""
    made = Samples()
    names = ("call", "concurrent_calls", "cast", "start", "restart", "idle_bytes")
    for loop in LOOPS:
        for subject in ("ours", "bare"):
            for name in (*names, "many_start", "many_stop", "tenth_start", "tenth_stop"):
                made.add(loop, subject, name, times.get(f"{subject}_{name}", 1.0))
    return made


def failed(made: Samples, resident: float = 0.0) -> list[str]:
    lines = figures_of(made, resident, many=100_000, whole=True)
    return [figure.name.strip() for figure, _ in lines if figure.passed is False]


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        ({}, []),
        ({"ours_call": 1.01}, ["ratio"]),
        ({"ours_call": 0.9, "ours_cast": 1.01}, ["ratio"]),
        ({"ours_concurrent_calls": 9.0, "ours_start": 9.0}, []),
        ({"ours_restart": 0.00101}, ["crash to answering"]),
        ({"ours_idle_bytes": 1025.0}, ["idle actor"]),
        ({"ours_many_start": 31.0}, ["each, to one of 10,000"]),
        ({"ours_many_stop": 31.0}, ["each, to one of 10,000"]),
    ],
)
def test_a_target_that_is_missed_is_said(times, wrong):
    assert failed(made_up(**{"ours_restart": 0.001, **times})) == wrong


def test_so_is_memory():
    assert failed(made_up(ours_restart=0.001), resident=250e6) == []
    assert failed(made_up(ours_restart=0.001), resident=251e6) == ["100,000 idle, process grows by"]


def test_the_table_has_both_loops_target_and_verdict():
    shown = table(figures_of(made_up(ours_call=3.0), None, many=100_000, whole=True)).splitlines()
    assert shown[0].split() == ["uvloop", "asyncio", "target"]
    (ratio,) = [line for line in shown if "FAIL" in line and "ratio" in line]
    assert ratio.split() == ["ratio", "3", "3", "x", "<=", "1", "FAIL"]


# ── peers ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_peer_is_judged_by_how_much_dearer_its_call_is():
    text, good = peer_table(2.0, [Peer("slow", "1.0", 10.0), Peer("gone", missing="not installed")])
    assert good
    assert "500,000" in text
    assert "5.0 x" in text
    assert "not installed" in text
    text, good = peer_table(2.0, [Peer("slow", "1.0", 10.0), Peer("quick", "1.0", 9.9)])
    assert not good
    assert text.endswith("FAIL")


def test_a_peer_that_is_not_installed_is_left_out():
    peers, ours_us = measure_peers(1, 10)
    assert [peer.name for peer in peers] == list(PEERS)
    assert ours_us > 0
    assert all((peer.call_us is None) == (peer.missing is not None) for peer in peers)
