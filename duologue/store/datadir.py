"""The bundled server's directory: who may use it, and what lies where in it.

    lock          locked by the process that runs the server, with its pid inside: one server, one directory
    valkey.lock   locked by Valkey itself for as long as it lives, through a descriptor that it inherits
    valkey.pid    written by Valkey
    valkey.sock   unless the path is too long for a socket; then it lies in a private temporary directory
    valkey.log    what Valkey says; one older one is kept beside it
    appendonlydir the data

Locks end with the process that holds them, however it ends, so nothing here can be stale: a locked
`valkey.lock` is a living Valkey, even if the pid in a file has long been given to another process.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from duologue.errors import ConfigurationError

__all__ = ["DataDirectory", "SOCKET_PATH_MAX", "try_lock"]

SOCKET_PATH_MAX: Final = 100
"""Bytes. The system's limit is 108 on Linux and 104 on macOS."""
_LOG_BYTES_MAX: Final = 4 << 20


class DataDirectory:
    """Paths in a data directory, and the right to use it.

    Args:
        path: May not exist yet; is made absolute.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.pid_file = self.path / "valkey.pid"
        self.valkey_lock = self.path / "valkey.lock"
        self.log = self.path / "valkey.log"
        self.socket = _socket_path(self.path)
        self._lock: int | None = None
        """Descriptor of the locked `lock`; `None` while the directory is not ours."""
        self._outside: Path | None = None
        """The socket's private directory once `prepare` has found it to be ours; `None` where there is none."""

    @property
    def url(self) -> str:
        """The server's address for `RedisStore`; known before anything is started."""
        return f"unix://{quote(str(self.socket))}"

    def acquire(self) -> None:
        """Make the directory and take it. Harmless when it is ours already.

        Raises:
            ConfigurationError: It can't be made or written to, or another process (or another server in this
                one) uses it.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"store.data_dir {self.path} can't be used: {error.strerror}. Name another directory."
            ) from error
        if not try_lock(lock):
            holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise ConfigurationError(
                f"store.data_dir {self.path} is in use by the server with pid {holder}. "
                "Stop that one, name another directory, or set store.url for both."
            )
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        self._lock = lock

    @property
    def acquired(self) -> bool:
        """Whether the directory is ours."""
        return self._lock is not None

    def open_valkey_lock(self) -> int:
        """A descriptor of `valkey.lock`, not yet locked."""
        return os.open(self.valkey_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def release(self) -> None:
        """Give the directory back. Harmless when it is not ours."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def prepare(self) -> None:
        """Clear what an ended Valkey left behind, and make the socket's directory.

        Raises:
            ConfigurationError: The private temporary directory is somebody else's.
        """
        self.pid_file.unlink(missing_ok=True)
        parent = self.socket.parent
        if parent != self.path:
            parent.mkdir(mode=0o700, exist_ok=True)
            found = parent.lstat()
            private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
            if not private or found.st_uid != os.getuid():
                raise ConfigurationError(f"{parent} is not a private directory of this user; remove it.")
            self._outside = parent
        self.socket.unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))

    def clear(self) -> None:
        """Remove what only makes sense while Valkey runs."""
        self.pid_file.unlink(missing_ok=True)
        if self._outside is not None:
            shutil.rmtree(self._outside, ignore_errors=True)
            self._outside = None
        elif self.socket.parent == self.path:
            self.socket.unlink(missing_ok=True)

    def valkey_pid(self) -> int | None:
        """The pid that Valkey wrote, if it came that far."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process and those that inherit the descriptor. False: it is taken."""
    import fcntl  # noqa: PLC0415 - there is none on Windows, where the package has no server either

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(directory: Path) -> Path:
    inside = directory / "valkey.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_MAX:
        return inside
    # The same for the same directory, so that a killed server's leftovers are not spread over many.
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    name = f"duologue-{os.getuid()}-{digest}"
    outside = Path(tempfile.gettempdir()) / name / "valkey.sock"
    if len(os.fsencode(outside)) <= SOCKET_PATH_MAX:
        return outside
    return Path("/tmp") / name / "valkey.sock"  # noqa: S108 - in a directory that `prepare` checks
