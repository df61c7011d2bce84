"""Bytes of records, heads and openings: a version, a checksum, and a msgpack array.

    byte 0       version of the layout, 1
    bytes 1-4    CRC-32 of the version byte and the payload, big-endian
    bytes 5-     payload: one msgpack array; for a record its first element is the kind

Decoding is total: any bytes give the value that was encoded or `RecordCorrupt`, and the stored bytes are
left as they are. CRC-32 finds every single-bit flip and every burst of up to 32 bits for certain, and any
other damage with a chance of 1 in 2**32 to miss. It is no defence against somebody who means it.

How the layout may change: a field with a default may be added at the end of an array (older programs ignore
it, newer ones take the default where it is absent). Anything else is a new version. A program refuses versions that it
does not know, so that it never half-understands and overwrites what a newer one wrote.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgpack

from duologue.errors import BadRequest, RecordCorrupt
from duologue.messages import (
    DialogueId,
    DialogueMeta,
    Epoch,
    FinishReason,
    Message,
    MessageStatus,
    Position,
    Role,
    Tier,
    TurnId,
    Usage,
)
from duologue.store.port import (
    AnswerExtended,
    AttemptBegan,
    Head,
    HeadUpdate,
    MessageQueued,
    MessageSuperseded,
    Owner,
    Record,
    TurnClosed,
    TurnOpened,
    TurnOutcome,
)

__all__ = [
    "VERSION",
    "encode_record",
    "decode_record",
    "encode_head",
    "decode_head",
    "encode_meta",
    "decode_meta",
    "build_head",
]

VERSION: Final = 1
_HEADER: Final = 5
_MARK: Final = bytes([VERSION])
_MARK_CRC: Final = zlib.crc32(_MARK)


# ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Field:
    """How a value goes into the array and comes out. `unpack` raises on anything but what `pack` makes."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:  # not isinstance: True is no index
            raise TypeError(kind.__name__)
        return value

    return check


def _optional(field: _Field) -> _Field:
    return _Field(
        lambda value: None if value is None else field.pack(value),
        lambda value: None if value is None else field.unpack(value),
    )


def _sequence(field: _Field) -> _Field:
    def unpack(value: Any) -> Any:
        return tuple(field.unpack(item) for item in _list(value))

    return _Field(lambda values: [field.pack(value) for value in values], unpack)


def _row(build: Callable[..., Any], *fields: tuple[str, _Field]) -> _Field:
    """A dataclass as an array of its fields, in this order."""
    parts = tuple((attrgetter(name), field.pack) for name, field in fields)
    unpacks = tuple(field.unpack for _, field in fields)

    def pack(value: Any) -> list[Any]:
        return [pack_one(get(value)) for get, pack_one in parts]

    def unpack(value: Any) -> Any:
        # Fields beyond ours are ignored; those that an older program did not write have their defaults, and
        # for one without a default `build` raises.
        return build(*[unpack_one(item) for unpack_one, item in zip(unpacks, _list(value), strict=False)])

    return _Field(pack, unpack)


def _words(value: Any) -> Mapping[str, str]:
    if type(value) is not dict or not all(type(word) is str for item in value.items() for word in item):
        raise TypeError("map")
    return value


_list = _exactly(list)
_TEXT = _Field(_same, _exactly(str))
_COUNT = _Field(_same, _exactly(int))
_TIME = _Field(float, _exactly(float))
_MAYBE_TEXT = _optional(_TEXT)
_MAYBE_COUNT = _optional(_COUNT)
_USAGE = _row(Usage, ("input_tokens", _MAYBE_COUNT), ("output_tokens", _MAYBE_COUNT))
_POSITION = _row(Position, ("epoch", _TEXT), ("seq", _COUNT))
_MESSAGE = _row(
    Message,
    ("id", _TEXT),
    ("role", _Field(str, Role)),
    ("content", _TEXT),
    ("turn_id", _TEXT),
    ("created_at", _TIME),
    ("status", _Field(str, MessageStatus)),
    ("model", _MAYBE_TEXT),
    ("usage", _optional(_USAGE)),
    ("client_message_id", _MAYBE_TEXT),
)


# ── the schema ──────────────────────────────────────────────────────────────────────────────────────────────

_KINDS: Final[Mapping[int, tuple[type, _Field]]] = {
    1: (MessageQueued, _row(MessageQueued, ("message", _MESSAGE), ("position", _optional(_POSITION)))),
    2: (
        TurnOpened,
        _row(
            TurnOpened,
            ("turn_id", _TEXT),
            ("message_ids", _sequence(_TEXT)),
            ("messages", _sequence(_MESSAGE)),
            ("position", _optional(_POSITION)),
        ),
    ),
    3: (MessageSuperseded, _row(MessageSuperseded, ("message_id", _TEXT))),
    4: (AttemptBegan, _row(AttemptBegan, ("turn_id", _TEXT), ("attempt", _COUNT))),
    5: (
        AnswerExtended,
        _row(
            AnswerExtended,
            ("turn_id", _TEXT),
            ("attempt", _COUNT),
            ("offset", _COUNT),
            ("text", _TEXT),
            ("model", _TEXT),
            ("tier", _Field(str, Tier)),
            ("service", _TEXT),
        ),
    ),
    6: (
        TurnClosed,
        _row(
            TurnClosed,
            ("turn_id", _TEXT),
            ("attempt", _COUNT),
            ("outcome", _Field(str, TurnOutcome)),
            ("answer", _optional(_MESSAGE)),
            ("finish_reason", _optional(_Field(str, FinishReason))),
            ("error_code", _MAYBE_TEXT),
        ),
    ),
}
_KIND_OF: Final = {cls: (kind, field) for kind, (cls, field) in _KINDS.items()}


