"""Events and answers as bytes, in the two formats of the socket.

Each event is encoded once for each format and kept on the event; the frame that goes out on a WebSocket of
our own server is kept as well, because a server's frames are not masked and so are the same for every viewer.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgpack
import orjson

from duologue.dialogue.events import ErrorInfo, Event, TurnDelta
from duologue.errors import DuologueError

__all__ = ["Format", "JSON", "MSGPACK", "FORMATS", "choose_format", "frame_of"]

_TEXT: Final = 0x81  # FIN and opcode 1 (RFC 6455, section 5.2)
_BINARY: Final = 0x82


def frame_of(payload: bytes, *, binary: bool) -> bytes:
    """One whole, final, unmasked WebSocket message as a server sends it (RFC 6455, section 5.2)."""
    head = _BINARY if binary else _TEXT
    length = len(payload)
    if length < 126:
        return bytes((head, length)) + payload
    if length < 65_536:
        return bytes((head, 126, length >> 8, length & 0xFF)) + payload
    return bytes((head, 127)) + length.to_bytes(8) + payload


def _event_to_wire(event: Event) -> Mapping[str, Any]:
    if type(event) is TurnDelta and event.merged_from is None:
        # Nine of ten events: the same keys in the same order as `to_wire`, in two thirds of the time.
        return {
            "event": "turn.delta",
            "dialogue": event.dialogue,
            "epoch": event.epoch,
            "seq": event.seq,
            "turn": event.turn,
            "attempt": event.attempt,
            "offset": event.offset,
            "text": event.text,
        }
    return event.to_wire()


class Format:
    """One of the socket's formats. Two instances, `JSON` and `MSGPACK`, mean exactly the same."""

    __slots__ = ("_frame_name", "binary", "name", "subprotocol")

    def __init__(self, name: str, *, binary: bool) -> None:
        self.name = name
        self.binary = binary
        """Whether frames are binary ones."""
        self.subprotocol = f"duologue.v1.{name}"
        self._frame_name = f"{name}.frame"

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Any plain values."""
        if self.binary:
            packed: bytes = msgpack.packb(value)
            return packed
        return orjson.dumps(value)

    def event(self, event: Event) -> bytes:
        """An event's payload, encoded at most once."""
        return event.encoded(self.name, self._encode_event)

    def event_frame(self, event: Event) -> bytes:
        """An event's WebSocket message with its header, made at most once."""
        return event.encoded(self._frame_name, self._encode_event_frame)

    def frame(self, payload: bytes) -> bytes:
        """The WebSocket message of a payload."""
        return frame_of(payload, binary=self.binary)

    def answer(self, re: int, ok: Mapping[str, Any]) -> bytes:
        """`{"re", "ok"}`: a command's result."""
        return self.encode({"re": re, "ok": ok})

    def refusal(self, re: int | None, error: DuologueError) -> bytes:
        """`{"re", "error"}`: why a command was not done."""
        return self.encode({"re": re, "error": ErrorInfo.of(error).to_wire()})

    def _encode_event(self, event: Event) -> bytes:
        return self.encode(_event_to_wire(event))

    def _encode_event_frame(self, event: Event) -> bytes:
        # Not through `event`: a server of our own never asks for the bare payload, so it is not kept.
        return frame_of(self.encode(_event_to_wire(event)), binary=self.binary)

    def __repr__(self) -> str:
        return f"<Format {self.name}>"


JSON = Format("json", binary=False)
MSGPACK = Format("msgpack", binary=True)
FORMATS: Mapping[str, Format] = {format_.subprotocol: format_ for format_ in (JSON, MSGPACK)}
"""By subprotocol."""


def choose_format(offered: list[str]) -> tuple[Format, str | None] | None:
    """The format, and the subprotocol to name in the answer: the first offered one that is ours.

    None offered means JSON and names none. `None`: some were offered, and none of them is ours.
    """
    if not offered:
        return JSON, None
    for name in offered:
        if name in FORMATS:
            return FORMATS[name], name
    return None
