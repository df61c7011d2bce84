"""What `import duologue` promises: the names, where they come from, and what is not loaded."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import duologue
from duologue import errors
from duologue.errors import DuologueError

PACKAGE = Path(duologue.__file__).parent


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after a statement, beyond those it starts with."""
    say = "print(json.dumps(sorted(set(sys.modules) - before)))"
    program = f"import sys, json; before = set(sys.modules); {statement}; {say}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(json.loads(done.stdout))


def third_party(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return tops - set(sys.stdlib_module_names) - {"duologue"}


@pytest.mark.parametrize("name", [name for name in duologue.__all__ if not name.startswith("_")])
def test_each_public_name_is_there(name):
    assert getattr(duologue, name) is not None


def test_the_public_names_have_no_doubles_and_are_listed_by_dir():
    assert len(set(duologue.__all__)) == len(duologue.__all__)
    assert set(duologue.__all__) <= set(dir(duologue))


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = duologue.nonsense


def test_each_name_is_loaded_from_where_it_is_said_to_be():
    for home, names in duologue._HOMES.items():
        module = importlib.import_module(home)
        for name in names:
            assert getattr(duologue, name) is getattr(module, name)


def test_the_type_checker_sees_the_names_that_there_are():
    tree = ast.parse(inspect.getsource(duologue))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (statement.module, alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    there = {(home, name) for home, names in duologue._HOMES.items() for name in names}
    assert seen == there | {("duologue", room) for room in duologue._ROOMS}


def test_every_error_that_can_be_raised_is_public():
    assert set(errors.__all__) <= set(duologue.__all__)
    assert all(issubclass(getattr(duologue, name), DuologueError) for name in errors.__all__)


def test_importing_the_package_loads_nothing_else_of_it():
    assert {name for name in loaded_by("import duologue") if name.startswith("duologue.")} == set()


def test_importing_the_kernel_loads_the_kernel_alone():
    modules = loaded_by("import duologue.runtime")
    assert third_party(modules) == set()
    ours = {name.split(".")[1] for name in modules if name.startswith("duologue.")}
    assert ours <= {"runtime", "errors", "telemetry"}


def test_using_the_errors_loads_no_third_party():
    assert third_party(loaded_by("from duologue import Busy, Message, Telemetry, TurnDelta")) == set()


def test_the_command_line_loads_no_server_before_it_is_asked_for_one():
    modules = loaded_by("import duologue.cli")
    assert not modules & {"uvicorn", "starlette", "redis", "httpx", "websockets", "pydantic", "aiohttp"}


def test_the_version_is_that_of_the_package():
    import tomllib

    project = PACKAGE.parent / "pyproject.toml"
    assert duologue.__version__ == tomllib.loads(project.read_text())["project"]["version"]


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()
