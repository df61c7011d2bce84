"""`duologue serve` as people start it: a process with a configuration file and a data directory of its own."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

CONFIGURATION = """
[models.quick]
provider = "scripted"
parameters = { text = "One two three four." }
[models.slow]
provider = "scripted"
parameters = { text = "so it goes on ", repeat = 500, interval = 0.02 }
[models.dying]
provider = "scripted"
parameters = { text = "This will not be finished.", fault = "die", at = 2 }
[models.paced]
provider = "scripted"
parameters = { text = "a b c d e f g h i j k l m n o p q r s t", interval = 0.05 }

[services.quick]
primary = "quick"
[services.slow]
primary = "slow"
[services.failing_over]
primary = "dying"
backup = "quick"
[services.failing]
primary = "dying"
[services.paced]
primary = "paced"

[features.student_dialogue]
service = "quick"
[features.long]
service = "slow"
[features.failing_over]
service = "failing_over"
[features.failing]
service = "failing"
[features.paced]
service = "paced"
[sections.chemistry.student_dialogue]
service = "paced"
"""

PROJECT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "duologue"]


def environment(**more: str) -> dict[str, str]:
    """This process's variables without any that configure Duologue or a model."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DUOLOGUE_", "OPENAI_", "ANTHROPIC_", "AI_CHAT_"))
    }
    return {**kept, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **more}


class ServeProcess:
    """A server process. Start it again after `kill` and it finds its data and its port."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        variables: dict[str, str] | None = None,
        configuration: str = CONFIGURATION,
    ) -> None:
        self.folder = folder
        self.file = folder / "duologue.toml"
        self.file.write_text(configuration)
        self._flags = flags
        self._variables = variables or {}
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self, *, timeout: float = 20.0) -> Self:
        """Return when the address was printed."""
        command = [
            *COMMAND,
            "serve",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.folder / "data"),
            *self._flags,
        ]
        with (self.folder / "stderr").open("a") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(**self._variables),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            self.url = self._address(timeout)
        except BaseException:
            self.kill()
            raise
        self.port = int(self.url.rpartition(":")[2])
        return self

    def _address(self, timeout: float) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(timeout), self.stderr
        line = self.process.stdout.readline().strip()
        assert line.startswith("http://"), self.stderr
        return line

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def log(self) -> list[dict[str, object]]:
        """The log of `--log-format json`."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self._forget()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 40.0) -> int:
        """Ask it to end; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout)
        self._forget()
        return status

    def _forget(self) -> None:
        assert self.process is not None
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self._forget()


def run(
    *arguments: str,
    folder: Path,
    variables: dict[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**(variables or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def wait_until(predicate, description: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"not in time: {description}"
        time.sleep(0.01)
