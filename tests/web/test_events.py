"""Events over plain HTTP: the same events, resumable, bounded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from duologue.messages import Epoch, Position
from duologue.providers.scripted import End, Say, WaitFor
from duologue.web.events import position_of
from duologue.web.hub import WebLimits
from tests.web.place import FEATURE, Place, check_numbers, place, text_of, wait_until


class Stream:
    """Reads server-sent events as the standard says, by lines."""

    def __init__(self, response: httpx.Response, lines: AsyncIterator[str]) -> None:
        self.response = response
        self.lines = lines
        self.comments = 0
        self.last_id = ""

    async def event(self) -> dict:
        data: list[str] = []
        async with asyncio.timeout(10):
            async for line in self.lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line.startswith("id: "):
                    self.last_id = line[4:]
                elif line.startswith("data: "):
                    data.append(line[6:])
                elif not line and data:
                    return json.loads("\n".join(data))
        raise EOFError

    async def until(self, name: str) -> list[dict]:
        events = [await self.event()]
        while events[-1]["event"] != name:
            events.append(await self.event())
        return events


@asynccontextmanager
async def stream(here: Place, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with (
        here.http() as http,
        http.stream("GET", f"/v1/dialogues/d1/events{query}", headers=headers) as response,
    ):
        assert response.status_code == 200
        async with aclosing(response.aiter_lines()) as lines:
            yield Stream(response, lines)


@pytest.fixture
async def there(here: Place) -> Place:
    """A server with the dialogue d1."""
    await here.runtime.open("d1", feature=FEATURE)
    return here


async def test_a_new_viewer_gets_a_snapshot_and_then_what_happens(there: Place):
    async with stream(there) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        assert (await events.event())["event"] == "dialogue.snapshot"
        await there.runtime.dialogue("d1").send("Hi")
        seen = await events.until("turn.completed")
    check_numbers(seen)
    assert text_of(seen) == seen[-1]["message"]["content"] == "One two three."


async def test_the_id_of_an_event_is_its_position(there: Place):
    async with stream(there) as events:
        snapshot = await events.event()
        assert events.last_id == f"{snapshot['epoch']}:{snapshot['seq']}"
        await there.runtime.dialogue("d1").send("Hi")
        accepted = await events.event()
        assert events.last_id == f"{accepted['epoch']}:{accepted['seq']}"


async def test_the_events_are_the_sockets_events(there: Place):
    async with stream(there) as events, there.socket() as client:
        await client.do("attach", dialogue="d1")
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.completed")
        assert await events.until("turn.completed") == client.events("d1")


@pytest.mark.parametrize("way", ["header", "address", "both"])
async def test_a_viewer_that_comes_back_gets_exactly_what_it_missed(there: Place, way: str):
    go_on = asyncio.Event()
    there.plays(Say("One two "), WaitFor(go_on), Say("three."), End())
    async with stream(there) as events:
        await there.runtime.dialogue("d1").send("Hi")
        seen = await events.until("turn.delta")
        last = events.last_id
    go_on.set()
    epoch, seq = last.rsplit(":", 1)
    query = {"header": "", "address": f"?epoch={epoch}&after={seq}", "both": "?epoch=old&after=1"}[way]
    headers = {} if way == "address" else {"Last-Event-ID": last}
    async with stream(there, query, **headers) as events:
        missed = await events.until("turn.completed")
    assert "dialogue.snapshot" not in [event["event"] for event in missed]
    check_numbers([*seen, *missed])
    assert text_of([*seen, *missed]) == "One two three."


@pytest.mark.parametrize("last", ["of another time:3", "nonsense", ":", "e:-1", "e:99999999999999999999"])
async def test_a_position_that_is_not_known_gets_a_snapshot(there: Place, last: str):
    async with stream(there, **{"Last-Event-ID": last}) as events:
        assert (await events.event())["event"] == "dialogue.snapshot"


async def test_silence_is_kept_alive_with_comments():
    async with place(limits=WebLimits(keep_alive=0.05)) as here:
        await here.runtime.open("d1", feature=FEATURE)
        async with stream(here) as events:
            await events.event()
            reading = asyncio.ensure_future(events.event())
            await wait_until(lambda: events.comments >= 3, "three comments came")
            await here.runtime.dialogue("d1").send("Hi")
            assert (await reading)["event"] == "message.accepted"


async def test_a_viewer_that_leaves_leaves_nothing_behind(there: Place):
    before = len(asyncio.all_tasks())
    async with stream(there) as events:
        await events.event()
        assert len(there.runtime.attachments) == 1
        assert there.hub.streams_open == 1
    await wait_until(lambda: there.hub.streams_open == 0, "the stream has ended")
    assert len(there.runtime.attachments) == 0
    assert len(there.hub.connections) == 0
    await wait_until(lambda: len(asyncio.all_tasks()) <= before, "its tasks have ended")


async def test_the_stream_of_a_deleted_dialogue_ends_with_a_word(there: Place):
    async with stream(there) as events:
        await events.event()
        await there.runtime.dialogue("d1").delete()
        assert (await events.event())["event"] == "dialogue.closed"
        with pytest.raises(EOFError):
            await events.event()


async def test_draining_is_announced_without_an_id_and_the_stream_ends(there: Place):
    async with stream(there) as events:
        await events.event()
        last = events.last_id
        there.hub.begin_drain()
        event = await events.event()
        assert event["event"] == "server.draining"
        assert event["reconnect_after_ms"] > 0
        assert events.last_id == last
        there.hub.close_all(4001, "draining")
        with pytest.raises(EOFError):
            await events.event()
        async with there.http() as http:
            refused = await http.get("/v1/dialogues/d1/events")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "draining"


async def test_a_window_merges_deltas(there: Place):
    there.says("word " * 50)
    async with stream(there, "?coalesce_ms=100") as events:
        await there.runtime.dialogue("d1").send("Hi")
        seen = await events.until("turn.completed")
    deltas = [event for event in seen if event["event"] == "turn.delta"]
    assert len(deltas) < 10
    assert text_of(deltas) == "word " * 50
    check_numbers(seen)


async def test_a_viewer_that_does_not_read_is_dropped_and_others_are_not():
    async with place(tables={"limits": {"outbox_bytes_max": 20_000}}) as here:
        dialogue = await here.runtime.open("d1", feature=FEATURE)
        async with here.socket() as good:
            await good.do("attach", dialogue="d1")
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port, limit=1_024)
            writer.write(b"GET /v1/dialogues/d1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await wait_until(lambda: here.hub.streams_open == 1, "the stream is open")
            here.says("word " * 3_000)
            stuck = next(c for c in here.hub.connections if hasattr(c, "_outbox") and hasattr(c, "_wake"))
            for _ in range(30):
                async for _event in dialogue.ask("More"):
                    pass
                if stuck._ended:
                    break
            assert stuck._ended, "it was given up"
            check_numbers(good.events("d1"))
            writer.transport.abort()
            await wait_until(lambda: here.hub.streams_open == 0, "the stream has ended")
            del reader


async def test_how_many_streams_may_be_open_is_bounded():
    async with place(limits=WebLimits(streams_max=1)) as here:
        await here.runtime.open("d1", feature=FEATURE)
        async with stream(here) as events, here.http() as http:
            await events.event()
            refused = await http.get("/v1/dialogues/d1/events")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "too_many"


async def test_asking_for_the_head_of_a_stream_does_not_open_it(there: Place):
    async with there.http() as http:
        answer = await http.head("/v1/dialogues/d1/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert there.hub.streams_open == 0


def test_an_id_is_read_as_a_position():
    assert position_of("e:41") == Position(Epoch("e"), 41)
    assert position_of("a:b:0") == Position(Epoch("a:b"), 0)
    for wrong in ("", "e", ":1", "e:", "e:x", "e:-1", "e:²", "e:1" + "0" * 20):
        assert position_of(wrong) is None
