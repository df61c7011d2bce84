"""The client and a real server, in a process of its own."""

import asyncio
from contextlib import aclosing

import pytest

from duologue.client import TERMINAL, Backoff, ConnectionClosed, connect
from duologue.errors import (
    BadRequest,
    Busy,
    Conflict,
    FeatureNotConfigured,
    Forbidden,
    MessageTooLarge,
    NotAuthenticated,
    NotFound,
)
from tests.serve_process import ServeProcess

EAGER = Backoff(base=0.05, cap=0.2)
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServeProcess(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    variables = {"DUOLOGUE_AUTH_TOKEN": TOKEN}
    with ServeProcess(tmp_path_factory.mktemp("guarded"), variables=variables) as running:
        yield running


@pytest.fixture(params=["json", "msgpack"])
async def client(server, request):
    async with connect(server.url, format=request.param) as connected:
        yield connected


def text_of(events):
    """What a reader has before its eyes after these events."""
    text = ""
    for event in events:
        if event["event"] == "turn.restarted":
            text = ""
        elif event["event"] == "turn.delta":
            assert event["offset"] == len(text)
            text += event["text"]
        elif event["event"] == "dialogue.snapshot":
            text = event["snapshot"]["turn"]["text"] if event["snapshot"]["turn"] else ""
    return text


async def test_a_question_is_answered_and_kept(client):
    dialogue = await client.open(feature="student_dialogue")
    assert dialogue.created
    events = [event async for event in dialogue.ask("What is a monad? é 🎓")]
    assert [event["event"] for event in events][:2] == ["message.accepted", "turn.started"]
    assert events[-1]["event"] == "turn.completed"
    assert text_of(events) == events[-1]["message"]["content"] == "One two three four."
    history = await dialogue.history()
    assert [(message["role"], message["content"]) for message in history] == [
        ("user", "What is a monad? é 🎓"),
        ("assistant", "One two three four."),
    ]


async def test_history_comes_in_order_over_many_pages(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="student_dialogue")
        for number in range(4):
            async for _ in dialogue.ask(str(number)):
                pass
        page = await dialogue.messages(limit=3)
        assert [message["content"] for message in page["messages"]] == [
            "One two three four.",
            "3",
            "One two three four.",
        ]
        older = await dialogue.messages(before=page["before"], limit=5)
        assert (len(older["messages"]), older["before"]) == (5, None)
        asked = [message["content"] for message in await dialogue.history() if message["role"] == "user"]
        assert asked == ["0", "1", "2", "3"]
        assert len(await dialogue.history(limit=3)) == 3


async def test_two_clients_see_the_same_answer(server):
    async with connect(server.url, format="json") as student, connect(server.url) as instructor:
        dialogue = await student.open(feature="paced")

        async def watch():
            seen = []
            async for event in instructor.dialogue(dialogue.id).events(coalesce_ms=100):
                seen.append(event)
                if event["event"] in TERMINAL:
                    return seen

        watching = asyncio.create_task(watch())
        events = [event async for event in dialogue.ask("Go")]
        seen = await watching
        assert text_of(events) == text_of(seen) == seen[-1]["message"]["content"]
        assert len(seen) < len(events) + 1  # merged within the window


async def test_cancel_stops_the_answer_and_keeps_what_was_said(client):
    dialogue = await client.open(feature="long")
    events = []
    async for event in dialogue.ask("Go on"):
        events.append(event)
        if event["event"] == "turn.delta" and len(events) == 6:
            assert await dialogue.cancel(event["turn"])
    assert events[-1]["event"] == "turn.cancelled"
    assert events[-1]["partial"] == text_of(events)
    assert await dialogue.cancel() is False


async def test_leaving_ask_early_leaves_the_turn_running(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="paced")
        async with aclosing(dialogue.ask("Go")) as events:
            async for event in events:
                if event["event"] == "turn.delta":
                    break
        assert (await dialogue.snapshot())["status"] == "generating"
        async with aclosing(dialogue.events(dialogue.position)) as events:
            rest = []
            async for event in events:
                rest.append(event)
                if event["event"] in TERMINAL:
                    break
        assert rest[-1]["event"] == "turn.completed"


async def test_a_message_while_an_answer_streams_is_refused_or_queued(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="paced")
        first = await dialogue.send("one")
        with pytest.raises(Busy):
            await dialogue.send("two")
        second = await dialogue.send("three", on_busy="queue")
        ended = []
        async with aclosing(dialogue.events()) as events:
            async for event in events:
                if event["event"] in TERMINAL:
                    ended.append(event["turn"])
                    if len(ended) == 2:
                        break
        assert ended == [first["turn_id"], second["turn_id"]]


async def test_the_same_message_twice_is_one_message(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="student_dialogue")
        first = await dialogue.send("Hi", client_message_id="c-1")
        assert await dialogue.send("Hi", client_message_id="c-1") == first
        with pytest.raises(Conflict):
            await dialogue.send("Ho", client_message_id="c-1")


async def test_regenerate_and_edit_supersede_what_was_there(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="student_dialogue")
        events = [event async for event in dialogue.ask("Hi")]
        question = events[0]["message"]["id"]

        async def end_of(turn):
            async with aclosing(dialogue.events()) as stream:
                async for event in stream:
                    if event["event"] == "dialogue.snapshot" and event["snapshot"]["turn"] is None:
                        return
                    if event["event"] in TERMINAL and event["turn"] == turn:
                        return

        await end_of((await dialogue.regenerate())["turn_id"])
        assert [message["role"] for message in await dialogue.history()] == ["user", "assistant"]
        await end_of((await dialogue.edit(question, "Ho"))["turn_id"])
        assert [message["content"] for message in await dialogue.history()] == ["Ho", "One two three four."]


async def test_the_backup_answers_the_same_turn(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="failing_over")
        events = [event async for event in dialogue.ask("Hi")]
        names = [event["event"] for event in events if event["event"] != "turn.delta"]
        assert names == ["message.accepted", "turn.started", "turn.restarted", "turn.completed"]
        assert text_of(events) == events[-1]["message"]["content"] == "One two three four."


async def test_a_turn_that_no_model_finishes_fails_once(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="failing")
        events = [event async for event in dialogue.ask("Hi")]
        assert [event["event"] for event in events if event["event"] in TERMINAL] == ["turn.failed"]
        assert events[-1]["error"]["code"] == "provider_failed"
        assert (await dialogue.history())[0]["content"] == "Hi"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", BadRequest),
        ("a" * 32_769, MessageTooLarge),
        ("\ud800", BadRequest),
        ("é" * 16_385, MessageTooLarge),
    ],
)
async def test_bad_content_is_a_typed_error_and_the_connection_stays(client, content, error):
    dialogue = await client.open(feature="student_dialogue")
    with pytest.raises(error):
        await dialogue.send(content)
    assert client.connected
    assert await dialogue.history() == []


