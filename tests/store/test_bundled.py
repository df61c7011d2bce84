import asyncio
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from duologue.errors import ConfigurationError, StoreUnavailable
from duologue.messages import DialogueId
from duologue.store.bundled import BundledServer
from duologue.store.connections import connector
from duologue.store.lane import Lane, pack_command
from duologue.store.redis import RedisStore
from tests.store.builders import Writer, queued, texts_of

_ROOT = Path(__file__).parents[2]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BundledServer]:
    """A server that is not started yet and is stopped after the test."""
    server = BundledServer(tmp_path / "data", grace=0.5)
    yield server
    await server.stop()


_embedded: list[int] = []
"""Valkeys of embedding programs; they are nobody's once their program was killed."""


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """End what a failed test of leftovers left over."""
    yield
    while _embedded:
        pid = _embedded.pop()
        if _alive(pid):
            os.kill(pid, signal.SIGKILL)


async def _configuration(server: BundledServer, name: str) -> str:
    lane = Lane("test", connector(server.url, connect_timeout=5.0), timeout=5.0)
    (reply,) = await lane.call(pack_command("CONFIG", "GET", name))
    await lane.close()
    value: str = reply[1].decode()
    return value


async def _until(happened: object, *, within: float = 5.0) -> None:
    assert callable(happened)
    async with asyncio.timeout(within):
        while not happened():
            await asyncio.sleep(0.005)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has collected yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat_file = Path(f"/proc/{pid}/stat")
    return not (stat_file.exists() and stat_file.read_text().rpartition(")")[2].split()[0] == "Z")


