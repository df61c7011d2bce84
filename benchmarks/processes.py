"""The processes of a run: started, read through /proc and ended by their ids. Linux only."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

__all__ = [
    "ClientProcess",
    "Cpu",
    "InvalidRun",
    "Memory",
    "Process",
    "free_port",
    "parse_cpu_ticks",
    "parse_memory",
    "read_http",
    "start",
]

ROOT = Path(__file__).resolve().parent.parent
_STORES = ("valkey", "redis")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class InvalidRun(Exception):
    """What was measured does not count: a wrong delivery, a process that ended, a deadline passed."""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds, user and system, since the processes started."""

    server: float
    """The server process, its helpers, and helpers that have already ended."""
    store: float
    """The bundled store's process, counted apart."""

    def since(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.server - earlier.server, self.store - earlier.store)


@dataclass(frozen=True)
class Memory:
    """KiB. `pss` divides shared pages among those who share them; neither counts the kernel's socket buffers."""

    rss: int
    pss: int


def parse_cpu_ticks(stat: str) -> tuple[int, int]:
    """Clock ticks of a process and of its children that ended, out of /proc/<pid>/stat."""
    # The second field is the command in brackets and may itself contain spaces and brackets.
    fields = stat[stat.rindex(")") + 2 :].split()
    user, system, child_user, child_system = map(int, fields[11:15])
    return user + system, child_user + child_system


def parse_memory(rollup: str) -> Memory:
    """Out of /proc/<pid>/smaps_rollup."""
    sizes = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
    return Memory(int(sizes["Rss"]), int(sizes["Pss"]))


class Process:
    """One process that this run started, and what it started."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.name = name
        self._process = process
        self._errors = errors

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise `InvalidRun` with the last words if the process has ended."""
        if self._process.returncode is not None:
            last = self._errors.read_text(errors="replace").strip().splitlines()[-5:]
            raise InvalidRun(f"{self.name} ended with {self._process.returncode}: {' | '.join(last)}")

    def cpu(self) -> Cpu:
        """What it and its helpers have used so far."""
        self.check()
        server = store = 0
        for pid in (self.pid, *_descendants(self.pid)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                own, ended = parse_cpu_ticks(Path(f"/proc/{pid}/stat").read_text())
                if _is_store(pid):
                    store += own + ended
                else:
                    server += own + ended
        return Cpu(server / _TICKS_PER_SECOND, store / _TICKS_PER_SECOND)

    def memory(self) -> Memory:
        """What it and its helpers, without the store, hold now."""
        self.check()
        rss = pss = 0
        for pid in (self.pid, *_descendants(self.pid)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if not _is_store(pid):
                    memory = parse_memory(Path(f"/proc/{pid}/smaps_rollup").read_text())
                    rss, pss = rss + memory.rss, pss + memory.pss
        return Memory(rss, pss)

    async def first_line(self, timeout: float = 20.0) -> str:
        """The first thing that it printed."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            self.check()
        return line.decode().strip()

    async def stop(self, timeout: float = 15.0) -> None:
        """Ask it to end; make it end after `timeout` seconds. What it left behind is ended, too."""
        # The store of a server that is killed here would go on; it is ours through the server.
        left_behind = _descendants(self.pid)
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(timeout):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await _end(left_behind)


class ClientProcess(Process):
    """The load client. One job at a time."""

    async def do(self, job: str, *, timeout: float = 180.0, **arguments: Any) -> dict[str, Any]:
        """Give it a job and wait for what came of it.

        Raises:
            InvalidRun: A delivery was wrong, or it took longer than `timeout` seconds.
        """
        self.check()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(orjson.dumps({"do": job, **arguments}) + b"\n")
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise InvalidRun(f"the client's {job!r} took more than {timeout:.0f} s") from None
        if not line:
            await self._process.wait()
            self.check()
        answered: dict[str, Any] = orjson.loads(line)
        if "invalid" in answered:
            raise InvalidRun(f"{job}: {answered['invalid']}")
        return answered


@contextlib.asynccontextmanager
async def start(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    kind: type[Process] = Process,
) -> AsyncIterator[Any]:
    """A process for as long as the block runs. Its stderr goes to a file in `directory`.

    `command` names a module to run with this Python (`-m`) and its arguments; its working directory is the project's.
    """
    errors = directory / f"{name}.stderr"
    with errors.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            cwd=ROOT,
            env=_clean_environment() | dict(environment or {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            limit=1 << 26,
        )
    started = kind(name, process, errors)
    try:
        yield started
    finally:
        await started.stop()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def read_http(port: int, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a small GET whose answer has a length; status 0 while nobody answers."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                return int(head.split(b" ", 2)[1]), await reader.readexactly(size)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return 0, b""


def _clean_environment() -> dict[str, str]:
    """Ours, without keys, proxies and settings that would change what is measured."""
    unwanted = ("DUOLOGUE_", "OPENAI_", "ANTHROPIC_", "AI_CHAT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {key: value for key, value in os.environ.items() if not key.upper().startswith(unwanted)}


def _descendants(pid: int) -> dict[int, str]:
    """All living descendants of a process, each with the time of its birth (ids are used again)."""
    found: dict[int, str] = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found |= {child: _born(child), **_descendants(child)}
    return found


async def _end(processes: Mapping[int, str], patience: float = 5.0) -> None:
    """Ask those that are still the ones of then to end, and kill those that do not."""
    deadline = time.monotonic() + patience
    word = signal.SIGTERM
    while left := [pid for pid, born in processes.items() if _born(pid) == born]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, word)
        if time.monotonic() > deadline:
            word = signal.SIGKILL
        await asyncio.sleep(0.02)


def _born(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    return "" if state == "Z" else fields[18]


def _is_store(pid: int) -> bool:
    command = Path(f"/proc/{pid}/comm").read_text()
    return command.startswith(_STORES)
