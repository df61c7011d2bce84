"""A real server process for system tests: started, killed and started again on one data directory."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]

TOKENS = 40


def scripted(*, interval: float = 0.01, tokens: int = TOKENS) -> str:
    """A configuration with one scripted model that counts."""
    text = " ".join(str(number) for number in range(tokens))
    return f"""
[models.counter]
provider = "scripted"
parameters = {{ text = "{text}", interval = {interval} }}
[services.standard]
primary = "counter"
[features.student_dialogue]
service = "standard"
on_busy = "queue"
"""


class ServerProcess:
    """`duologue serve` in its own process, with its files in a directory of its own."""

    def __init__(self, directory: Path, config: str = "", environment: dict[str, str] | None = None) -> None:
        self._directory = directory
        self._config = directory / "duologue.toml"
        self._config.write_text(config)
        self._environment = environment or {}
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.output: list[str] = []
        self._reading: list[asyncio.Task[None]] = []

    async def start(self, port: int = 0) -> None:
        """Start it and return when it has printed its address."""
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("DUOLOGUE_", "OPENAI_", "ANTHROPIC_"))
        }
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | self._environment
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "duologue", "serve", "--port", str(port),
            "--config", str(self._config), "--data-dir", str(self._directory / "data"),
            cwd=self._directory, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None and self.process.stderr is not None
        self._reading = [asyncio.create_task(self._read(self.process.stderr))]
        async with asyncio.timeout(20):
            while not (line := (await self.process.stdout.readline()).decode().strip()).startswith("http"):
                assert line or self.process.returncode is None, "\n".join(self.output)
                if not line:
                    await asyncio.sleep(0)
        self.url = line

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.output.append(line.decode(errors="replace").rstrip())

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    async def kill(self) -> None:
        """End it as the machine's out-of-memory killer would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to end and return its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: int) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(30):
            status = await self.process.wait()
            await asyncio.gather(*self._reading)
        return status

    @property
    def store_pid(self) -> int:
        """The bundled Valkey's process."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if b"valkey" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        raise AssertionError("no bundled store runs")

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False)


@asynccontextmanager
async def running(
    directory: Path, config: str = "", environment: dict[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """A server that is ended, whatever the test did to it."""
    server = ServerProcess(directory, config, environment)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
