"""`kernel.py` beside this file is for type checkers; these tests see to it that they really look."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
KERNEL = HERE / "kernel.py"
IGNORE = re.compile(r"  # type: ignore\[(.+)\]$")


def expected() -> dict[int, str]:
    """The lines that must be errors, with mypy's code for each."""
    lines = enumerate(KERNEL.read_text(encoding="utf-8").splitlines(), 1)
    return {number: found[1] for number, line in lines if (found := IGNORE.search(line))}


def without_ignores(folder: Path) -> Path:
    lines = KERNEL.read_text(encoding="utf-8").splitlines()
    file = folder / "kernel.py"
    file.write_text("\n".join(IGNORE.sub("", line) for line in lines), encoding="utf-8")
    return file


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=110)
    return done.stdout + done.stderr


def test_there_is_something_to_find():
    assert len(expected()) > 20


def test_mypy_finds_each_mistake_where_it_is_and_nothing_else(tmp_path):
    shown = run(
        sys.executable,
        "-m",
        "mypy",
        "--show-error-codes",
        "--no-error-summary",
        str(without_ignores(tmp_path)),
    )
    errors = re.findall(r"kernel\.py:(\d+): error: .*\[([\w-]+)\]$", shown, re.MULTILINE)
    assert {int(line): code for line, code in errors} == expected(), shown


def test_pyright_finds_each_mistake_where_it_is_and_nothing_else(tmp_path):
    pyright = PROJECT / ".venv/pyright/bin/basedpyright"
    if not pyright.exists():
        pytest.skip("pyright is not installed: `make check` does it")
    without_ignores(tmp_path)
    config = (HERE / "pyrightconfig.json").read_text(encoding="utf-8").replace("../..", str(PROJECT))
    (tmp_path / "pyrightconfig.json").write_text(config, encoding="utf-8")
    shown = run(str(pyright), "--project", str(tmp_path))
    errors = re.findall(r"kernel\.py:(\d+):\d+ - error: ", shown)
    assert {int(line) for line in errors} == set(expected()), shown
