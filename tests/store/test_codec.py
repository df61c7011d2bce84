import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.errors import BadRequest, RecordCorrupt
from duologue.messages import DialogueMeta, MessageId, Tier, TurnId
from duologue.store.codec import (
    VERSION,
    decode_head,
    decode_meta,
    decode_record,
    encode_head,
    encode_meta,
    encode_record,
)
from duologue.store.port import AnswerExtended, AttemptBegan, MessageQueued, MessageSuperseded, TurnOpened
from tests.store.samples import HEADS, METAS, RECORDS

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
CODECS: dict[str, Codec] = {
    "record": (encode_record, decode_record),
    "head": (encode_head, decode_head),
    "meta": (encode_meta, decode_meta),
}
SAMPLES = [
    *(pytest.param(value, CODECS["record"], id=name) for name, value in RECORDS.items()),
    *(pytest.param(value, CODECS["head"], id=name) for name, value in HEADS.items()),
    *(pytest.param(value, CODECS["meta"], id=name) for name, value in METAS.items()),
]
_GOLDEN = Path(__file__).parent / "golden"
GOLDEN = json.loads((_GOLDEN / "v1.json").read_text())
EARLIER = json.loads((_GOLDEN / "v1-without-position.json").read_text())


def _sealed(payload: Any, *, version: int = VERSION) -> bytes:
    """Bytes with a right checksum round anything."""
    body: bytes = msgpack.packb(payload)
    mark = bytes([version])
    return mark + zlib.crc32(mark + body).to_bytes(4, "big") + body


def test_every_sample_has_its_golden_bytes() -> None:
    assert set(GOLDEN) == {*RECORDS, *HEADS, *METAS}


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_todays_bytes_are_the_golden_ones(value: Any, codec: Codec, request: pytest.FixtureRequest) -> None:
    """Whoever changes the layout meets this test: a new version, or a new field at an array's end."""
    assert codec[0](value).hex() == GOLDEN[request.node.callspec.id]


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_golden_bytes_of_version_1_load(value: Any, codec: Codec, request: pytest.FixtureRequest) -> None:
    assert codec[1](bytes.fromhex(GOLDEN[request.node.callspec.id])) == value


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_every_single_bit_flip_is_found(value: Any, codec: Codec) -> None:
    encode, decode = codec
    data = encode(value)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordCorrupt):
            decode(bytes(damaged))


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_every_truncation_and_every_appended_byte_is_found(value: Any, codec: Codec) -> None:
    encode, decode = codec
    data = encode(value)
    for length in range(len(data)):
        with pytest.raises(RecordCorrupt):
            decode(data[:length])
    for extra in range(256):
        with pytest.raises(RecordCorrupt):
            decode(data + bytes([extra]))


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_a_newer_version_is_refused_though_its_checksum_is_right(value: Any, codec: Codec) -> None:
    encode, decode = codec
    payload = msgpack.unpackb(encode(value)[5:])
    assert decode(_sealed(payload)) == value
    with pytest.raises(RecordCorrupt, match="version 2"):
        decode(_sealed(payload, version=2))


@pytest.mark.parametrize(("value", "codec"), SAMPLES)
def test_a_field_added_at_the_end_by_a_newer_program_is_ignored(value: Any, codec: Codec) -> None:
    encode, decode = codec
    payload = msgpack.unpackb(encode(value)[5:])
    assert decode(_sealed([*payload, {"new": 1}])) == value


@pytest.mark.parametrize("name", EARLIER)
def test_bytes_from_before_a_field_was_added_load_with_its_default(name: str) -> None:
    record = RECORDS[name]
    assert isinstance(record, (MessageQueued, TurnOpened))
    assert decode_record(bytes.fromhex(EARLIER[name])) == replace(record, position=None)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(data=st.binary(max_size=64))
def test_any_bytes_are_refused_as_corrupt(codec: Codec, data: bytes) -> None:
    with pytest.raises(RecordCorrupt):
        codec[1](data)


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(payload=_anything)
def test_anything_with_a_right_checksum_is_loaded_exactly_or_refused(codec: Codec, payload: Any) -> None:
    encode, decode = codec
    try:
        value = decode(_sealed(payload))
    except RecordCorrupt:
        return
    again = msgpack.unpackb(encode(value)[5:])
    assert all(there == back for there, back in zip(payload, again, strict=False))


@pytest.mark.parametrize(
    "payload",
    [
        [4, "t1", True],
        [4, "t1", 1.0],
        [4, "t1"],
        [4, b"t1", 1],
        [True, "m1"],
        [99, "m1"],
        [],
        {"4": 1},
        [5, "t1", 1, 0, "text", "fast", "fourth", "standard"],
        [2, "t1", "m1", []],
        [6, "t1", 1, "completed", ["m"], None, None],
        [3, msgpack.ExtType(5, b"x")],
        [3, msgpack.Timestamp(1)],
    ],
    ids=repr,
)
def test_a_field_of_the_wrong_kind_is_refused(payload: Any) -> None:
    with pytest.raises(RecordCorrupt):
        decode_record(_sealed(payload))


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}, ["a"], None], ids=repr)
def test_metadata_that_is_no_map_of_texts_is_refused(metadata: Any) -> None:
    with pytest.raises(RecordCorrupt):
        decode_meta(_sealed(["f", None, None, None, metadata, 1.0]))


def test_deep_nesting_is_refused_without_a_crash() -> None:
    body = b"\x91" * 100_000 + b"\x90"
    mark = bytes([VERSION])
    data = mark + zlib.crc32(mark + body).to_bytes(4, "big") + body
    with pytest.raises(RecordCorrupt):
        decode_record(data)


@pytest.mark.parametrize(
    "record",
    [
        AnswerExtended(TurnId("t"), 1, 0, "\ud800", "m", Tier.PRIMARY, "s"),
        MessageSuperseded(MessageId("\udfff")),
        AttemptBegan(TurnId("t"), 2**64),
    ],
    ids=["text", "id", "number"],
)
def test_what_cannot_be_encoded_is_a_bad_request(record: Any) -> None:
    with pytest.raises(BadRequest):
        encode_record(record)


def test_an_error_tells_nothing_of_what_was_stored() -> None:
    data = encode_meta(DialogueMeta("f", None, None, "secret prompt", {}, 1.0))
    with pytest.raises(RecordCorrupt) as caught:
        decode_meta(data[:-1])
    assert "secret" not in str(caught.value)