async def _embed(data_dir: Path, env: Mapping[str, str] | None = None) -> tuple[Process, int, DialogueId]:
    """Start the embedding program; its process, its Valkey's pid and its dialogue."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.store.embedder", str(data_dir)), stdout=PIPE, cwd=_ROOT, env=env
    )
    assert process.stdout is not None
    ready, pid, dialogue = (await process.stdout.readline()).decode().split()
    assert ready == "ready"
    _embedded.append(int(pid))
    return process, int(pid), DialogueId(dialogue)


async def _kill(process: Process) -> list[str]:
    """Kill the embedding program; the numbers that it had said."""
    assert process.stdout is not None
    process.kill()
    said = (await process.stdout.read()).decode()
    await process.wait()
    return said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]


async def _kept(server: BundledServer, dialogue: DialogueId) -> list[str]:
    store = RedisStore(server.url)
    entries = await store.read(dialogue, limit=1_000_000)
    await store.close()
    return texts_of([entry.record for entry in entries])


# ── start and stop ──────────────────────────────────────────────────────────────────────────────────────────


async def test_it_serves_when_start_returns_and_is_gone_when_stop_returns(server: BundledServer) -> None:
    began = time.monotonic()
    await server.start()
    assert time.monotonic() - began < 1.0
    pid = server.pid
    assert pid is not None
    store = RedisStore(server.url)
    await store.ping()
    await store.close()
    await server.stop()
    assert server.pid is None
    assert not _alive(pid)
    await server.stop()


async def test_what_was_written_is_there_after_a_stop_and_a_start(server: BundledServer) -> None:
    url = server.url
    await server.start()
    store = RedisStore(server.url)
    writer = await Writer.create(store)
    await writer.say("kept")
    await server.stop()
    await server.start()
    assert server.url == url
    assert await writer.texts() == ["kept"]
    await store.close()


async def test_starting_what_runs_changes_nothing(server: BundledServer) -> None:
    await server.start()
    pid = server.pid
    await server.start()
    assert server.pid == pid


async def test_it_syncs_every_write_and_listens_on_a_private_socket_only(
    server: BundledServer, tmp_path: Path
) -> None:
    await server.start()
    found = {
        name: await _configuration(server, name) for name in ("appendonly", "appendfsync", "port", "save")
    }
    assert found == {"appendonly": "yes", "appendfsync": "always", "port": "0", "save": ""}
    assert await _configuration(server, "maxmemory-policy") == "noeviction"
    assert stat.S_IMODE((tmp_path / "data" / "valkey.sock").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert "Ready to accept connections" in (tmp_path / "data" / "valkey.log").read_text()


async def test_it_has_a_session_of_its_own_and_none_of_our_secrets(
    server: BundledServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    monkeypatch.setenv("LC_ALL", "no_SUCH.locale")
    await server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid
    environment = Path(f"/proc/{server.pid}/environ")
    if environment.exists():
        assert b"canary" not in environment.read_bytes()


@pytest.mark.parametrize("name", ["with space", "quo'te\"s", "ünïcode", "per%20cent#?&", "-dash"])
async def test_any_name_of_a_directory_will_do(tmp_path: Path, name: str) -> None:
    server = BundledServer(tmp_path / name)
    await server.start()
    store = RedisStore(server.url)
    await store.ping()
    await store.close()
    await server.stop()
    assert (tmp_path / name / "appendonlydir").is_dir()


async def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    server = BundledServer(tmp_path / ("long" * 30))
    socket = Path(server.url.removeprefix("unix://"))
    assert len(os.fsencode(socket)) <= 100
    for _ in range(2):
        await server.start()
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        store = RedisStore(server.url)
        await store.ping()
        await store.close()
        await server.stop()
        assert not socket.parent.exists()


async def test_a_private_directory_that_others_can_enter_is_not_used(tmp_path: Path) -> None:
    server = BundledServer(tmp_path / ("long" * 30))
    parent = Path(server.url.removeprefix("unix://")).parent
    parent.mkdir(mode=0o755)
    parent.chmod(0o755)
    try:
        with pytest.raises(ConfigurationError, match="private"):
            await server.start()
        assert server.pid is None
    finally:
        parent.rmdir()


async def test_a_server_may_be_used_from_one_loop_after_another(tmp_path: Path) -> None:
    server = BundledServer(tmp_path / "data")

    def in_another_loop() -> None:
        asyncio.run(server.start())

    await asyncio.to_thread(in_another_loop)
    assert server.pid is not None
    waiting = asyncio.ensure_future(server.wait())
    await server.stop()
    assert await waiting == 0


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_server_on_the_directory_is_refused_by_name(
    server: BundledServer, tmp_path: Path
) -> None:
    await server.start()
    second = BundledServer(tmp_path / "data")
    with pytest.raises(ConfigurationError) as caught:
        await second.start()
    assert str(tmp_path / "data") in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    await second.stop()
    assert server.pid is not None
    assert await _configuration(server, "port") == "0"


async def test_a_second_process_on_the_directory_is_refused_until_the_first_is_gone(
    server: BundledServer, tmp_path: Path
) -> None:
    process, _, dialogue = await _embed(tmp_path / "data")
    with pytest.raises(ConfigurationError, match=str(process.pid)):
        await server.start()
    said = await _kill(process)
    await server.start()
    assert (await _kept(server, dialogue))[: len(said)] == said


@pytest.mark.parametrize("machine", ["riscv64", "x86_64"])
async def test_where_there_is_no_binary_the_error_names_store_url(
    server: BundledServer, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if machine == "x86_64":
        monkeypatch.setattr(platform, "system", lambda: "Windows")
    with pytest.raises(ConfigurationError, match=r"store\.url"):
        await server.start()


async def test_a_program_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    for binary in (tmp_path / "absent", tmp_path):
        server = BundledServer(tmp_path / "data", binary=binary)
        with pytest.raises((ConfigurationError, StoreUnavailable)):
            await server.start()
        assert server.pid is None


async def test_a_program_that_ends_at_once_is_reported_and_leaves_the_directory_free(
    server: BundledServer, tmp_path: Path
) -> None:
    broken = BundledServer(tmp_path / "data", binary="/bin/false")
    with pytest.raises(StoreUnavailable, match=r"valkey\.log"):
        await broken.start()
    await server.start()


async def test_a_directory_that_is_a_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match=r"store\.data_dir"):
        await BundledServer(tmp_path / "data").start()


async def test_starting_waits_for_as_long_as_data_is_loaded(tmp_path: Path) -> None:
    """With a program that says what a loading Valkey says, as it can't be made to load slowly."""
    script = tmp_path / "slow-valkey"
    script.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys\n"
        "path = sys.argv[sys.argv.index('--unixsocket') + 1]\n"
        "listener = socket.socket(socket.AF_UNIX)\n"
        "listener.bind(path)\n"
        "listener.listen()\n"
        "for answer in (b'-LOADING\\r\\n',) * 3 + (b'', b'+PONG\\r\\n'):\n"
        "    connection, _ = listener.accept()\n"
        "    connection.recv(100)\n"
        "    connection.sendall(answer)\n"
        "    connection.close()\n"
        "print('served all')\n"
    )
    script.chmod(0o755)
    server = BundledServer(tmp_path / "data", binary=script)
    await server.start()
    await server.wait()
    assert (tmp_path / "data" / "valkey.log").read_text() == "served all\n"
    await server.stop()


async def test_a_start_that_is_cancelled_leaves_nothing_running(
    server: BundledServer, tmp_path: Path
) -> None:
    starting = asyncio.ensure_future(server.start())
    await _until(lambda: server.pid is not None)
    pid = server.pid
    assert pid is not None
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not _alive(pid)
    other = BundledServer(tmp_path / "data")
    await other.start()
    await other.stop()


async def test_a_server_that_hangs_is_killed_by_stop(server: BundledServer) -> None:
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    assert not _alive(pid)


async def test_waiting_for_what_was_never_started_is_an_error(server: BundledServer) -> None:
    with pytest.raises(RuntimeError, match="never started"):
        await server.wait()


