"""The process round the model. The model itself is tested in tests/local_model."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from duologue.errors import ConfigurationError
from duologue.local_model import LocalModelOptions, LocalModelServer, run_local_model

ROOT = Path(__file__).parents[1]
STAND_INS = ROOT / "tests" / "stand_ins"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that looks like a model, for a llama.cpp that is none."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    monkeypatch.setenv("PYTHONPATH", f"{STAND_INS}{os.pathsep}{ROOT}")
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")
    return path


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while is_running(pid):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [("port", -1), ("port", 65_536), ("context", 63), ("parallel", 0), ("threads", 0), ("threads", 5000)],
)
def test_an_option_out_of_its_bounds_is_refused_by_name(option, wrong):
    with pytest.raises(ConfigurationError, match=option):
        LocalModelOptions(gguf=Path("x"), **{option: wrong})


async def test_without_the_extra_the_error_says_how_to_install_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'duologue\[local\]'"):
        await LocalModelServer(LocalModelOptions(gguf=file)).start()


async def test_a_file_that_is_not_there_is_named(file):
    with pytest.raises(ConfigurationError, match=r"gone\.gguf can't be read: No such file"):
        await LocalModelServer(LocalModelOptions(gguf=file.with_name("gone.gguf"))).start()


async def test_a_file_that_is_no_model_is_refused_before_anything_starts(file):
    file.write_bytes(b"PK\x03\x04")
    server = LocalModelServer(LocalModelOptions(gguf=file))
    with pytest.raises(ConfigurationError, match="is no GGUF file"):
        await server.start()
    assert server.pid is None


async def test_it_serves_on_loopback_from_a_process_of_its_own(file):
    options = LocalModelOptions(gguf=file, port=4321, context=100, parallel=3, threads=2)
    async with LocalModelServer(options) as server:
        assert server.url == "http://127.0.0.1:4321/300/2"
        assert server.pid != os.getpid()
        assert is_running(server.pid)
    assert not is_running(server.pid)


async def test_a_model_that_does_not_load_is_an_error_and_leaves_no_process(file):
    file.write_bytes(b"GGUFdamaged")
    server = LocalModelServer(LocalModelOptions(gguf=file))
    with pytest.raises(ConfigurationError, match="could not be served"):
        await server.start()
    assert not is_running(server.pid)


async def test_a_model_that_takes_too_long_is_given_up_on(file):
    file.write_bytes(b"GGUFendless")
    server = LocalModelServer(LocalModelOptions(gguf=file), start_timeout=0.05)
    with pytest.raises(ConfigurationError, match=r"not loaded within 0\.05 s"):
        await server.start()
    assert not is_running(server.pid)


async def test_cancelling_the_start_leaves_no_process(file):
    file.write_bytes(b"GGUFendless")
    server = LocalModelServer(LocalModelOptions(gguf=file))
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(10):
        while server.pid is None:
            await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(server.pid)


async def test_waiting_ends_when_the_process_is_killed_and_stopping_twice_is_harmless(file):
    server = LocalModelServer(LocalModelOptions(gguf=file))
    await server.stop()
    async with server:
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            await server.wait()
    await server.stop()


async def test_the_process_ends_with_the_one_that_started_it_however_that_ends(file):
    program = """
import asyncio, sys
from pathlib import Path
from duologue.local_model import LocalModelOptions, LocalModelServer
async def main():
    async with LocalModelServer(LocalModelOptions(gguf=Path(sys.argv[1]))) as server:
        print(server.pid, flush=True)
        await server.wait()
asyncio.run(main())
"""
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(file), stdout=PIPE)
    pid = int(await starter.stdout.readline())
    starter.kill()
    await starter.wait()
    await until_gone(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_says_where_it_serves_and_ends_well_when_told_to(file, number):
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "duologue", "local-model", "--gguf", str(file), "--port", "4321", stdout=PIPE
    )
    line = (await command.stdout.readline()).decode()
    assert 'url = "http://127.0.0.1:4321/' in line
    command.send_signal(number)
    async with asyncio.timeout(10):
        assert await command.wait() == 0


async def test_the_command_ends_with_an_error_when_its_model_does(file):
    program = f"""
import sys
from pathlib import Path
from duologue.local_model import LocalModelOptions, run_local_model
sys.exit(run_local_model(LocalModelOptions(gguf=Path({str(file)!r}))))
"""
    command = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    await command.stdout.readline()
    (pid,) = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await command.wait() == 1


def test_the_command_refuses_what_the_server_refuses(file):
    with pytest.raises(ConfigurationError, match="can't be read"):
        run_local_model(LocalModelOptions(gguf=file.with_name("gone.gguf")))
