"""A fake model server that speaks OpenAI's streaming chat completions, fast enough not to be what is measured.

The path of the request says what to do, so that one process serves every mode:

    POST /flood/<tokens>/...           as fast as the reader takes it
    POST /paced/<rate>/<tokens>/...    `rate` tokens a second, one write each
    GET  /stats                        what was sent and how late

Run as `python -m benchmarks.upstream`; it prints the port that it listens on.
"""

import asyncio
import heapq
import itertools
import socket
import time
from collections.abc import Iterator
from typing import cast

import orjson
import uvloop

from benchmarks.workload import VOCABULARY, build_chunk, build_usage_chunk, rotation_in

__all__ = ["Schedule", "Script", "parse_path"]

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_TICK = 0.001
"""Seconds. The finest timer of the loop is a millisecond; asking for less would spin."""


def _framed(event: bytes) -> bytes:
    """One HTTP chunk per event, as servers that flush each token send it."""
    return b"%x\r\n%b\r\n" % (len(event), event)


_ROLE = _framed(build_chunk(role="assistant", content=""))
_TOKENS = tuple(_framed(build_chunk(content=token)) for token in VOCABULARY)
_CYCLES = tuple(b"".join(_TOKENS[start:] + _TOKENS[:start]) for start in range(len(_TOKENS)))
"""The whole vocabulary from each starting place: what one write of a flood carries."""


def parse_path(path: str) -> tuple[float | None, int]:
    """Rate in tokens a second (`None`: flood) and number of tokens.

    Raises:
        ValueError: The path is none of those above.
    """
    match path.split("/"):
        case ["", "flood", tokens, *_]:
            return None, int(tokens)
        case ["", "paced", rate, tokens, *_]:
            return float(rate), int(tokens)
    raise ValueError(f"no such mode: {path}")


class Script:
    """The bytes of one answer, piece by piece."""

    __slots__ = ("left", "place", "tokens")

    def __init__(self, rotation: int, tokens: int) -> None:
        self.place = rotation
        self.tokens = tokens
        self.left = tokens

    def start(self) -> bytes:
        return _HEAD + _ROLE

    def next_token(self) -> bytes:
        """One token; the last one brings the end of the stream with it, as it does in the wild."""
        piece = _TOKENS[self.place]
        self.place = (self.place + 1) % len(_TOKENS)
        self.left -= 1
        return piece if self.left else piece + self.end()

    def next_block(self) -> bytes:
        """As many tokens as one write of a flood carries."""
        if self.left <= len(_TOKENS):
            return b"".join(self.next_token() for _ in range(self.left))
        self.left -= len(_TOKENS)
        return _CYCLES[self.place]

    def end(self) -> bytes:
        finish = _framed(build_chunk(finish="stop"))
        return finish + _framed(build_usage_chunk(self.tokens)) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Schedule:
    """Who must write when. Pure: the time is passed in.

    The k-th token of a stream is due at `start + k / rate`, whatever happened to the ones before it: lateness
    does not add up. Streams that start together are spread over one interval, so that they are not all due at once.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, float, Upstream]] = []
        self._count = itertools.count()
        self.late = 0
        """Tokens written more than an interval after they were due: where this grows, the run is not paced."""
        self.worst = 0.0
        """Seconds, the greatest lateness."""

    def add(self, stream: "Upstream", *, now: float, interval: float) -> None:
        """Start a stream whose first token was written just now."""
        number = next(self._count)
        spread = (number * 0.618034) % 1.0  # the golden ratio fills the interval evenly for any count
        heapq.heappush(self._due, (now + interval * (1.0 + spread), number, interval, stream))

    def take_due(self, now: float) -> Iterator["Upstream"]:
        """Each stream that must write, once for each token that is due. Ended ones drop out."""
        while self._due and self._due[0][0] <= now:
            due, number, interval, stream = self._due[0]
            lateness = now - due
            self.worst = max(self.worst, lateness)
            self.late += lateness > interval
            yield stream
            if stream.active:
                heapq.heapreplace(self._due, (due + interval, number, interval, stream))
            else:
                heapq.heappop(self._due)

    def next_due(self) -> float | None:
        return self._due[0][0] if self._due else None


class Counters:
    """What `/stats` tells."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0


class Pacer:
    """The timer over a schedule."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.schedule = Schedule()

    def add(self, stream: "Upstream", rate: float) -> None:
        self.schedule.add(stream, now=time.monotonic(), interval=1.0 / rate)
        if self._timer is None:
            self._arm()

    def close(self) -> None:
        """Write no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        due = self.schedule.next_due()
        delay = 0.0 if due is None else due - time.monotonic()
        self._timer = None if due is None else self._loop.call_later(max(_TICK, delay), self._tick)

    def _tick(self) -> None:
        for stream in self.schedule.take_due(time.monotonic()):
            stream.write_token()
        self._arm()


class Upstream(asyncio.Protocol):
    """One connection of the server that is measured."""

    def __init__(self, pacer: Pacer, counters: Counters) -> None:
        self._pacer = pacer
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._script: Script | None = None
        self._rate: float | None = None
        self._paused = False
        self._flooding: asyncio.Handle | None = None
        """The next block of a flood, while one is to be written."""

    @property
    def active(self) -> bool:
        """Whether an answer is being written and somebody is there to read it."""
        return self._script is not None and self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop registers its own as no base class
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._script = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._script is not None and self._rate is None and self._flooding is None:
            self._flooding = self._loop.call_soon(self._flood)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).decode("latin-1")
        request, *fields = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
        }
        size = int(headers.get("content-length", 0))
        if len(self._received) < end + 4 + size:
            return
        body = self._received[end + 4 : end + 4 + size]
        del self._received[: end + 4 + size]
        self._answer(request.split(" ")[1], body)

    def _answer(self, path: str, body: bytearray) -> None:
        assert self._transport is not None and self._script is None, "one request at a time on a connection"
        if path == "/stats":
            self._write_plain(200, orjson.dumps(self._statistics()))
            return
        try:
            self._rate, tokens = parse_path(path)
        except ValueError:
            self._write_plain(404, b'{"error": {"message": "no such mode"}}')
            return
        self._counters.requests += 1
        self._script = Script(rotation_in(body), tokens)
        self._transport.write(self._script.start())
        if self._rate is None:
            self._flood()
            return
        self.write_token()
        if self.active:
            self._pacer.add(self, self._rate)

    def _flood(self) -> None:
        """One block in each turn of the loop, so that all streams get theirs."""
        self._flooding = None
        if not self.active or self._paused:
            return
        assert self._script is not None and self._transport is not None
        before = self._script.left
        self._transport.write(self._script.next_block())
        self._counters.tokens += before - self._script.left
        if self._script.left:
            self._flooding = self._loop.call_soon(self._flood)
        else:
            self._script = None

    def write_token(self) -> None:
        if not self.active:
            return
        assert self._script is not None and self._transport is not None
        self._transport.write(self._script.next_token())
        self._counters.tokens += 1
        if not self._script.left:
            self._script = None

    def _statistics(self) -> dict[str, float]:
        schedule = self._pacer.schedule
        return {
            "requests": self._counters.requests,
            "tokens": self._counters.tokens,
            "late_tokens": schedule.late,
            "worst_lateness_ms": schedule.worst * 1000,
        }

    def _write_plain(self, status: int, body: bytes) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    pacer, counters = Pacer(loop), Counters()
    server = await loop.create_server(lambda: Upstream(pacer, counters), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
