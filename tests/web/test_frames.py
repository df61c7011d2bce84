"""Inbound frames: every byte string becomes a command or a typed refusal, and nothing escapes."""

import json
import time

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duologue.errors import BadFrame, BadRequest
from duologue.web import frames
from duologue.web.frames import Refusal, Strikes, parse_json, parse_msgpack

COMMANDS = {
    "auth": ({"id": 0, "op": "auth", "token": "t"}, frames.Auth),
    "open": ({"id": 1, "op": "open", "feature": "f"}, frames.Open),
    "open with all": (
        {
            "id": 1,
            "op": "open",
            "dialogue": "d-1._~",
            "feature": "f",
            "section": "s",
            "account": "a",
            "system_prompt": "p",
            "metadata": {"k": "v"},
        },
        frames.Open,
    ),
    "attach": ({"id": 2, "op": "attach", "dialogue": "d"}, frames.Attach),
    "attach after": (
        {"id": 2, "op": "attach", "dialogue": "d", "after": {"epoch": "e", "seq": 41}, "coalesce_ms": 100},
        frames.Attach,
    ),
    "send": ({"id": 3, "op": "send", "dialogue": "d", "content": "Hi"}, frames.Send),
    "send with all": (
        {
            "id": 3,
            "op": "send",
            "dialogue": "d",
            "content": "Hi",
            "client_message_id": "c",
            "on_busy": "merge",
        },
        frames.Send,
    ),
    "cancel": ({"id": 4, "op": "cancel", "dialogue": "d", "turn": "t9"}, frames.Cancel),
    "regenerate": ({"id": 5, "op": "regenerate", "dialogue": "d"}, frames.Regenerate),
    "edit": ({"id": 6, "op": "edit", "dialogue": "d", "message": "m3", "content": "x"}, frames.Edit),
    "ack": ({"id": 7, "op": "ack", "dialogue": "d", "seq": 57}, frames.Ack),
    "detach": ({"id": 8, "op": "detach", "dialogue": "d"}, frames.Detach),
    "pong": ({"id": 9, "op": "pong"}, frames.Pong),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_contract_is_read_the_same_in_both_formats(name: str):
    wire, kind = COMMANDS[name]
    from_json = parse_json(json.dumps(wire))
    assert type(from_json) is kind
    assert from_json == parse_json(json.dumps(wire).encode()) == parse_msgpack(msgpack.packb(wire))
    assert from_json.model_dump(exclude_none=True, exclude_defaults=True) | wire == wire


def test_a_null_stands_for_a_field_that_was_left_out():
    given_null = parse_json(b'{"id":1,"op":"attach","dialogue":"d","after":null}')
    assert given_null == parse_json(b'{"id":1,"op":"attach","dialogue":"d"}')


WRONG = {
    "id as text": {"id": "1", "op": "pong"},
    "id as a fraction": {"id": 1.0, "op": "pong"},
    "id as a boolean": {"id": True, "op": "pong"},
    "id over what JavaScript counts to": {"id": 2**53, "op": "pong"},
    "op as a list": {"id": 1, "op": ["pong"]},
    "op in capitals": {"id": 1, "op": "PONG"},
    "content as a number": {"id": 1, "op": "send", "dialogue": "d", "content": 1},
    "content left out": {"id": 1, "op": "send", "dialogue": "d"},
    "a dialogue with a slash": {"id": 1, "op": "attach", "dialogue": "a/b"},
    "a dialogue with a line break": {"id": 1, "op": "attach", "dialogue": "d\n"},
    "an empty dialogue": {"id": 1, "op": "attach", "dialogue": ""},
    "a dialogue of 129 characters": {"id": 1, "op": "attach", "dialogue": "d" * 129},
    "a window that is not offered": {"id": 1, "op": "attach", "dialogue": "d", "coalesce_ms": 41},
    "after as a number": {"id": 1, "op": "attach", "dialogue": "d", "after": 41},
    "after without epoch": {"id": 1, "op": "attach", "dialogue": "d", "after": {"seq": 1}},
    "after before the first": {"id": 1, "op": "attach", "dialogue": "d", "after": {"epoch": "e", "seq": -1}},
    "an unknown policy": {"id": 1, "op": "send", "dialogue": "d", "content": "x", "on_busy": "wait"},
    "a field too many": {"id": 1, "op": "pong", "dialogue": "d"},
    "metadata with numbers": {"id": 1, "op": "open", "feature": "f", "metadata": {"k": 1}},
    "metadata without end": {
        "id": 1,
        "op": "open",
        "feature": "f",
        "metadata": {str(n): "" for n in range(17)},
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_is_a_bad_request_that_answers_its_id(name: str):
    wire = WRONG[name]
    expected = wire["id"] if type(wire["id"]) is int and wire["id"] < 2**53 else None
    for refusal in (parse_json(json.dumps(wire)), parse_msgpack(msgpack.packb(wire))):
        assert isinstance(refusal, Refusal)
        assert isinstance(refusal.error, BadRequest)
        assert refusal.re == expected


@pytest.mark.parametrize("data", [b"[]", b"3", b"null", b'"op"', b"true"])
def test_json_that_is_no_object_is_a_bad_request_for_nobody(data: bytes):
    refusal = parse_json(data)
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, BadRequest)
    assert refusal.re is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"id":1,"op":"pong"} trailing',
        b'\xef\xbb\xbf{"id":1,"op":"pong"}',
        b'{"id":1,"op":"pong","x":\xff}',
        b'{"id":NaN,"op":"pong"}',
        b'{"id":1,"op":"pong","x":Infinity}',
        b'{"id":' + b"9" * 5_000 + b',"op":"pong"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"id":1,"op":"pong","x":' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_bytes_that_are_no_json_of_ours_are_a_bad_frame(data: bytes):
    refusal = parse_json(data)
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, BadFrame)
    assert refusal.re is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x91" * 60_000,
        b"\x91" * 100 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc7\x00\x01",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xc4\x01a",
        b"\x81\x01\x02",
        b"\x81\x90\x01",
        b"\x80\x80",
        b"\xa1\xff",
        msgpack.packb({"id": 1, "op": "pong"}) + b"x",
    ],
)
def test_bytes_that_are_no_msgpack_of_ours_are_a_bad_frame(data: bytes):
    refusal = parse_msgpack(data)
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, BadFrame)
    assert refusal.re is None


