"""Events and answers as bytes."""

import json

import msgpack
import pytest

from duologue.dialogue.events import DialogueClosed, ErrorInfo, TurnDelta, TurnFailed, TurnStarted
from duologue.errors import Busy, ProviderFailed
from duologue.messages import DialogueId, Epoch, MessageId, Tier, TurnId
from duologue.web.codec import JSON, MSGPACK, choose_format, frame_of

D, E, T = DialogueId("d1"), Epoch("e"), TurnId("t1")


def delta(**changes: object) -> TurnDelta:
    return TurnDelta(D, E, 42, T, 1, 7, 'Grüße \u2028 "quoted" 🌍', **changes)  # type: ignore[arg-type]


EVENTS = [
    delta(),
    delta(merged_from=40),
    TurnStarted(D, E, 3, T, 1, [MessageId("m1")], "fast", "standard", Tier.PRIMARY),
    TurnFailed(D, E, 9, T, ErrorInfo("provider_failed", "no", True, "timeout"), ""),
    DialogueClosed(D, E, 9, "deleted"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_reads_back_as_its_wire_form_in_both_formats_and_in_order(event):
    wire = event.to_wire()
    assert list(json.loads(JSON.event(event)).items()) == list(wire.items())
    assert list(msgpack.unpackb(MSGPACK.event(event)).items()) == list(wire.items())


@pytest.mark.parametrize("format_", [JSON, MSGPACK])
def test_an_event_is_encoded_once_for_each_format(format_):
    event = delta()
    assert format_.event(event) is format_.event(event)
    assert format_.event_frame(event) is format_.event_frame(event)
    assert format_.event_frame(event) == format_.frame(format_.event(event))


def test_json_goes_out_as_raw_utf8():
    assert "Grüße \u2028".encode() in JSON.event(delta())


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("binary", [False, True])
def test_a_frame_is_what_a_websocket_library_reads(length: int, binary: bool):
    from websockets.client import ClientProtocol
    from websockets.frames import Opcode
    from websockets.protocol import State
    from websockets.uri import parse_uri

    protocol = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN, max_size=None)
    payload = b"x" * length
    protocol.receive_data(frame_of(payload, binary=binary))
    (frame,) = protocol.events_received()
    assert frame.opcode is (Opcode.BINARY if binary else Opcode.TEXT)
    assert bytes(frame.data) == payload
    assert frame.fin


def test_answers_have_the_shape_of_the_contract():
    assert json.loads(JSON.answer(3, {"cancelled": True})) == {"re": 3, "ok": {"cancelled": True}}
    assert msgpack.unpackb(MSGPACK.refusal(None, Busy("wait"))) == {
        "re": None,
        "error": {"code": "busy", "message": "wait", "retryable": True},
    }
    refusal = json.loads(JSON.refusal(1, ProviderFailed("no", category="timeout")))
    assert refusal["error"]["category"] == "timeout"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], (JSON, None)),
        (["duologue.v1.json"], (JSON, "duologue.v1.json")),
        (["duologue.v1.msgpack", "duologue.v1.json"], (MSGPACK, "duologue.v1.msgpack")),
        (["graphql-ws", "duologue.v1.json"], (JSON, "duologue.v1.json")),
        (["graphql-ws"], None),
    ],
)
def test_the_first_offered_subprotocol_that_is_ours_is_chosen(offered, chosen):
    assert choose_format(offered) == chosen
