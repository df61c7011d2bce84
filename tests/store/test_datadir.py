import os
from pathlib import Path

import pytest

from duologue.errors import ConfigurationError
from duologue.store.datadir import SOCKET_PATH_MAX, DataDirectory, try_lock


def test_a_directory_is_one_servers_until_it_is_released(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(ConfigurationError):
        second.acquire()
    first.release()
    first.release()
    assert not first.acquired
    second.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    second.release()
    assert (tmp_path / "lock").read_text() == ""


def test_the_same_directory_always_has_the_same_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataDirectory("data").url == DataDirectory(tmp_path / "data").url


def test_two_long_directories_have_two_short_sockets(tmp_path: Path) -> None:
    sockets = {DataDirectory(tmp_path / ("x" * 120) / name).socket for name in "ab"}
    assert len(sockets) == 2
    assert all(len(os.fsencode(socket)) <= SOCKET_PATH_MAX for socket in sockets)


def test_a_long_temporary_directory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("t" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert len(os.fsencode(DataDirectory(deep / "data").socket)) <= SOCKET_PATH_MAX


def test_a_log_that_has_grown_is_put_aside_once(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.log.write_text("small")
    directory.prepare()
    assert directory.log.read_text() == "small"
    with directory.log.open("wb") as log:
        log.truncate(5 << 20)
    directory.prepare()
    assert not directory.log.exists()
    assert (tmp_path / "valkey.log.1").stat().st_size == 5 << 20


def test_a_lock_is_shared_by_those_who_inherit_it_and_by_nobody_else(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    mine, other = directory.open_valkey_lock(), directory.open_valkey_lock()
    assert try_lock(mine)
    assert try_lock(mine)
    assert not try_lock(other)
    inherited = os.dup(mine)
    os.close(mine)
    assert not try_lock(other)
    os.close(inherited)
    assert try_lock(other)
    os.close(other)


@pytest.mark.parametrize("content", [None, "", "nonsense", "12x"])
def test_a_pid_that_was_not_written_is_none(tmp_path: Path, content: str | None) -> None:
    directory = DataDirectory(tmp_path)
    if content is not None:
        directory.pid_file.write_text(content)
    assert directory.valkey_pid() is None
