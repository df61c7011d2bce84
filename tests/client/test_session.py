"""The client against a server that does exactly what the test says, over real sockets."""

import asyncio
import json
from contextlib import aclosing

import pytest
from websockets.asyncio.server import serve

from duologue.client import Connection, ConnectionClosed, ConnectionFailed, NumberingBroken, connect
from duologue.client.link import COMMANDS_MAX
from duologue.errors import (
    BadFrame,
    BadRequest,
    Busy,
    CallTimeout,
    Conflict,
    Draining,
    Forbidden,
    FrameTooLarge,
    NotAuthenticated,
    NotFound,
    StoreUnavailable,
    TooMany,
)
from duologue.messages import Epoch, Position
from tests.client.wire_server import EPOCH, Peer, wire_server


class Waits:
    """A clock that never waits and remembers how long it should have."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.delays.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def ids():
    numbers = iter(range(1, 1_000))
    return lambda: f"c-{next(numbers)}"


async def take(events, count):
    found = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            return found
    return found


QUESTION = {
    "id": "m1",
    "role": "user",
    "content": "Hi",
    "turn_id": "t1",
    "created_at": 0.0,
    "status": "complete",
}
ACCEPTED = {"message_id": "m1", "turn_id": "t1", "epoch": EPOCH, "seq": 1}


# ── entering ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wire_format", ["json", "msgpack"])
async def test_both_formats_carry_the_same_words(wire_format):
    said = "é 🎓 \u2028 \x00"

    async def script(peer: Peer) -> None:
        assert peer.msgpack == (wire_format == "msgpack")
        await peer.opened()
        command = await peer.expect("send")
        assert command["content"] == said
        await peer.ok(command, **ACCEPTED)

    async with wire_server(script) as server, connect(server.url, format=wire_format) as client:
        dialogue = await client.open(feature="student_dialogue")
        assert (dialogue.id, dialogue.created, dialogue.position) == ("d1", True, Position(Epoch(EPOCH), 0))
        assert await dialogue.send(said) == ACCEPTED


async def test_a_server_that_agrees_on_no_subprotocol_is_spoken_to_in_json():
    async def script(peer: Peer) -> None:
        await peer.opened()

    async with wire_server(script, subprotocols=False) as server, connect(server.url) as client:
        assert (await client.open(feature="f")).id == "d1"


async def test_a_token_is_the_first_thing_that_is_said():
    async def script(peer: Peer) -> None:
        command = await peer.expect("auth")
        assert command["token"] == "a-token"
        await peer.ok(command)
        await peer.opened()

    async with wire_server(script) as server, connect(server.url, token="a-token") as client:
        await client.open(feature="f")


async def test_a_refused_token_is_raised_on_entering():
    async def script(peer: Peer) -> None:
        await peer.refuse(await peer.expect("auth"), "not_authenticated")

    async with wire_server(script) as server:
        with pytest.raises(NotAuthenticated):
            await connect(server.url, token="wrong").__aenter__()


async def test_a_socket_closed_for_want_of_authentication_is_raised_on_entering():
    async def script(peer: Peer) -> None:
        await peer.expect("auth")
        await peer.close(4501, "no such token")

    async with wire_server(script) as server:
        with pytest.raises(NotAuthenticated, match="no such token"):
            await connect(server.url, token="wrong").__aenter__()


async def test_no_server_is_a_failed_connection():
    async with wire_server() as server:
        url = server.url
    with pytest.raises(ConnectionFailed):
        await connect(url).__aenter__()


async def test_something_that_speaks_no_websocket_is_a_failed_connection():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello, I am a mail server\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionFailed, match="WebSocket"):
            await connect(f"http://127.0.0.1:{port}").__aenter__()


@pytest.mark.parametrize(("status", "error"), [(401, NotAuthenticated), (403, Forbidden), (404, NotFound)])
async def test_a_handshake_that_is_refused_for_good_is_told_by_its_status(status, error):
    def refuse(connection, request):
        return connection.respond(status, "no\n")

    async with serve(lambda socket: None, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error):
            await connect(f"http://127.0.0.1:{port}").__aenter__()


async def test_a_client_is_entered_once():
    async def script(peer: Peer) -> None: ...

    async with wire_server(script) as server:
        async with connect(server.url) as client:
            with pytest.raises(RuntimeError):
                await client.__aenter__()
        with pytest.raises(RuntimeError):
            await client.__aenter__()


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_answers_are_matched_by_their_number_in_whatever_order_they_come():
    async def script(peer: Peer) -> None:
        first, second = await peer.expect("send"), await peer.expect("send")
        await peer.ok(second, **{**ACCEPTED, "message_id": second["content"]})
        await peer.send({"re": 999, "ok": {}})
        await peer.send({"re": None, "error": {"code": "bad_frame", "message": "?", "retryable": False}})
        await peer.ok(first, **{**ACCEPTED, "message_id": first["content"]})

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        a, b = await asyncio.gather(dialogue.send("one"), dialogue.send("two"))
        assert (a["message_id"], b["message_id"]) == ("one", "two")


async def test_a_refusal_is_raised_as_its_class():
    async def script(peer: Peer) -> None:
        await peer.refuse(await peer.expect("send"), "busy")
        await peer.refuse(await peer.expect("regenerate"), "store_unavailable")
        await peer.refuse(await peer.expect("edit"), "not_found")

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        with pytest.raises(Busy):
            await dialogue.send("Hi")
        with pytest.raises(StoreUnavailable):
            await dialogue.regenerate()
        with pytest.raises(NotFound):
            await dialogue.edit("m1", "Ho")


async def test_every_field_that_was_given_is_sent_and_no_other():
    seen = []

    async def script(peer: Peer) -> None:
        for _ in range(6):
            seen.append(await peer.receive())
            await peer.ok(
                seen[-1], dialogue="d1", epoch=EPOCH, seq=0, cancelled=True, message_id="m", turn_id="t"
            )

    async with wire_server(script) as server, connect(server.url, new_id=ids()) as client:
        dialogue = await client.open(
            "d1", feature="f", section="s", account="a", system_prompt="p", metadata={"k": "v"}
        )
        await dialogue.send("Hi", on_busy="queue")
        await dialogue.send("Hi", client_message_id="mine")
        assert await dialogue.cancel("t9")
        assert await dialogue.cancel()
        await dialogue.edit("m3", "Ho")
    for number, command in enumerate(seen, start=1):
        assert command.pop("id") == number
    assert seen == [
        {
            "op": "open",
            "dialogue": "d1",
            "feature": "f",
            "section": "s",
            "account": "a",
            "system_prompt": "p",
            "metadata": {"k": "v"},
        },
        {"op": "send", "dialogue": "d1", "content": "Hi", "client_message_id": "c-1", "on_busy": "queue"},
        {"op": "send", "dialogue": "d1", "content": "Hi", "client_message_id": "mine"},
        {"op": "cancel", "dialogue": "d1", "turn": "t9"},
        {"op": "cancel", "dialogue": "d1"},
        {"op": "edit", "dialogue": "d1", "message": "m3", "content": "Ho"},
    ]


async def test_no_answer_in_time_is_a_timeout_and_a_late_answer_hurts_nobody():
    late = asyncio.Event()

    async def script(peer: Peer) -> None:
        first = await peer.expect("send")
        await late.wait()
        await peer.ok(first, **ACCEPTED)
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        with pytest.raises(CallTimeout, match="'send'"):
            await dialogue.send("Hi", timeout=0.05)
        late.set()
        assert await dialogue.send("Hi") == ACCEPTED


async def test_a_command_that_can_not_be_written_leaves_the_socket_as_it_is():
    async def script(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        with pytest.raises(BadRequest):
            await dialogue.send("\ud800")
        with pytest.raises(FrameTooLarge):
            await dialogue.send("a" * 70_000)
        await dialogue.send("Hi")
    assert server.sockets == 1


async def test_only_so_many_commands_may_wait_for_their_answers():
    async def script(peer: Peer) -> None:
        for _ in range(COMMANDS_MAX):
            await peer.expect("send")

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        waiting = [asyncio.create_task(dialogue.send("Hi")) for _ in range(COMMANDS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await dialogue.send("one more")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_ping_is_answered():
    ponged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.send({"event": "ping"})
        await peer.expect("pong")
        ponged.set()

    async with wire_server(script) as server, connect(server.url):
        await ponged.wait()


# ── watching ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_events_come_in_order_and_move_the_position():
    async def script(peer: Peer) -> None:
        attach = await peer.attached(resumed=False)
        assert "after" not in attach
        await peer.snapshot(3)
        await peer.delta(4)
        await peer.delta(7, first_seq=5)
        await peer.event("dialogue.closed", 7, reason="deleted")

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        seen = [(event["event"], event["seq"]) async for event in dialogue.events()]
        assert seen == [
            ("dialogue.snapshot", 3),
            ("turn.delta", 4),
            ("turn.delta", 7),
            ("dialogue.closed", 7),
        ]
        assert dialogue.position == Position(Epoch(EPOCH), 7)


async def test_a_window_and_a_position_are_asked_for():
    async def script(peer: Peer) -> None:
        attach = await peer.attached()
        assert (attach["after"], attach["coalesce_ms"]) == ({"epoch": EPOCH, "seq": 4}, 40)
        await peer.delta(5)

    async with wire_server(script) as server, connect(server.url) as client:
        events = client.dialogue("d1").events(Position(Epoch(EPOCH), 4), coalesce_ms=40)
        assert (await anext(events))["seq"] == 5
        await events.aclose()


async def test_a_missing_event_is_told_and_the_stream_can_be_taken_up_again():
    async def script(peer: Peer) -> None:
        await peer.attached()
        await peer.delta(1)
        await peer.delta(3)
        await peer.expect("detach")
        attach = await peer.attached()
        assert attach["after"] == {"epoch": EPOCH, "seq": 1}
        await peer.delta(2)

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        with pytest.raises(NumberingBroken):
            await take(dialogue.events(Position(Epoch(EPOCH), 0)), 2)
        async with aclosing(dialogue.events(dialogue.position)) as events:
            assert (await anext(events))["seq"] == 2


async def test_events_of_an_earlier_attachment_never_reach_a_later_stream():
    async def script(peer: Peer) -> None:
        await peer.attached()
        await peer.delta(1)
        await peer.delta(2)
        await peer.expect("detach")
        second = await peer.expect("attach")
        await peer.delta(3)  # still of the first
        await peer.ok(second, resumed=True, epoch=EPOCH, seq=3)
        await peer.delta(2)
        await peer.delta(3)

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        async with aclosing(dialogue.events(Position(Epoch(EPOCH), 0))) as events:
            assert (await anext(events))["seq"] == 1
        async with aclosing(dialogue.events(dialogue.position)) as events:
            assert [event["seq"] for event in await take(events, 2)] == [2, 3]


async def test_a_later_stream_of_the_same_dialogue_takes_over():
    async def script(peer: Peer) -> None:
        await peer.attached(resumed=False)
        await peer.snapshot(1)
        await peer.attached(resumed=False)
        await peer.snapshot(1)

    async with wire_server(script) as server, connect(server.url) as client:
        first, second = client.dialogue("d1").events(), client.dialogue("d1").events()
        await anext(first)
        assert (await anext(second))["event"] == "dialogue.snapshot"
        with pytest.raises(Conflict):
            await anext(first)
        await second.aclose()


async def test_dialogues_on_one_socket_do_not_mix():
    async def script(peer: Peer) -> None:
        for _ in range(2):
            command = await peer.expect("attach")
            await peer.ok(command, resumed=True, epoch=EPOCH, seq=0)
        for seq in (1, 2):
            for name in ("d1", "d2", "unasked"):
                await peer.event("turn.delta", seq, dialogue=name, turn="t", attempt=1, offset=0, text=name)

    async with wire_server(script) as server, connect(server.url) as client:
        start = Position(Epoch(EPOCH), 0)
        one, two = await asyncio.gather(
            take(client.dialogue("d1").events(start), 2), take(client.dialogue("d2").events(start), 2)
        )
        assert [event["text"] for event in one + two] == ["d1", "d1", "d2", "d2"]


async def test_a_slow_reader_is_detached_and_resumes_where_it_was_without_a_hole():
    overflowed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.attached()
        for seq in range(1, 8):
            await peer.delta(seq)
        await peer.expect("detach")
        overflowed.set()
        attach = await peer.attached()
        for seq in range(attach["after"]["seq"] + 1, 9):
            await peer.delta(seq)

    async with (
        wire_server(script) as server,
        connect(server.url, buffer_max=4) as client,
        aclosing(client.dialogue("d1").events(Position(Epoch(EPOCH), 0))) as events,
    ):
        seen = [(await anext(events))["seq"]]
        await overflowed.wait()
        seen += [event["seq"] for event in await take(events, 7)]
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_an_attach_that_fails_in_a_way_that_passes_is_tried_again(waits):
    async def script(peer: Peer) -> None:
        await peer.refuse(await peer.expect("attach"), "store_unavailable", retryable=True)
        await peer.attached(resumed=False)
        await peer.snapshot(1)

    async with (
        wire_server(script) as server,
        connect(server.url, sleep=waits, fraction=lambda: 0.5) as client,
        aclosing(client.dialogue("d1").events()) as events,
    ):
        assert (await anext(events))["event"] == "dialogue.snapshot"
    assert waits.delays == [0.125]


async def test_an_unknown_dialogue_is_told():
    async def script(peer: Peer) -> None:
        await peer.refuse(await peer.expect("attach"), "not_found")

    async with wire_server(script) as server, connect(server.url) as client:
        with pytest.raises(NotFound):
            await anext(client.dialogue("d9").events())


# ── losing the connection ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [None, 1000, 1001, 1012, 4001, 4008, 4012, 4013])
async def test_a_lost_connection_resumes_after_the_last_event_that_was_read(waits, code):
    async def first(peer: Peer) -> None:
        await peer.attached()
        await peer.delta(1)
        await peer.delta(2)
        if code is None:
            peer.abort()
        else:
            await peer.close(code)

    async def second(peer: Peer) -> None:
        attach = await peer.attached()
        assert attach["after"] == {"epoch": EPOCH, "seq": 2}
        await peer.delta(3)

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        events = await take(client.dialogue("d1").events(Position(Epoch(EPOCH), 0)), 3)
        assert [event["seq"] for event in events] == [1, 2, 3]


async def test_a_new_epoch_begins_with_a_snapshot(waits):
    async def first(peer: Peer) -> None:
        await peer.attached()
        await peer.delta(1)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        await peer.snapshot(0, epoch="e2")
        await peer.delta(1, epoch="e2")

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        dialogue = client.dialogue("d1")
        events = await take(dialogue.events(Position(Epoch(EPOCH), 0)), 3)
        assert [event["event"] for event in events] == ["turn.delta", "dialogue.snapshot", "turn.delta"]
        assert dialogue.position == Position(Epoch("e2"), 1)


@pytest.mark.parametrize(
    ("code", "error"), [(4500, BadRequest), (4501, NotAuthenticated), (4503, Forbidden), (4508, TooMany)]
)
async def test_a_final_close_is_raised_to_everybody_and_nothing_is_tried_again(code, error):
    async def script(peer: Peer) -> None:
        await peer.attached()
        await peer.expect("send")
        await peer.close(code, "enough")

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        watching = asyncio.create_task(take(dialogue.events(), 1))
        await asyncio.sleep(0)
        with pytest.raises(error, match="enough"):
            await dialogue.send("Hi")
        with pytest.raises(error):
            await watching
        with pytest.raises(error):
            await dialogue.send("Hi")
        assert not client.connected
    assert server.sockets == 1


async def test_an_unanswered_message_is_sent_again_under_the_same_name(waits):
    seen = []

    async def first(peer: Peer) -> None:
        seen.append(await peer.expect("send"))
        peer.abort()

    async def second(peer: Peer) -> None:
        seen.append(await peer.expect("send"))
        await peer.ok(seen[-1], **ACCEPTED)

    async with wire_server(first, second) as server, connect(server.url, sleep=waits, new_id=ids()) as client:
        assert await client.dialogue("d1").send("Hi") == ACCEPTED
    assert [(command["client_message_id"], command["content"]) for command in seen] == [("c-1", "Hi")] * 2


async def test_what_can_not_be_repeated_is_told_instead(waits):
    async def first(peer: Peer) -> None:
        for op in ("regenerate", "edit", "cancel", "open"):
            await peer.expect(op)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.ok(await peer.expect("cancel"), cancelled=True)

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        dialogue = client.dialogue("d1")
        errors = await asyncio.gather(
            dialogue.regenerate(),
            dialogue.edit("m1", "Ho"),
            dialogue.cancel(),
            client.open(feature="f"),
            return_exceptions=True,
        )
        assert [type(error) for error in errors] == [ConnectionFailed] * 4
        assert all("may or may not" in str(error) for error in errors)
        assert await dialogue.cancel("t1")


async def test_a_command_too_long_for_the_server_is_an_error_and_not_a_loop(waits):
    async def first(peer: Peer) -> None:
        await peer.expect("send")
        await peer.close(1009)

    async def second(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        dialogue = client.dialogue("d1")
        with pytest.raises(FrameTooLarge):
            await dialogue.send("long")
        await dialogue.send("short")


async def test_a_draining_server_is_left_as_it_asks_and_the_next_one_takes_the_message(waits):
    async def first(peer: Peer) -> None:
        await peer.send({"event": "server.draining", "reconnect_after_ms": 1500})
        await peer.refuse(await peer.expect("send"), "draining")
        for _ in range(3):  # there was time to send the message once more, and it did not come
            await peer.send({"event": "ping"})
            await peer.expect("pong")
        await peer.close(4001)

    async def second(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with (
        wire_server(first, second) as server,
        connect(server.url, sleep=waits, fraction=lambda: 0.0) as client,
    ):
        assert await client.dialogue("d1").send("Hi") == ACCEPTED
    assert waits.delays == [1.5]


async def test_what_can_not_be_repeated_is_refused_by_a_draining_server():
    async def script(peer: Peer) -> None:
        await peer.refuse(await peer.expect("regenerate"), "draining")

    async with wire_server(script) as server, connect(server.url) as client:
        with pytest.raises(Draining):
            await client.dialogue("d1").regenerate()


async def test_waits_grow_while_the_server_is_away_and_start_anew_when_it_was_of_use(waits):
    async def drop(peer: Peer) -> None:
        await peer.expect("send")
        peer.abort()

    async def useful(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)
        await peer.expect("send")
        peer.abort()

    async def last(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with (
        wire_server(drop, useful, last) as server,
        connect(server.url, sleep=waits, fraction=lambda: 0.5) as client,
    ):
        server.refusals = 2
        dialogue = client.dialogue("d1")
        await dialogue.send("one")  # a drop that did nothing for us, two refusals, then an answer
        await dialogue.send("two")  # the link that answered is lost
    assert waits.delays == [0.25, 0.5, 1.0, 0.125]


async def test_each_loss_and_each_return_is_reported(waits):
    told: list[Connection] = []

    async def first(peer: Peer) -> None:
        await peer.expect("send")
        await peer.close(4001, "going away")

    async def second(peer: Peer) -> None:
        await peer.ok(await peer.expect("send"), **ACCEPTED)

    async with (
        wire_server(first, second) as server,
        connect(server.url, sleep=waits, fraction=lambda: 0.0, on_connection=told.append) as client,
    ):
        await client.dialogue("d1").send("Hi")
        assert client.connected
    assert [(one.connected, one.retry_in) for one in told] == [(False, 0.0), (True, None), (False, None)]
    assert told[0].reason == "going away"


async def test_a_server_that_sends_no_frames_ends_the_client():
    async def script(peer: Peer) -> None:
        await peer.socket.send("{")

    async with wire_server(script) as server, connect(server.url, format="json") as client:
        with pytest.raises(BadFrame):
            await client.dialogue("d1").send("Hi")
    assert server.sockets == 1


async def test_closing_the_client_is_told_to_everybody_who_waits():
    async def script(peer: Peer) -> None:
        await peer.attached()
        await peer.expect("send")

    async with wire_server(script) as server:
        async with connect(server.url) as client:
            dialogue = client.dialogue("d1")
            waiting = [
                asyncio.create_task(take(dialogue.events(), 1)),
                asyncio.create_task(dialogue.send("Hi")),
            ]
            while not client._streams or not client._streams["d1"].attached:
                await asyncio.sleep(0.001)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [ConnectionClosed] * 2
        with pytest.raises(ConnectionClosed):
            await dialogue.send("Hi")
        with pytest.raises(ConnectionClosed):
            await anext(dialogue.events())
        await client.close()


async def test_closing_while_the_server_is_away_does_not_wait_for_it():
    away = asyncio.Event()

    async def wait_for_ever(seconds: float) -> None:
        away.set()
        await asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        peer.abort()

    async with wire_server(script) as server, connect(server.url, sleep=wait_for_ever) as client:
        await away.wait()
        assert not client.connected
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("duologue-client")]
    assert left == []


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ask_yields_its_own_turn_up_to_the_end():
    async def script(peer: Peer) -> None:
        await peer.opened()
        attach = await peer.attached()
        assert attach["after"] == {"epoch": EPOCH, "seq": 0}
        command = await peer.expect("send")
        await peer.event("turn.completed", 1, turn="another")
        await peer.ok(command, **{**ACCEPTED, "seq": 2})
        await peer.event("message.accepted", 2, turn="t1", message={})
        await peer.event("turn.started", 3, turn="t1")
        await peer.delta(4, "Hi")
        await peer.event("turn.completed", 5, turn="t1")
        await peer.expect("detach")

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = await client.open(feature="f")
        seen = [event["event"] async for event in dialogue.ask("Hi")]
        assert seen == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        assert dialogue.position == Position(Epoch(EPOCH), 5)


async def test_ask_ends_when_a_snapshot_shows_that_its_turn_is_over(waits):
    async def first(peer: Peer) -> None:
        await peer.attached(resumed=False)
        await peer.snapshot(0)
        await peer.ok(await peer.expect("send"), **ACCEPTED)
        await peer.event("message.accepted", 1, turn="t1", message={})
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        answer = {
            "id": "m2",
            "role": "assistant",
            "content": "Hi",
            "turn_id": "t1",
            "created_at": 0.0,
            "status": "complete",
        }
        await peer.snapshot(9, epoch="e2", messages=[QUESTION, answer])

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        seen = [event["event"] async for event in client.dialogue("d1").ask("Hi")]
        assert seen == ["message.accepted", "dialogue.snapshot"]


async def test_ask_goes_on_when_a_snapshot_shows_its_turn_still_open(waits):
    async def first(peer: Peer) -> None:
        await peer.attached(resumed=False)
        await peer.snapshot(0)
        await peer.ok(await peer.expect("send"), **ACCEPTED)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        turn = {"id": "t1", "attempt": 1, "text": "H", "model": "m", "tier": "primary"}
        await peer.snapshot(0, epoch="e2", status="generating", turn=turn, messages=[QUESTION])
        await peer.event("turn.interrupted", 1, epoch="e2", turn="t1", partial="H")
        await peer.event("turn.failed", 2, epoch="e2", turn="t1", error={}, partial="H")

    async with wire_server(first, second) as server, connect(server.url, sleep=waits) as client:
        seen = [event["event"] async for event in client.dialogue("d1").ask("Hi")]
        assert seen == ["dialogue.snapshot", "turn.interrupted", "turn.failed"]


async def test_leaving_ask_early_stops_watching_and_not_the_turn():
    left = []

    async def script(peer: Peer) -> None:
        await peer.attached()
        await peer.ok(await peer.expect("send"), **ACCEPTED)
        await peer.event("message.accepted", 1, turn="t1", message={})
        left.append(await peer.receive())

    async with wire_server(script) as server, connect(server.url) as client:
        dialogue = client.dialogue("d1")
        dialogue.position = Position(Epoch(EPOCH), 0)
        async with aclosing(dialogue.ask("Hi")) as events:
            await anext(events)
        while not left:
            await asyncio.sleep(0.001)
    assert left[0]["op"] == "detach"


# ── privacy ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_log_line_holds_what_was_said_or_the_token(caplog):
    caplog.set_level("DEBUG")

    async def script(peer: Peer) -> None:
        await peer.ok(await peer.expect("auth"))
        await peer.attached()
        await peer.ok(await peer.expect("send"), **ACCEPTED)
        await peer.delta(1, "canary-answer")

    async with (
        wire_server(script) as server,
        connect(server.url, token="canary-token", format="json") as client,
    ):
        dialogue = client.dialogue("d1")
        dialogue.position = Position(Epoch(EPOCH), 0)
        events = dialogue.events(dialogue.position)
        watching = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await dialogue.send("canary-question")
        await watching
        await events.aclose()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("duologue")]
    assert not any("canary" in line for line in ours), json.dumps(ours)