def test_a_lone_surrogate_is_a_bad_request_that_answers_its_id():
    refusal = parse_json(b'{"id":7,"op":"send","dialogue":"d","content":"a\\ud800b"}')
    assert isinstance(refusal, Refusal)
    assert (refusal.re, type(refusal.error)) == (7, BadRequest)
    packed = msgpack.packb({"id": 7, "op": "send", "dialogue": "d", "content": "SUR"})
    refusal = parse_msgpack(packed.replace(b"SUR", b"\xed\xa0\x80"))
    assert isinstance(refusal, Refusal)
    assert (refusal.re, type(refusal.error)) == (7, BadRequest)


def test_text_of_every_kind_comes_through_unchanged():
    text = "\x00 \x1f \u2028 é 世界 🌍 \U0010ffff \ufeff"
    wire = {"id": 1, "op": "send", "dialogue": "d", "content": text}
    for command in (parse_json(json.dumps(wire)), parse_msgpack(msgpack.packb(wire))):
        assert isinstance(command, frames.Send)
        assert command.content == text


def test_of_a_doubled_key_one_value_counts_or_none():
    command = parse_json(b'{"id":1,"id":2,"op":"pong"}')
    assert isinstance(command, frames.Pong)
    assert command.id == 2
    assert isinstance(parse_json(b'{"id":1,"op":"cancel","op":"send","dialogue":"d"}'), Refusal)


def test_a_complaint_names_the_field_and_nothing_of_what_the_client_said():
    secret = "my-secret-words"
    for wire in (
        {"id": 1, "op": "send", "dialogue": "d", "content": [secret]},
        {"id": 1, "op": "send", "dialogue": secret + "/", "content": "x"},
        {"id": 1, "op": secret},
        {"id": 1, "op": "auth", "token": {"x": secret}},
    ):
        refusal = parse_json(json.dumps(wire))
        assert isinstance(refusal, Refusal)
        assert secret not in str(refusal.error)
        assert secret not in repr(refusal)
    refusal = parse_json(b'{"id":1,"op":"send","dialogue":"d","content":1}')
    assert isinstance(refusal, Refusal)
    assert "content" in str(refusal.error)


def test_the_repr_of_a_command_shows_neither_token_nor_text():
    for wire in (
        {"id": 1, "op": "auth", "token": "hidden"},
        {"id": 1, "op": "send", "dialogue": "d", "content": "hidden"},
        {"id": 1, "op": "open", "feature": "f", "system_prompt": "hidden"},
    ):
        assert "hidden" not in repr(parse_json(json.dumps(wire)))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
nearly = st.fixed_dictionaries(
    {"id": st.integers() | any_json, "op": st.sampled_from(["send", "attach", "ack", "x"]) | any_json},
    optional=dict.fromkeys(("dialogue", "content", "after", "seq", "token", "metadata"), any_json),
)


@given(st.binary(max_size=300) | any_json.map(lambda v: json.dumps(v).encode()))
@example(b"\xff\xfe")
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_a_parser_raise(data: bytes):
    for parse in (parse_json, parse_msgpack):
        result = parse(data)
        assert isinstance(result, Refusal) or result.id is not None


@given(nearly)
@settings(max_examples=150, deadline=None)
def test_what_is_nearly_a_command_is_read_alike_in_both_formats(wire: dict):
    from_json = parse_json(json.dumps(wire))
    try:
        packed = msgpack.packb(wire)
    except (OverflowError, ValueError):
        return
    from_msgpack = parse_msgpack(packed)
    if not isinstance(from_json, Refusal):
        assert from_msgpack == from_json
    else:
        assert isinstance(from_msgpack, Refusal)


@pytest.mark.parametrize(
    "data",
    [b"[" * 65_536, b"[]," * 21_845, b'{"":' * 16_384, b'"' + b"\\u0000" * 10_922 + b'"', b"9" * 65_536],
)
def test_the_worst_frame_is_refused_in_little_time(data: bytes):
    began = time.perf_counter()
    assert isinstance(parse_json(data), Refusal)
    assert time.perf_counter() - began < 0.5


def test_twenty_strikes_within_the_window_are_enough():
    strikes = Strikes(limit=20, window=60.0)
    assert [strikes.add(float(n)) for n in range(20)] == [False] * 19 + [True]


def test_strikes_that_are_far_apart_are_forgiven():
    strikes = Strikes(limit=3, window=60.0)
    assert not any(strikes.add(at) for at in (0.0, 31.0, 62.0, 93.0, 124.0))
    assert strikes.add(200.0) is False
    assert strikes.add(201.0) is False
    assert strikes.add(202.0) is True
