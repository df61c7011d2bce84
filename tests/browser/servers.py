"""The processes that the browser tests stand on: our server as a user starts it, and a model that parrots."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duologue

READY_WITHIN = 20.0


def wait_until(holds: Callable[[], bool], what: str, timeout: float = READY_WITHIN) -> None:
    """Look again and again; there is nothing to wait on in another process."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`duologue serve` in its own process, on a port that it keeps when it is started again."""

    def __init__(self, directory: Path, config: str) -> None:
        self.port = free_port()
        self.directory = directory
        self.config = directory / "duologue.toml"
        self.config.write_text(f'[server]\nhost = "127.0.0.1"\nport = {self.port}\n{config}')
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return dict(json.load(answer))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def delete(self, path: str) -> None:
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, method="DELETE"), timeout=10
        ) as answer:
            assert answer.status == 204

    def start(self) -> None:
        foreign = ("DUOLOGUE_", "OPENAI_", "ANTHROPIC_", "AI_CHAT_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # Also where the package is not installed, whatever the working directory.
        environ["PYTHONPATH"] = str(Path(duologue.__file__).parent.parent)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "duologue", "serve", "--config", str(self.config)],
                cwd=self.directory,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_ready, f"the server answers /readyz; its log: {self.directory / 'log'}")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}readyz", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """What `kill -9` does. Its store's process, which stays behind, is for the next start to find."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """What Ctrl-C does."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(READY_WITHIN)
        self.process = None

    def close(self) -> None:
        """Leave no process behind, the store's included."""
        if self.process is not None:
            group = self.process.pid
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def running(directory: Path, config: str) -> Iterator[Server]:
    server = Server(directory, config)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Parrot(ThreadingHTTPServer):
    """An OpenAI-compatible upstream that says back the last user message, cut at random places, a piece per chunk."""

    daemon_threads = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _ParrotHandler)
        self.random = random.Random(seed)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def pieces(self, text: str) -> list[str]:
        cuts = sorted(self.random.sample(range(1, len(text)), min(24, len(text) - 1)))
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class _ParrotHandler(BaseHTTPRequestHandler):
    server: Parrot

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][-1]["content"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for piece in self.server.pieces(text):
                self._say({"choices": [{"index": 0, "delta": {"content": piece}}]})
                time.sleep(0.004)
            self._say({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def parroting(seed: int = 20_261) -> Iterator[Parrot]:
    with Parrot(seed) as parrot:
        thread = threading.Thread(target=parrot.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield parrot
        finally:
            parrot.shutdown()
            thread.join()
