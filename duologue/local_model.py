"""The optional model server: llama.cpp behind an OpenAI-compatible HTTP API, always a process of its own.

The runtime speaks to it as to any other model (`provider = "openai_compatible"`), so a model that crashes or eats
all memory takes nothing else with it. The process is made by running this file (`python -m duologue.local_model`);
`xllamacpp` is imported there and nowhere else.

    async with LocalModelServer(LocalModelOptions(gguf=Path("model.gguf"))) as server:
        ...  # an OpenAI-compatible server answers at server.url
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from duologue.errors import ConfigurationError

__all__ = ["LocalModelOptions", "LocalModelServer", "run_local_model"]

_LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LocalModelOptions:
    """What to serve and how.

    Raises:
        ConfigurationError: A number is out of its bounds.
    """

    gguf: Path
    """The model's file, in llama.cpp's own format."""
    port: int = 8401
    """On loopback; there is no way to bind anything else. 0: one that is free."""
    context: int = 4096
    """Tokens of one conversation, question and answer together. Memory grows with it."""
    parallel: int = 1
    """Answers at the same time; more wait their turn. Each has its own context."""
    threads: int | None = None
    """Of the processor. `None`: one less than there are cores, at least one.

    llama.cpp's threads wait for each other by spinning: with one on every core, anything else that runs there
    slows all of them down, here from 65 to 1 token a second.
    """

    def __post_init__(self) -> None:
        bounds = (("port", 0, 65_535), ("context", 64, 1 << 22), ("parallel", 1, 256), ("threads", 1, 1024))
        for name, least, most in bounds:
            number = getattr(self, name)
            if number is not None and not least <= number <= most:
                raise ConfigurationError(f"local model: {name} must be {least} to {most}")


class LocalModelServer:
    """A running model server, from entering its context to leaving it.

    It ends with this process, however this one ends. Answers that stream when it is stopped are cut.

    Args:
        options: What to serve.
        start_timeout: Seconds that loading may take.
    """

    def __init__(self, options: LocalModelOptions, *, start_timeout: float = 300.0) -> None:
        self._options = options
        self._start_timeout = start_timeout
        self._process: Process | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Base URL, for `url` of a registered model. Empty until it serves."""
        return self._url

    @property
    def pid(self) -> int | None:
        """The process; `None` before the start."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Return once the model is loaded and answers.

        Raises:
            ConfigurationError: The extra is not installed, the file is no model, the port is taken, or the model
                does not fit. What llama.cpp says of it goes to stderr.
        """
        assert self._process is None, "a model server is started once"
        _check(self._options)
        arguments = json.dumps(asdict(self._options), default=str)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "duologue.local_model", arguments, stdin=PIPE, stdout=PIPE
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(self._start_timeout):
                line = await self._process.stdout.readline()
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise ConfigurationError(
                    f"local model: not loaded within {self._start_timeout:g} s"
                ) from None
            raise
        self._url = line.decode().strip()
        if not self._url:
            await self.stop()
            raise ConfigurationError(
                f"local model: {self._options.gguf} could not be served: the file is damaged, the model does not fit "
                f"into memory, or port {self._options.port} is taken (llama.cpp's own words are on stderr)"
            )

    async def wait(self) -> None:
        """Return when the process has ended, whoever ended it."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """End the process at once; nothing in it is worth saving. Idempotent."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_local_model(options: LocalModelOptions, *, announce: Callable[[str], None] = _say) -> int:
    """Serve a model until SIGINT or SIGTERM: what `duologue local-model` does. Must run in the main thread.

    Args:
        options: What to serve.
        announce: Gets one line once it serves.

    Returns:
        The command's exit code: 0 when it was told to stop, 1 when the server ended by itself.

    Raises:
        ConfigurationError: As `LocalModelServer.start`.
    """
    return asyncio.run(_serve(options, announce))


async def _serve(options: LocalModelOptions, announce: Callable[[str], None]) -> int:
    told = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        told.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        async with LocalModelServer(options) as server:
            announce(
                f'Serving {options.gguf.name}; for a model\'s table: url = "{server.url}". Ctrl-C stops it.'
            )
            await server.wait()
    except asyncio.CancelledError:
        if not told.is_set():
            raise
        return 0
    return 1


def _check(options: LocalModelOptions) -> None:
    if find_spec("xllamacpp") is None:
        raise ConfigurationError(
            "local model: llama.cpp is not installed; run: pip install 'duologue[local]'"
        )
    try:
        with options.gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"local model: {options.gguf} can't be read: {reason}") from error
    if magic != b"GGUF":
        raise ConfigurationError(f"local model: {options.gguf} is no GGUF file")


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────


def _main(arguments: str) -> None:
    """Load the model, say where it is served, and stay until the starter closes our stdin or is gone."""
    # Ctrl-C reaches every process of the terminal's group; only the starter decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = json.loads(arguments)
    options = LocalModelOptions(**{**given, "gguf": Path(given["gguf"])})
    # Its threads serve for as long as the object lives. Its end would wait half a minute for answers that still
    # stream, so the process is left without it.
    server = _create_server(options)
    _say(server.listening_address)
    sys.stdin.buffer.read()
    os._exit(0)


def _create_server(options: LocalModelOptions) -> Any:
    import xllamacpp  # noqa: PLC0415 - optional, and 40 MB of native code

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.gguf)
    parameters.model_alias = {options.gguf.stem}
    parameters.hostnames = [_LOOPBACK]
    parameters.port = options.port
    parameters.n_ctx = options.context * options.parallel
    parameters.n_parallel = options.parallel
    parameters.cpuparams.n_threads = options.threads or max(1, (os.cpu_count() or 2) - 1)
    parameters.cors_origins = ""  # or any page in a browser on this machine could use the model
    parameters.ui = False
    parameters.endpoint_slots = False  # shows others' prompts
    parameters.verbosity = 1  # errors alone: more would log prompts
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError:
        sys.exit(1)


if __name__ == "__main__":
    _main(sys.argv[1])
