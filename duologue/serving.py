"""`duologue serve`: the server as a program of its own, which may set up logging and write to the terminal."""

import gc
import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from duologue.app import DuologueServer
from duologue.config.settings import Settings

__all__ = [
    "LogFormat",
    "LogLevel",
    "run_server",
    "set_up_logging",
    "calm_the_collector",
    "JsonLines",
    "PlainLines",
]

LogFormat = Literal["plain", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

# What every record has; the rest of its attributes are what `extra=` gave it.
_COMMON: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class AnnouncingServer(DuologueServer):
    """Says where it is once it really answers there.

    Args:
        settings: What to serve.
        announce: Gets the address.
    """

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        super().__init__(settings)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            calm_the_collector()
            self._announce(self.address)


def calm_the_collector() -> None:
    """Keep the garbage collector from stopping every answer at once. For a process of our own only.

    A full collection went through everything that was imported: some 100 ms, met by whoever asked in that
    moment (see benchmarks/README.md, first token). What is there now stays for good, so it is left out, and what
    dialogues make is freed by its last reference, so the collector has little to find and may look less often.
    Small young generations keep each look short: with 50,000 objects one took 30 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000)


def run_server(
    settings: Settings,
    announce: Callable[[str], None],
    *,
    log_format: LogFormat = "plain",
    log_level: LogLevel = "info",
) -> None:
    """Serve until a signal says stop, in a loop of its own.

    Args:
        settings: What to serve.
        announce: Gets the address when it answers there.
        log_format: How log lines look.
        log_level: The least important of our own lines that are written.

    Raises:
        ConfigurationError: The address is taken, the data directory is in use, or no store can be started.
    """
    set_up_logging(log_format, log_level)
    server = AnnouncingServer(settings, announce)
    server.bind()
    server.run()


def set_up_logging(log_format: LogFormat, log_level: LogLevel) -> None:
    """Write log lines to standard error.

    Of other people's libraries only warnings are written: at a lower level some write what goes over the wire,
    which is what people say.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else PlainLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("duologue").setLevel(log_level.upper())


def _time_of(record: logging.LogRecord) -> str:
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{second}.{int(record.msecs):03d}Z"


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _COMMON}


class JsonLines(logging.Formatter):
    """One JSON object a line: `at` (UTC), `level`, `logger`, `message`, the record's extra values, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainLines(logging.Formatter):
    """Lines for people: time in UTC, level, logger, message, extra values as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time_of(record), f"{record.levelname.lower():<7}", record.name, record.getMessage()]
        words += [f"{name}={value}" for name, value in _extra_of(record).items()]
        lines = [" ".join(words)]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)
