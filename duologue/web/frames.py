"""What clients may say on a socket: bytes in, a typed command or a typed refusal out. Total: nothing escapes.

JSON is validated from the bytes in one pass, because the standard library's parser lets lone surrogates
and numbers of any size through. Only a frame that failed is parsed a second time, leniently, to learn
whether it was JSON at all and which `id` to answer.
"""

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgpack
from pydantic import Field, TypeAdapter, ValidationError

from duologue.errors import BadFrame, BadRequest
from duologue.web.fields import (
    ClientId,
    DialogueName,
    Metadata,
    Name,
    Strict,
    Text,
    complaint_of,
    read_leniently,
)

__all__ = [
    "FRAME_BYTES_MAX",
    "DEPTH_MAX",
    "Auth",
    "Open",
    "After",
    "Attach",
    "Send",
    "Cancel",
    "Regenerate",
    "Edit",
    "Ack",
    "Detach",
    "Pong",
    "Command",
    "Refusal",
    "Strikes",
    "parse_json",
    "parse_msgpack",
]

FRAME_BYTES_MAX = 65_536
"""Largest frame in bytes, before any decoding."""
DEPTH_MAX = 32
"""Deepest nesting of arrays and maps. No command needs more than three."""
_ITEMS_MAX = 256
_ID_MAX = 2**53 - 1  # what a JavaScript number holds exactly

_Id = Annotated[int, Field(ge=-_ID_MAX, le=_ID_MAX)]
_Seq = Annotated[int, Field(ge=0, le=_ID_MAX)]


class _Base(Strict):
    id: _Id
    """The client's own number, told back in the answer's `re`."""


class Auth(_Base):
    """Who the client is. First of all where authentication is configured."""

    op: Literal["auth"]
    token: Annotated[str, Field(max_length=4096, repr=False)]


class Open(_Base):
    """Create a dialogue, or find the one opened with the same words."""

    op: Literal["open"]
    dialogue: DialogueName | None = None
    feature: Name
    section: Name | None = None
    account: Name | None = None
    system_prompt: Annotated[Text | None, Field(repr=False)] = None
    metadata: Metadata | None = None


class After(Strict):
    """What the client has seen."""

    epoch: Annotated[str, Field(max_length=128)]
    seq: _Seq


class Attach(_Base):
    """Watch a dialogue."""

    op: Literal["attach"]
    dialogue: DialogueName
    after: After | None = None
    coalesce_ms: Literal[0, 40, 100, 500] = 0


class Send(_Base):
    """Say something and have it answered."""

    op: Literal["send"]
    dialogue: DialogueName
    content: Annotated[Text, Field(repr=False)]
    client_message_id: ClientId | None = None
    on_busy: Literal["reject", "queue", "interrupt", "merge"] | None = None


class Cancel(_Base):
    """Stop the answer."""

    op: Literal["cancel"]
    dialogue: DialogueName
    turn: ClientId | None = None


class Regenerate(_Base):
    """Answer the last message once more."""

    op: Literal["regenerate"]
    dialogue: DialogueName


class Edit(_Base):
    """Replace a message and answer the new one."""

    op: Literal["edit"]
    dialogue: DialogueName
    message: ClientId
    content: Annotated[Text, Field(repr=False)]


class Ack(_Base):
    """Everything up to `seq` was read."""

    op: Literal["ack"]
    dialogue: DialogueName
    seq: _Seq


class Detach(_Base):
    """Stop watching."""

    op: Literal["detach"]
    dialogue: DialogueName


class Pong(_Base):
    """The answer to a ping."""

    op: Literal["pong"]


Command = Auth | Open | Attach | Send | Cancel | Regenerate | Edit | Ack | Detach | Pong

