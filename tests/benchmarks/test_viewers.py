import asyncio
import contextlib
import socket

import orjson
import pytest
import uvicorn

from benchmarks.passthrough import create_passthrough
from benchmarks.viewers import DuologueViewer, PassthroughViewer
from benchmarks.workload import answer, rotation_of
from tests.benchmarks.streams import running_upstream, server_frame


class Deaf:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data

    def get_extra_info(self, name):
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _send(viewer, frame):
    viewer.data_received(server_frame(orjson.dumps(frame)))


@contextlib.contextmanager
def connected():
    """A viewer of dialogue d1 that has seen seq 0, with nobody at the other end."""
    viewer = DuologueViewer("test")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        transport = Deaf()
        transport.get_extra_info = lambda name: sock
        viewer.connection_made(transport)
        viewer.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        viewer.dialogue = "d1"
        yield viewer


def _events(text):
    """A whole turn with the answer in two deltas."""
    common = {"dialogue": "d1", "epoch": "e"}
    half = len(text) // 2
    return [
        {"event": "message.accepted", **common, "seq": 1},
        {"event": "turn.started", **common, "seq": 2},
        {"event": "turn.delta", **common, "seq": 3, "offset": 0, "text": text[:half]},
        {"event": "turn.delta", **common, "seq": 6, "first_seq": 4, "offset": half, "text": text[half:]},
        {"event": "turn.completed", **common, "seq": 7, "message": {"content": text}},
    ]


async def _turn(viewer, events):
    asked = asyncio.ensure_future(viewer.turn(9, path="", tokens=4))
    await asyncio.sleep(0)
    for event in events:
        _send(viewer, event)
    return await asked


async def test_a_right_turn_is_counted():
    with connected() as viewer:
        turn = await _turn(viewer, _events(answer(rotation_of(9), 4)))
    assert turn.tokens == 4
    assert turn.frames == 5
    assert 0 < turn.first_token <= turn.total


def _with(change, place, events):
    return [event | change if number == place else event for number, event in enumerate(events)]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda events: _with({"seq": 4}, 2, events), "hole"),
        (lambda events: events[:2] + events[3:], "hole"),
        (lambda events: _with({"first_seq": 3}, 3, events), "hole"),
        (lambda events: _with({"offset": 1}, 3, events), "offset"),
        (lambda events: _with({"dialogue": "d2"}, 2, events), "another dialogue"),
        (lambda events: _with({"text": "", "offset": 0}, 2, events), "offset"),
        (lambda events: _with({"message": {"content": "else"}}, 4, events), "committed"),
        (lambda events: _with({"event": "turn.failed"}, 4, events), "turn.failed"),
        (lambda events: _events("another answer"), "wrong text"),
    ],
)
async def test_a_wrong_delivery_makes_the_run_invalid(spoil, complaint):
    with connected() as viewer, pytest.raises(AssertionError, match=complaint):
        await _turn(viewer, spoil(_events(answer(rotation_of(9), 4))))


async def test_a_lost_connection_ends_the_turn_and_all_commands():
    with connected() as viewer:
        asked = asyncio.ensure_future(viewer.turn(9, path="", tokens=4))
        command = asyncio.ensure_future(viewer.command("attach"))
        await asyncio.sleep(0)
        viewer.connection_lost(None)
        for waiting in (asked, command):
            with pytest.raises(AssertionError, match="connection lost"):
                await waiting


async def test_the_pass_through_delivers_one_frame_for_each_token():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with running_upstream() as upstream:
        app = create_passthrough(f"http://127.0.0.1:{upstream}")
        server = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", log_level="warning"))
        serving = asyncio.ensure_future(server._serve(sockets=[listener]))  # serve() would take the signals
        _, viewer = await asyncio.get_running_loop().create_connection(
            lambda: PassthroughViewer("test"), "127.0.0.1", port
        )
        await viewer.opened
        turn = await viewer.turn(70, path="/flood/300", tokens=300)
        again = await viewer.turn(71, path="/paced/5000/20", tokens=20)
        viewer.close()
        server.should_exit = True
        await serving
    assert turn.frames == 301, "300 tokens and the end"
    assert again.frames == 21
    assert turn.acknowledged is None
