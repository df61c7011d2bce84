"""The table of rules names tests that exist."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def _rows() -> list[list[str]]:
    lines = (HERE / "rules.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][
        2:
    ]


def _tests_of(name: str) -> set[str]:
    folder, _, stem = name.rpartition("/")
    path = (HERE / "conformance" if folder else HERE) / f"test_{stem}.py"
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_rule_is_there_once_and_in_order():
    numbers = [int(row[0]) for row in _rows() if row[0].isdigit()]
    assert numbers == list(range(1, 62))


def test_every_rule_names_tests_and_each_of_them_exists():
    for number, _, held_by in _rows():
        names = re.findall(r"`([a-z_/]+)::([a-z_0-9]+)`", held_by)
        assert names, f"rule {number} names no test"
        assert len(names) == held_by.count("`") // 2, f"rule {number} names something else"
        for file, test in names:
            assert f"test_{test}" in _tests_of(file), f"rule {number}: {file}::{test}"


def test_every_deviation_is_in_the_documents_table():
    document = (HERE.parents[1] / "docs" / "actors.md").read_text()
    table = document.partition("## Deviations")[2]
    assert table.count("\n|") >= 2 + sum("(D" in rule for _, rule, _ in _rows())