async def test_what_is_not_there_is_told_on_the_socket_and_over_http(client):
    nowhere = client.dialogue("nobody-opened-this")
    for attempt in (
        nowhere.send("Hi"),
        nowhere.snapshot(),
        nowhere.history(),
        nowhere.cancel(),
        nowhere.regenerate(),
    ):
        with pytest.raises(NotFound):
            await attempt
    with pytest.raises(NotFound):
        await anext(nowhere.events())
    with pytest.raises(FeatureNotConfigured, match="nonsense"):
        await client.open(feature="nonsense")


async def test_opening_again_finds_the_dialogue_or_conflicts(client):
    name = client.new_id()
    first = await client.open(name, feature="student_dialogue", section="chemistry")
    again = await client.open(name, feature="student_dialogue", section="chemistry")
    assert (first.created, again.created, again.id) == (True, False, name)
    with pytest.raises(Conflict):
        await client.open(name, feature="long")


async def test_dialogues_are_listed_and_deleted(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="long")
        watching = asyncio.create_task(_until_closed(dialogue))
        await dialogue.send("Go")
        rows = (await client.list_dialogues(status="generating"))["dialogues"]
        assert dialogue.id in [row["id"] for row in rows]
        await dialogue.delete()
        assert await watching == "dialogue.closed"
        with pytest.raises(NotFound):
            await dialogue.snapshot()


async def _until_closed(dialogue):
    last = None
    async for event in dialogue.events():
        last = event["event"]
    return last


async def test_a_socket_that_breaks_in_mid_answer_loses_and_doubles_nothing(server):
    async with connect(server.url) as client:
        dialogue = await client.open(feature="paced")
        events = []
        async for event in dialogue.ask("Go"):
            events.append(event)
            if len(events) in {5, 12}:
                client._keeper.current._socket.transport.abort()
        assert text_of(events) == events[-1]["message"]["content"]
        numbers = [event["seq"] for event in events]
        firsts = [event.get("first_seq", event["seq"]) for event in events]
        assert firsts[1:] == [number + 1 for number in numbers[:-1]]


async def test_a_token_is_wanted_on_the_socket_and_over_http(guarded):
    with pytest.raises((NotAuthenticated, Forbidden)):
        async with connect(guarded.url, token="wrong" * 5) as client:
            await client.open(feature="student_dialogue")
    async with connect(guarded.url, token=TOKEN) as client:
        dialogue = await client.open(feature="student_dialogue")
        assert (await dialogue.snapshot())["status"] == "idle"


async def test_a_server_that_is_killed_in_mid_answer_is_followed_into_its_next_life(tmp_path):
    with ServeProcess(tmp_path) as server:
        async with connect(server.url, backoff=EAGER) as client:
            dialogue = await client.open(feature="paced")
            events = []
            async for event in dialogue.ask("Go"):
                events.append(event)
                if len(events) == 6:
                    server.kill()
                    await asyncio.to_thread(server.start)
            history = await dialogue.history()
            assert [(message["role"], message["status"]) for message in history] == [
                ("user", "complete"),
                ("assistant", "complete"),
            ]
            if events[-1]["event"] == "dialogue.snapshot":  # it was answered again before we were back
                assert events[-1]["snapshot"]["messages"] == history
            else:
                assert events[-1]["event"] == "turn.completed"
                assert text_of(events) == events[-1]["message"]["content"] == history[1]["content"]


async def test_a_server_that_is_asked_to_go_lets_the_answer_end_and_the_client_finds_the_next(tmp_path):
    with ServeProcess(tmp_path) as server:
        async with connect(server.url, backoff=EAGER) as client:
            dialogue = await client.open(feature="paced")
            events = dialogue.ask("Go")
            seen = [await anext(events) for _ in range(4)]
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            seen += [event async for event in events]
            assert seen[-1]["event"] == "turn.completed"
            assert await stopping == 0
            sending = asyncio.create_task(dialogue.send("Still there?"))
            await asyncio.to_thread(server.start)
            assert (await sending)["turn_id"]
        with pytest.raises(ConnectionClosed):
            await dialogue.send("too late")