# ── deaths ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_wait_returns_when_the_process_is_killed_and_it_can_be_started_again(
    server: BundledServer,
) -> None:
    await server.start()
    first = server.pid
    assert first is not None
    given_up = asyncio.ensure_future(server.wait())
    waiting = asyncio.ensure_future(server.wait())
    await asyncio.sleep(0)
    given_up.cancel()
    os.kill(first, signal.SIGKILL)
    assert await waiting == -signal.SIGKILL
    await server.start()
    assert server.pid not in {None, first}
    assert await _configuration(server, "port") == "0"


@pytest.fixture(params=["fast", "slow"])
def kills(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many, on the disk as it is and on one that is slow to sync.

    On a fast one a kill loses nothing whatever the server promised: the kernel keeps what was written.
    """
    if request.param == "fast":
        return 5
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("needs gcc to make the disk slow")
    library = tmp_path / "slow_fdatasync.so"
    source = Path(__file__).with_name("slow_fdatasync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return 3


async def test_no_kill_of_the_server_loses_what_was_acknowledged(server: BundledServer, kills: int) -> None:
    """Twenty writers go on over several kills, repeating what they do not know the fate of."""
    await server.start()
    store = RedisStore(server.url)
    writers = [await Writer.create(store) for _ in range(20)]
    acknowledged = 0
    stopped = False

    async def go_on(writer: Writer) -> None:
        nonlocal acknowledged
        number = 0
        while not stopped:
            write = writer.write(queued(str(number)))
            while True:
                try:
                    await writer.append(write)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.001)
            number += 1
            acknowledged += 1

    tasks = [asyncio.ensure_future(go_on(writer)) for writer in writers]
    for _ in range(kills):
        target = acknowledged + 60
        await _until(lambda target=target: acknowledged >= target, within=20)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        await server.start()
    target = acknowledged + 60
    await _until(lambda: acknowledged >= target, within=20)
    stopped = True
    await asyncio.gather(*tasks)
    total = 0
    for writer in writers:
        texts = texts_of([e.record for e in await store.read(writer.dialogue, limit=100_000)])
        assert texts == [str(number) for number in range(len(texts))]
        total += len(texts)
    assert total == acknowledged
    await store.close()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
async def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    process, pid, _ = await _embed(tmp_path / "data")
    await _kill(process)
    await _until(lambda: not _alive(pid))


async def test_a_leftover_is_ended_and_nothing_acknowledged_is_lost(
    server: BundledServer, tmp_path: Path
) -> None:
    """On a system that does not end the child with its parent, it goes on living and is found."""
    process, pid, dialogue = await _embed(tmp_path / "data", env={"PATH": "/nonexistent"})
    assert process.stdout is not None
    said = [(await process.stdout.readline()).decode().strip() for _ in range(100)]
    said += await _kill(process)
    assert _alive(pid)
    await server.start()
    assert not _alive(pid)
    kept = await _kept(server, dialogue)
    assert kept[: len(said)] == said
    assert kept == [str(number) for number in range(len(kept))]
    assert len(kept) - len(said) <= 1


async def test_a_leftover_that_hangs_is_killed(server: BundledServer, tmp_path: Path) -> None:
    process, pid, dialogue = await _embed(tmp_path / "data", env={"PATH": "/nonexistent"})
    os.kill(pid, signal.SIGSTOP)
    said = await _kill(process)
    await server.start()
    assert not _alive(pid)
    assert (await _kept(server, dialogue))[: len(said)] == said


async def test_a_pid_file_of_the_past_harms_nobody(server: BundledServer, tmp_path: Path) -> None:
    """Its pid may be anybody's by now; here it is that of an innocent."""
    innocent = await asyncio.create_subprocess_exec("sleep", "60")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "valkey.pid").write_text(f"{innocent.pid}\n")
    (tmp_path / "data" / "lock").write_text(f"{innocent.pid}\n")
    await server.start()
    assert innocent.returncode is None
    innocent.kill()
    await innocent.wait()


async def test_a_log_cut_short_by_a_power_failure_loads_as_a_prefix(
    server: BundledServer, tmp_path: Path
) -> None:
    await server.start()
    store = RedisStore(server.url)
    writer = await Writer.create(store)
    for number in range(50):
        await writer.say(str(number))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()
    for cut in (1, 20, 500, 2_000):
        copy = tmp_path / f"cut{cut}"
        shutil.copytree(tmp_path / "data" / "appendonlydir", copy / "appendonlydir")
        (log,) = (copy / "appendonlydir").glob("*.incr.aof")
        os.truncate(log, log.stat().st_size - cut)
        after = BundledServer(copy)
        await after.start()
        texts = await _kept(after, writer.dialogue)
        assert texts == [str(number) for number in range(len(texts))]
        assert 0 < len(texts) < 50
        await after.stop()
    await store.close()
