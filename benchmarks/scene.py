"""What every measure needs on the stage: the upstream, the load client and the servers that are compared."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ClientProcess, InvalidRun, Process, free_port, read_http, start

__all__ = ["SCRIPTED_ANSWER", "Scene", "Server", "Sizes", "build_configuration"]

SCRIPTED_ANSWER = "fine"
"""What the feature `scripted` answers: one token, without any request to the upstream."""


@dataclass(frozen=True)
class Sizes:
    """How much is done. The issue's numbers are for `full`."""

    dialogues: int = 200
    flood_tokens: int = 2000
    flood_rounds: int = 3
    paced_tokens: int = 1000
    paced_rounds: int = 3
    paced_rate: int = 50
    first_token_turns: int = 100
    first_token_over: float = 2.0
    first_token_rounds: int = 5
    connections: int = 5000
    history_short: int = 10
    history_long: int = 10_000
    history_turns: int = 300
    history_rounds: int = 6
    starts: int = 5

    @classmethod
    def quick(cls) -> "Sizes":
        """A look in about a minute; the figures are rougher."""
        return cls(
            flood_tokens=500,
            flood_rounds=2,
            paced_tokens=200,
            paced_rounds=2,
            first_token_rounds=2,
            connections=1000,
            history_long=1000,
            history_turns=150,
            history_rounds=3,
            starts=2,
        )


@dataclass
class Server:
    """A server under test and how to reach it."""

    kind: str
    process: Process
    port: int
    ready_after: float
    """Seconds from its start until it said that it is ready for work."""


class Scene:
    """One run's stage. All its processes are on loopback and end with it."""

    def __init__(self, *, upstream_port: int, client: ClientProcess, directory: Path, sizes: Sizes) -> None:
        self.upstream_port = upstream_port
        self.client = client
        self.directory = directory
        self.sizes = sizes

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, sizes: Sizes) -> AsyncIterator["Scene"]:
        directory = Path(tempfile.mkdtemp(prefix="duologue-bench-"))
        try:
            async with contextlib.AsyncExitStack() as stack:
                upstream = await stack.enter_async_context(
                    start("upstream", ["benchmarks.upstream"], directory=directory)
                )
                client = await stack.enter_async_context(
                    start("client", ["benchmarks.client"], directory=directory, kind=ClientProcess)
                )
                port = int(await upstream.first_line())
                yield cls(upstream_port=port, client=client, directory=directory, sizes=sizes)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def passthrough(self) -> AsyncIterator[Server]:
        """The baseline."""
        command = ["benchmarks.passthrough", f"http://127.0.0.1:{self.upstream_port}"]
        started = time.perf_counter()
        async with start("passthrough", command, directory=self.directory) as process:
            port = int(await process.first_line())
            await _until_ready(process, port, path="/", is_ready=lambda status: status == 404)
            yield Server("passthrough", process, port, time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def duologue(self, *, data: str = "data") -> AsyncIterator[Server]:
        """Our server with its bundled store, whose files are in the folder `data` of the run's directory."""
        port = free_port()
        file = self.directory / f"{data}.toml"
        file.write_text(
            build_configuration(
                port=port,
                upstream_port=self.upstream_port,
                data_dir=self.directory / data,
                modes=self.modes(),
            )
        )
        started = time.perf_counter()
        command = ["duologue", "serve", "--config", str(file)]
        async with start("duologue", command, directory=self.directory) as process:
            await _until_ready(process, port, path="/readyz", is_ready=lambda status: status == 200)
            yield Server("duologue", process, port, time.perf_counter() - started)

    def modes(self) -> dict[str, str]:
        """Features by name, each with the upstream's path that answers it."""
        sizes = self.sizes
        return {
            "flood": f"/flood/{sizes.flood_tokens}",
            "paced": f"/paced/{sizes.paced_rate}/{sizes.paced_tokens}",
            "first_token": f"/paced/{sizes.paced_rate}/{sizes.paced_rate * 2}",
            "warm": "/flood/50",
            "short": "/flood/1",
        }

    def tokens(self, mode: str) -> int:
        """How many tokens an answer of that mode has."""
        return int(self.modes()[mode].rsplit("/", 1)[1])


def build_configuration(*, port: int, upstream_port: int, data_dir: Path, modes: dict[str, str]) -> str:
    """A configuration file with one feature for each of the upstream's modes and one that asks nobody.

    All else is left at its default: that is what is measured.
    """
    parts = [f'[server]\nport = {port}\n\n[store]\ndata_dir = "{data_dir}"\n']
    for name, path in modes.items():
        parts.append(
            f'[models.{name}]\nprovider = "openai_compatible"\nmodel = "bench"\n'
            f'url = "http://127.0.0.1:{upstream_port}{path}"\n\n'
            f'[services.{name}]\nprimary = "{name}"\n\n[features.{name}]\nservice = "{name}"\n'
        )
    parts.append(
        f'[models.scripted]\nprovider = "scripted"\nparameters = {{ text = "{SCRIPTED_ANSWER}" }}\n\n'
        '[services.scripted]\nprimary = "scripted"\n\n[features.scripted]\nservice = "scripted"\n'
    )
    return "\n".join(parts)


async def _until_ready(
    process: Process, port: int, *, path: str, is_ready: Callable[[int], bool], timeout: float = 30.0
) -> None:
    try:
        async with asyncio.timeout(timeout):
            while not is_ready((await read_http(port, path))[0]):
                process.check()
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise InvalidRun(f"{process.name} was not ready within {timeout:.0f} s") from None
