"""A fault-playing OpenAI-compatible server on real sockets, for tests and benchmarks.

In the same process:

    async with FakeUpstream() as upstream:
        upstream.play(Play(tokens=["Hello ", "world"], fault=Fault.DIE, at=1))       # every model
        upstream.play(Play(interval=0.02), model="steady")                             # one model
        ... upstream.url ... upstream.requests ... await upstream.wait_until(lambda: upstream.open_connections == 0)

In its own process, steered over HTTP (`POST /_fake/play?model=NAME` with a Play as JSON, `GET /_fake/stats`):

    python -m tests.system.fake_upstream --port 9001 --tokens 200 --interval 0.02
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Fault(StrEnum):
    """What goes wrong. Those above the line strike instead of an answer, those below it at token `Play.at`."""

    RESET = "reset"  # the connection is reset when the request is in
    UNAUTHORIZED = "unauthorized"  # 401, with an echo of a part of the key, as the real ones do
    FORBIDDEN = "forbidden"
    QUOTA = "quota"  # 429 insufficient_quota
    RATE_LIMITED = "rate_limited"  # 429, with `Play.retry_after` as its header
    CONTEXT_LENGTH = "context_length"  # 400 context_length_exceeded
    SERVER_ERROR = "server_error"  # 500
    OVERLOADED = "overloaded"  # 503
    REDIRECT = "redirect"
    HANG = "hang"  # no headers, ever
    HTML = "html"  # 200 with a web page
    EMPTY = "empty"  # finish_reason stop, no content
    DONE_ONLY = "done_only"  # [DONE] and nothing else
    JSON = "json"  # a whole answer as application/json: no fault, but no stream
    NO_HTTP = "no_http"  # bytes that are no HTTP
    # ──
    DIE = "die"  # the connection is reset
    EOF = "eof"  # the connection ends in the middle of the chunked body
    CUT = "cut"  # the body ends properly, without a terminal mark
    STALL = "stall"  # nothing more, ever
    PINGS = "pings"  # only comments from here on, one each 20 ms
    GARBAGE = "garbage"  # an event that is no JSON
    ERROR_FRAME = "error_frame"  # an error object, then [DONE]
    NO_FINISH = "no_finish"  # all content and [DONE], no finish_reason
    NO_DONE = "no_done"  # finish_reason, then nothing more is sent and the connection stays open
    LATE_USAGE = (
        "late_usage"  # finish_reason, a little later more text, then usage and [DONE]: no fault, but lax
    )
    HUGE_LINE = "huge_line"  # 8 MiB without a line end


_INSTEAD = {
    Fault.UNAUTHORIZED: (
        401,
        {"message": "Incorrect API key provided: sk-canary", "code": "invalid_api_key"},
    ),
    Fault.FORBIDDEN: (403, {"message": "no", "type": "permission_error"}),
    Fault.QUOTA: (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
    Fault.RATE_LIMITED: (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}),
    Fault.CONTEXT_LENGTH: (400, {"message": "too long", "code": "context_length_exceeded"}),
    Fault.SERVER_ERROR: (500, {"message": "The server had an error", "type": "server_error"}),
    Fault.OVERLOADED: (503, {"message": "Overloaded", "type": "service_unavailable"}),
}


@dataclass
class Play:
    """How a request is answered."""

    tokens: Sequence[str] = ("Hello ", "from ", "the ", "fake ", "upstream.")
    interval: float = 0.0
    """Seconds between tokens. 0: everything at once."""
    delay: float = 0.0
    """Seconds before the headers."""
    fault: Fault | None = None
    at: int = 0
    """Tokens before the fault."""
    faults: int | None = None
    """How many requests meet the fault; `None`: all."""
    retry_after: str | None = None
    usage: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fault = None if self.fault is None else Fault(self.fault)
        self._frames: list[bytes] | None = None

    def frames(self) -> list[bytes]:
        """One HTTP chunk per token, made once."""
        if self._frames is None:
            self._frames = [_http_chunk(_delta(token)) for token in self.tokens]
        return self._frames

    def ending(self) -> bytes:
        usage = {
            "prompt_tokens": 7,
            "completion_tokens": len(self.tokens),
            "total_tokens": 7 + len(self.tokens),
        }
        parts = [_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})]
        if self.usage:
            parts.append(_event({"choices": [], "usage": usage}))
        return b"".join(map(_http_chunk, [*parts, b"data: [DONE]\n\n"])) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Recorded:
    """What a request looked like."""

    path: str
    headers: dict[str, str]
    body: dict[str, object]


class FakeUpstream:
    """The server. Counts what happens to it; `wait_until` waits for a count without sleeping."""

    def __init__(self, *, port: int = 0, keep: int = 1000) -> None:
        self.port = port
        self.requests: deque[Recorded] = deque(maxlen=keep)
        self.request_count = 0
        self.connection_count = 0
        self.open_connections = 0
        self.open_answers = 0
        self.abandoned = 0  # answers whose client went away before their end
        self._plays: dict[str | None, Play] = {None: Play()}
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._changes = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.refuse()
        for connection in list(self._connections):
            connection.transport.abort()
        await self.wait_until(lambda: not self._connections)

    async def listen(self) -> None:
        """Accept connections (again), on the same port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Accept no more connections: the next one is refused. Those that are open stay so."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset_all(self) -> None:
        """Reset every connection, as a killed server does."""
        for connection in list(self._connections):
            connection.reset()

    def play(self, play: Play, *, model: str | None = None) -> None:
        """Answer requests from now on like this: those for `model`, or all that have no play of their own."""
        self._plays[model] = play

    def play_for(self, model: object) -> Play:
        return self._plays.get(model) or self._plays[None]  # type: ignore[call-overload]

    async def wait_until(self, predicate: Callable[[], object], seconds: float = 5.0) -> None:
        """Return once the predicate holds; it is looked at after every change of a count."""
        async with asyncio.timeout(seconds):
            while not predicate():
                self._changes.clear()
                await self._changes.wait()

    def stats(self) -> dict[str, int]:
        return {
            "requests": self.request_count,
            "connections": self.connection_count,
            "open_connections": self.open_connections,
            "open_answers": self.open_answers,
            "abandoned": self.abandoned,
        }

    def changed(self) -> None:
        self._changes.set()


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: FakeUpstream) -> None:
        self.upstream = upstream
        self.buffer = b""
        self.answering = False
        self.timer: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        upstream = self.upstream
        upstream._connections.add(self)
        upstream.connection_count += 1
        upstream.open_connections += 1
        upstream.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        upstream = self.upstream
        upstream._connections.discard(self)
        upstream.open_connections -= 1
        if self.timer is not None:
            self.timer.cancel()
        if self.answering:
            upstream.abandoned += 1
            self._answered()
        upstream.changed()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            length = int(headers.get("content-length", "0"))
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            method, path, _ = head[0].split(" ")
            self._request(method, path, headers, body)

    def _request(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> None:
        upstream = self.upstream
        parts = urlsplit(path)
        if parts.path == "/_fake/stats":
            self._whole(200, json.dumps(upstream.stats()).encode())
        elif parts.path == "/_fake/play":
            upstream.play(Play(**json.loads(raw)), model=parse_qs(parts.query).get("model", [None])[0])
            self._whole(200, b"{}")
        elif method == "GET":
            self._whole(200, b'{"object": "list", "data": []}')
        else:
            body = json.loads(raw)
            upstream.requests.append(Recorded(path, headers, body))
            upstream.request_count += 1
            upstream.open_answers += 1
            self.answering = True
            upstream.changed()
            play = upstream.play_for(body.get("model"))
            fault = play.fault
            if fault is not None and play.faults is not None:
                fault, play.faults = (fault, play.faults - 1) if play.faults > 0 else (None, 0)
            if play.delay:
                self.timer = self.loop.call_later(play.delay, self._answer, play, fault)
            else:
                self._answer(play, fault)

    def _answer(self, play: Play, fault: Fault | None) -> None:
        match fault:
            case Fault.RESET:
                self.reset()
            case Fault.HANG:
                pass
            case Fault.NO_HTTP:
                self.transport.write(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")
                self.transport.close()
            case Fault.REDIRECT:
                self._whole(302, b"", {"location": self.upstream.url + "/elsewhere"})
            case Fault.HTML:
                self._whole(200, b"<html><body>Welcome</body></html>", {"content-type": "text/html"})
            case Fault.JSON:
                message = {"role": "assistant", "content": "".join(play.tokens)}
                answer = {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 7, "completion_tokens": len(play.tokens)},
                }
                self._whole(200, json.dumps(answer).encode())
            case _ if fault in _INSTEAD:
                status, error = _INSTEAD[fault]
                retry = {} if play.retry_after is None else {"retry-after": play.retry_after}
                self._whole(status, json.dumps({"error": error}).encode(), retry)
            case _:
                self._stream(play, fault)

    def _stream(self, play: Play, fault: Fault | None) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in play.headers.items())
        self.transport.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{lines}transfer-encoding: chunked\r\n\r\n".encode()
        )
        frames = play.frames()
        if fault in (Fault.EMPTY, Fault.DONE_ONLY):
            frames = []
        elif fault not in (None, Fault.NO_FINISH, Fault.NO_DONE, Fault.LATE_USAGE):
            frames = frames[: play.at]
        self._send(iter(frames), play, fault)

    def _send(self, frames: Iterator[bytes], play: Play, fault: Fault | None) -> None:
        self.timer = None
        if play.interval == 0:
            self.transport.write(b"".join(frames))
        elif (frame := next(frames, None)) is not None:
            self.transport.write(frame)
            self.timer = self.loop.call_later(play.interval, self._send, frames, play, fault)
            return
        self._end(play, fault)

    def _end(self, play: Play, fault: Fault | None) -> None:
        match fault:
            case None | Fault.EMPTY:
                self._last(play.ending())
            case Fault.DIE:
                self.loop.call_later(0.01, self.reset)  # so that what was sent is read before the reset
            case Fault.EOF:
                self.transport.close()
            case Fault.CUT:
                self._last(b"0\r\n\r\n")
            case Fault.PINGS:
                self._ping()
            case Fault.GARBAGE:
                self._last(_http_chunk(b"data: {{{ this is no JSON\n\n") + play.ending())
            case Fault.ERROR_FRAME:
                error = {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}
                self._last(_http_chunk(_event(error) + b"data: [DONE]\n\n") + b"0\r\n\r\n")
            case Fault.NO_FINISH | Fault.DONE_ONLY:
                self._last(_http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            case Fault.LATE_USAGE:
                self.transport.write(
                    _http_chunk(_event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
                )
                self.timer = self.loop.call_later(0.02, self._late, play)
            case Fault.NO_DONE:
                self.transport.write(
                    _http_chunk(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
                )
            case Fault.HUGE_LINE:
                self._last(_http_chunk(b"data: " + b"x" * (8 << 20)))
            case _:
                pass  # STALL: nothing, ever

    def _late(self, play: Play) -> None:
        self.transport.write(_http_chunk(_delta("P.S.")))
        self.timer = self.loop.call_later(0.02, self._last, play.ending())

    def _ping(self) -> None:
        self.transport.write(_http_chunk(b": ping\n\n"))
        self.timer = self.loop.call_later(0.02, self._ping)

    def _whole(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        lines = {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._last(f"HTTP/1.1 {status} Fake\r\n{head}\r\n".encode() + body)

    def _last(self, data: bytes) -> None:
        self.transport.write(data)
        if self.answering:
            self._answered()

    def _answered(self) -> None:
        self.answering = False
        self.upstream.open_answers -= 1
        self.upstream.changed()

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _delta(text: str) -> bytes:
    """A chunk with everything around the token that the real ones have: some 250 bytes."""
    return _event(
        {
            "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "fake-model-2024-07-18",
            "system_fingerprint": "fp_0123456789",
            "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
            "usage": None,
        }
    )


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of an address that never answers a connection attempt: its queue of them is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


async def _serve(upstream: FakeUpstream) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with upstream:
        print(f"fake upstream on {upstream.url} (pid {os.getpid()})", flush=True)  # noqa: T201
        await stop.wait()


def main() -> None:
    defaults = asdict(Play())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=200, help="how many")
    parser.add_argument("--interval", type=float, default=defaults["interval"], help="seconds between tokens")
    parser.add_argument("--delay", type=float, default=defaults["delay"], help="seconds before the headers")
    parser.add_argument("--fault", type=Fault, default=None, choices=list(Fault))
    parser.add_argument("--at", type=int, default=0, help="tokens before the fault")
    parser.add_argument("--faults", type=int, default=None, help="how many requests meet the fault")
    parser.add_argument("--retry-after", default=None)
    options = vars(parser.parse_args())
    upstream = FakeUpstream(port=options.pop("port"))
    options["tokens"] = [f"word{number} " for number in range(options["tokens"])]
    upstream.play(Play(**options))
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(upstream))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(upstream))


if __name__ == "__main__":
    main()
