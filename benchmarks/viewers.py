"""The two sides' clients: one asks the pass-through, one speaks Duologue's wire. Both check every character."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.sockets import WebSocketConnection
from benchmarks.workload import answer, build_prompt, rotation_of

__all__ = ["DuologueViewer", "PassthroughViewer", "Turn", "Viewer"]


@dataclass
class Turn:
    """What one turn gave. Seconds count from the moment that the question was written to the socket."""

    tokens: int
    frames: int
    first_token: float
    acknowledged: float | None
    """When the server said that the question is durable; `None` where it says no such thing."""
    total: float


class Viewer(WebSocketConnection):
    """One connection, one turn at a time."""

    def __init__(self, *, host_header: str, path: str, subprotocol: str | None = None) -> None:
        super().__init__(host_header=host_header, path=path, subprotocol=subprotocol)
        self._text: list[str] = []
        self._asked_at = 0.0
        self._first_token = 0.0
        self._acknowledged: float | None = None
        self._ended: asyncio.Future[None] | None = None

    async def turn(self, number: int, *, path: str, tokens: int, expected: str | None = None) -> Turn:
        """Ask question `number` and take the whole answer; `expected`: not the upstream's but this.

        Raises:
            AssertionError: What came is not the answer, or not as the wire promises.
        """
        assert self.problem is None, self.problem
        frames = self.frames_received
        self._text = []
        self._first_token = 0.0
        self._acknowledged = None
        self._ended = asyncio.get_running_loop().create_future()
        self._asked_at = time.perf_counter()
        self._ask(build_prompt(number), path)
        await self._ended
        total = time.perf_counter() - self._asked_at
        assert self.problem is None, self.problem
        if expected is None:
            expected = answer(rotation_of(number), tokens)
        received = "".join(self._text)
        assert received == expected, f"wrong text: {len(received)} characters, {len(expected)} expected"
        return Turn(tokens, self.frames_received - frames, self._first_token, self._acknowledged, total)

    def _ask(self, content: str, path: str) -> None:
        raise NotImplementedError

    def _take_text(self, text: str) -> None:
        if not self._text:
            self._first_token = time.perf_counter() - self._asked_at
        self._text.append(text)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def on_problem(self) -> None:
        self._end()


class PassthroughViewer(Viewer):
    """A client of benchmarks/passthrough.py."""

    def __init__(self, host_header: str) -> None:
        super().__init__(host_header=host_header, path="/relay")

    def _ask(self, content: str, path: str) -> None:
        self.send_text(orjson.dumps({"path": path, "content": content}))

    def on_text(self, payload: bytes) -> None:
        frame = orjson.loads(payload)
        text = frame.get("text")
        if text is not None:
            self._take_text(text)
            return
        assert frame["done"] == "stop", frame
        self._end()


class DuologueViewer(Viewer):
    """A client of Duologue that watches one dialogue, and holds the wire to its promises about numbers."""

    def __init__(self, host_header: str) -> None:
        super().__init__(host_header=host_header, path="/v1/socket", subprotocol="duologue.v1.json")
        self.dialogue: str | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 1
        self._send_id = 0
        self._seq = 0
        self._length = 0

    async def watch_new(self, feature: str) -> None:
        """Open a dialogue and watch it; what was watched before is let go."""
        if self.dialogue is not None:
            await self.command("detach", dialogue=self.dialogue)
        opened = await self.command("open", feature=feature)
        self.dialogue = opened["dialogue"]
        attached = await self.command("attach", dialogue=self.dialogue)
        self._seq = attached["seq"]

    async def command(self, op: str, **fields: Any) -> dict[str, Any]:
        """One command and its answer.

        Raises:
            AssertionError: The server answered with an error.
        """
        assert self.problem is None, self.problem
        number = self._write_command(op, fields)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        reply = await future
        assert "ok" in reply, f"{op}: {reply}"
        return reply["ok"]  # type: ignore[no-any-return]

    def _write_command(self, op: str, fields: dict[str, Any]) -> int:
        number = self._next_id
        self._next_id += 1
        self.send_text(orjson.dumps({"id": number, "op": op, **fields}))
        return number

    def _ask(self, content: str, path: str) -> None:
        del path  # the dialogue's feature says what is asked of whom
        self._length = 0
        self._send_id = self._write_command("send", {"dialogue": self.dialogue, "content": content})

    def on_problem(self) -> None:
        super().on_problem()
        for future in self._answers.values():
            future.set_exception(AssertionError(self.problem))
        self._answers.clear()

    def on_text(self, payload: bytes) -> None:
        frame = orjson.loads(payload)
        event = frame.get("event")
        if event is None:
            self._take_reply(frame)
        elif event == "turn.delta":
            self._number(frame)
            assert frame["offset"] == self._length, "the offset is not what was read so far"
            text = frame["text"]
            self._length += len(text)
            self._take_text(text)
        elif event == "ping":
            self._write_command("pong", {})
        else:
            self._take_event(event, frame)

    def _take_reply(self, frame: dict[str, Any]) -> None:
        if frame["re"] == self._send_id:
            assert "ok" in frame, frame
            self._acknowledged = time.perf_counter() - self._asked_at
        elif future := self._answers.pop(frame["re"], None):
            future.set_result(frame)

    def _take_event(self, event: str, frame: dict[str, Any]) -> None:
        if event == "dialogue.snapshot":
            self._seq = frame["seq"]
            return
        assert event in {"message.accepted", "turn.started", "turn.completed"}, frame
        self._number(frame)
        if event == "turn.completed":
            assert frame["message"]["content"] == "".join(self._text), (
                "what was committed is not what was streamed"
            )
            self._end()

    def _number(self, frame: dict[str, Any]) -> None:
        assert frame["dialogue"] == self.dialogue, "an event of another dialogue"
        assert frame.get("first_seq", frame["seq"]) == self._seq + 1, "a hole in the numbers"
        self._seq = frame["seq"]