_OPS = "auth, open, attach, send, cancel, regenerate, edit, ack, detach, pong"
_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="op")])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A frame that is no command.

    Args:
        re: The frame's own `id` where it had a usable one.
        error: What to answer.
    """

    re: int | None
    error: BadFrame | BadRequest


def parse_json(data: bytes | str) -> Command | Refusal:
    """Read one frame of the JSON subprotocol."""
    try:
        return _COMMANDS.validate_json(data)
    except ValidationError as error:
        failure = error
    except ValueError:  # a str that does not encode, which a server of another make could hand us
        return Refusal(None, BadFrame("the frame is not UTF-8"))
    try:
        value = read_leniently(data)
    except (ValueError, RecursionError):
        return Refusal(None, BadFrame("the frame is not JSON"))
    return _refusal(value, failure)


def parse_msgpack(data: bytes) -> Command | Refusal:
    """Read one frame of the MessagePack subprotocol. Extension types, `bin` and keys but text are refused."""
    try:
        value = _unpack(data)
    except UnicodeDecodeError:
        return _refusal_of_text(data)
    except (ValueError, OverflowError, RecursionError, TypeError):
        return Refusal(None, BadFrame("the frame is not MessagePack, or is over its limits"))
    try:
        return _COMMANDS.validate_python(value)
    except ValidationError as error:
        return _refusal(value, error)


def _no_extension(_code: int, _data: bytes) -> Any:
    raise ValueError("extension types are not part of the protocol")


def _unpack(data: bytes, unicode_errors: str = "strict") -> Any:
    return msgpack.unpackb(
        data,
        raw=False,
        strict_map_key=True,
        unicode_errors=unicode_errors,
        max_str_len=FRAME_BYTES_MAX,
        max_bin_len=0,
        max_array_len=_ITEMS_MAX,
        max_map_len=_ITEMS_MAX,
        max_ext_len=0,
        ext_hook=_no_extension,
    )


def _refusal_of_text(data: bytes) -> Refusal:
    """A surrogate's bytes are somebody's text gone wrong, and answerable; other broken UTF-8 is noise."""
    try:
        value = _unpack(data, "surrogatepass")
    except (ValueError, OverflowError, RecursionError, TypeError):
        return Refusal(None, BadFrame("the frame holds text that is not UTF-8"))
    return Refusal(_id_of(value), BadRequest("a text is not encodable as UTF-8"))


def _refusal(value: Any, failure: ValidationError) -> Refusal:
    if _deeper_than(value, DEPTH_MAX):
        return Refusal(None, BadFrame(f"the frame is nested deeper than {DEPTH_MAX}"))
    re = _id_of(value)
    if not isinstance(value, dict):
        return Refusal(re, BadRequest("a command is an object"))
    match failure.errors(include_url=False, include_input=False, include_context=False)[0]["type"]:
        case "json_invalid":  # the lenient parser took it, so it is a lone surrogate or a number out of range
            return Refusal(re, BadRequest("a text is not encodable as UTF-8, or a number is out of range"))
        case "union_tag_invalid" | "union_tag_not_found":
            return Refusal(re, BadRequest(f"op must be one of: {_OPS}"))
    return Refusal(re, BadRequest(complaint_of(failure, skip=1)))


def _id_of(value: Any) -> int | None:
    given = value.get("id") if isinstance(value, dict) else None
    if isinstance(given, bool) or not isinstance(given, int) or not -_ID_MAX <= given <= _ID_MAX:
        return None
    return given


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


class Strikes:
    """Counts frames that were no commands, to part with a client that sends nothing else.

    Args:
        limit: This many within the window are one too many.
        window: Seconds.
    """

    __slots__ = ("_at", "_limit", "_window")

    def __init__(self, *, limit: int = 20, window: float = 60.0) -> None:
        self._limit = limit
        self._window = window
        self._at: deque[float] | None = None  # made at the first strike: most sockets never have one

    def add(self, now: float) -> bool:
        """Count one at `now` seconds. True when the client has used up its patience."""
        if self._at is None:
            self._at = deque(maxlen=self._limit)
        self._at.append(now)
        return len(self._at) == self._limit and now - self._at[0] <= self._window