def _head(epoch: Epoch, seq: int, open_turn: TurnId | None, updated_at: float, preview: str) -> HeadUpdate:
    return HeadUpdate(Position(epoch, seq), open_turn, updated_at, preview)


_HEAD = _row(
    _head,
    ("position.epoch", _TEXT),
    ("position.seq", _COUNT),
    ("open_turn", _MAYBE_TEXT),
    ("updated_at", _TIME),
    ("preview", _TEXT),
)
_META = _row(
    DialogueMeta,
    ("feature", _TEXT),
    ("section", _MAYBE_TEXT),
    ("account", _MAYBE_TEXT),
    ("system_prompt", _MAYBE_TEXT),
    ("metadata", _Field(dict, _words)),
    ("created_at", _TIME),
)


# ── the envelope ────────────────────────────────────────────────────────────────────────────────────────────


def _seal(array: list[Any]) -> bytes:
    try:
        payload: bytes = msgpack.packb(array)
    except (UnicodeEncodeError, OverflowError) as error:
        raise BadRequest("A value can't be stored: a lone surrogate, or a number beyond 64 bits.") from error
    return _MARK + zlib.crc32(payload, _MARK_CRC).to_bytes(4, "big") + payload


def _unseal(data: bytes, what: str) -> list[Any]:
    if len(data) <= _HEADER:
        raise RecordCorrupt(f"A stored {what} is cut short.")
    if data[0] != VERSION:
        raise RecordCorrupt(
            f"A stored {what} is of version {data[0]}, or damaged; version {VERSION} is known."
        )
    payload = data[_HEADER:]
    if zlib.crc32(payload, _MARK_CRC) != int.from_bytes(data[1:_HEADER], "big"):
        raise RecordCorrupt(f"A stored {what} fails its checksum.")
    try:
        return _list(msgpack.unpackb(payload))  # type: ignore[no-any-return]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise RecordCorrupt(f"A stored {what} can't be read.") from error


def _open(field: _Field, data: bytes, what: str) -> Any:
    array = _unseal(data, what)
    try:
        return field.unpack(array)
    except (ValueError, TypeError) as error:
        raise RecordCorrupt(f"A stored {what} has a field of the wrong kind.") from error


def encode_record(record: Record) -> bytes:
    """One record of the log as bytes.

    Raises:
        BadRequest: A text in it can't be written as UTF-8.
    """
    kind, field = _KIND_OF[type(record)]
    return _seal([kind, *field.pack(record)])


def decode_record(data: bytes) -> Record:
    """The record that `encode_record` made these bytes of.

    Raises:
        RecordCorrupt: They are no such bytes, or of a version or kind that this program does not know.
    """
    array = _unseal(data, "record")
    kind = array.pop(0) if array else None
    known = _KINDS.get(kind) if type(kind) is int else None
    if known is None:
        raise RecordCorrupt("A stored record is of a kind that this program does not know.")
    try:
        return known[1].unpack(array)  # type: ignore[no-any-return]
    except (ValueError, TypeError) as error:
        raise RecordCorrupt("A stored record has a field of the wrong kind.") from error


def encode_head(head: HeadUpdate) -> bytes:
    """The changing part of a head as bytes. Raises like `encode_record`."""
    return _seal(_HEAD.pack(head))


def decode_head(data: bytes) -> HeadUpdate:
    """What `encode_head` made these bytes of. Raises like `decode_record`."""
    return _open(_HEAD, data, "head")  # type: ignore[no-any-return]


def encode_meta(meta: DialogueMeta) -> bytes:
    """What a dialogue was opened with as bytes. Raises like `encode_record`."""
    return _seal(_META.pack(meta))


def decode_meta(data: bytes) -> DialogueMeta:
    """What `encode_meta` made these bytes of. Raises like `decode_record`."""
    return _open(_META, data, "opening")  # type: ignore[no-any-return]


def build_head(
    dialogue: DialogueId, owner: Owner, *, log_index: int, write_id: str, state: bytes, meta: bytes
) -> Head:
    """A head of its two encoded parts and what a store keeps beside them. Raises like `decode_record`."""
    update = decode_head(state)
    return Head(
        dialogue=dialogue,
        owner=owner,
        log_index=log_index,
        write_id=write_id,
        position=update.position,
        open_turn=update.open_turn,
        updated_at=update.updated_at,
        preview=update.preview,
        meta=decode_meta(meta),
    )
