"""What holds for every test: an environment of its own, and nothing left behind.

After each test the tasks of its loop, the threads, the sockets and the child processes of this process are what
they were before it. Fixtures of a wider scope count as before. What merely needs a moment to end gets one.
"""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_PATIENCE = 3.0  # seconds that something may take to end after its test
_PREFIXES = ("DUOLOGUE_", "OPENAI_", "ANTHROPIC_", "AI_CHAT_")


def pytest_configure() -> None:
    """Forget what the developer's shell says of models and settings, in this process and in those it starts."""
    for name in [
        name for name in os.environ if name.startswith(_PREFIXES) and name != "DUOLOGUE_REQUIRE_BROWSER"
    ]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tasks = _record_abandoned_tasks(monkeypatch)
    before = {name: look() for name, look in _LOOKS.items()}
    yield
    for name, look in _LOOKS.items():
        left = _outliving(look, before[name])
        assert not left, f"the test left {name} behind: {sorted(map(str, left))}"
    assert not tasks, f"the test left tasks behind: {tasks}"


def _record_abandoned_tasks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A runner that closes cancels what still runs in its loop, silently; here it also writes it down."""
    cancel_all: Callable[[Any], None] = asyncio.runners._cancel_all_tasks
    abandoned: list[str] = []

    def recording(loop: asyncio.AbstractEventLoop) -> None:
        abandoned.extend(repr(task.get_coro()) for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", recording)
    return abandoned


def _outliving(look: Callable[[], set[Any]], before: set[Any]) -> set[Any]:
    left = look() - before
    if left:
        gc.collect()  # what only a cycle keeps is gone for good
    deadline = time.monotonic() + _PATIENCE
    while (left := look() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def _children() -> set[str]:
    """Process ids of our children; known on Linux only."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for file in lists for pid in _read(file).split()}


def _sockets() -> set[str]:
    """Open sockets, each by its kernel's number; known on Linux only."""
    links = (_link(entry) for entry in Path("/proc/self/fd").glob("*"))
    return {target for target in links if target.startswith("socket:")}


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # its thread has just ended
        return ""


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed meanwhile
        return ""


_LOOKS: dict[str, Callable[[], set[Any]]] = {"threads": _threads, "processes": _children, "sockets": _sockets}
