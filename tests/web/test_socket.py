"""Sessions over real sockets, on our own server and on a plain one, in both formats."""

import asyncio
import json

import msgpack
import pytest

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import DialogueClosed
from duologue.messages import DialogueId, Epoch
from duologue.providers.failures import Category
from duologue.providers.scripted import End, Fail, Hang, Say, WaitFor
from duologue.web.hub import WebLimits
from duologue.web.liveness import Pulse
from tests.web.place import FEATURE, TOKEN, Client, Place, check_numbers, place, text_of, wait_until


async def test_a_question_is_answered_token_by_token_and_completed(here: Place, kind: str):
    here.says("A monad is a monoid.")
    async with here.socket(kind) as client:
        await client.opened()
        accepted = await client.do("send", dialogue="d1", content="What is a monad?")
        completed = await client.event("turn.completed")
    assert completed["turn"] == accepted["turn_id"]
    assert completed["message"]["content"] == "A monad is a monoid." == text_of(client.events())
    assert completed["finish_reason"] == "stop"
    check_numbers(client.events("d1"))


async def test_an_answer_comes_before_the_events_that_its_command_causes(here: Place, kind: str):
    async with here.socket(kind) as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.completed")
    order = [m.get("event") or f"re {m['re']}" for m in client.log]
    assert order[:5] == ["re 1", "re 2", "dialogue.snapshot", "re 3", "message.accepted"]


async def test_the_answer_of_a_send_names_the_message_and_the_position_of_its_event(here: Place):
    async with here.socket() as client:
        await client.opened()
        ok = await client.do("send", dialogue="d1", content="Hi", client_message_id="c-1")
        event = await client.event("message.accepted")
    assert ok == {
        "message_id": event["message"]["id"],
        "turn_id": event["turn"],
        "epoch": event["epoch"],
        "seq": event["seq"],
    }
    assert event["message"]["client_message_id"] == "c-1"


async def test_commands_that_are_sent_at_once_take_effect_in_order(here: Place, kind: str):
    async with here.socket(kind) as client:
        await client.send(op="open", dialogue="d1", feature=FEATURE)
        await client.send(op="attach", dialogue="d1")
        await client.send(op="send", dialogue="d1", content="Hi")
        for number in (1, 2, 3):
            assert "ok" in await client.answer(number)
        await client.event("turn.completed")


async def test_two_viewers_see_the_same_events_in_both_formats(here: Place):
    async with here.socket("json") as first, here.socket("msgpack") as second:
        await first.opened()
        await second.do("attach", dialogue="d1")
        await first.do("send", dialogue="d1", content="Hi")
        await first.event("turn.completed")
        await second.event("turn.completed")
    assert first.events("d1") == second.events("d1")


async def test_the_server_makes_an_id_that_nobody_can_guess(here: Place):
    async with here.socket() as client:
        names = {(await client.do("open", feature=FEATURE))["dialogue"] for _ in range(5)}
    assert len(names) == 5
    assert all(len(name) >= 22 for name in names)


async def test_opening_again_with_the_same_words_finds_the_dialogue_and_with_others_is_a_conflict(
    here: Place,
):
    async with here.socket() as client:
        assert (await client.do("open", dialogue="d1", feature=FEATURE))["created"] is True
        assert (await client.do("open", dialogue="d1", feature=FEATURE))["created"] is False
        assert await client.refused("open", dialogue="d1", feature=FEATURE, section="other") == "conflict"


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("attach", {}),
        ("send", {"content": "Hi"}),
        ("cancel", {}),
        ("regenerate", {}),
        ("edit", {"message": "m1", "content": "x"}),
    ],
)
async def test_an_unknown_dialogue_is_not_found_by_any_command(own: Place, op: str, fields: dict):
    async with own.socket() as client:
        assert await client.refused(op, dialogue="nowhere", **fields) == "not_found"
        await client.do("pong")


async def test_an_unknown_feature_is_refused_by_name_and_makes_no_dialogue(here: Place):
    async with here.socket() as client:
        assert (
            await client.refused("open", dialogue="d1", feature="nothing_like_it") == "feature_not_configured"
        )
        assert await client.refused("attach", dialogue="d1") == "not_found"


@pytest.mark.parametrize(
    ("content", "code"), [("", "bad_request"), (" \n", "bad_request"), ("x" * 32_769, "message_too_large")]
)
async def test_content_that_may_not_be_said_is_refused_and_not_stored(
    own: Place, kind: str, content: str, code: str
):
    async with own.socket(kind) as client:
        await client.opened()
        assert await client.refused("send", dialogue="d1", content=content) == code
        snapshot = await own.runtime.dialogue("d1").snapshot()
    assert snapshot.messages == []


async def test_the_same_client_message_id_gives_the_same_answer_or_a_conflict(here: Place):
    async with here.socket() as client:
        await client.opened()
        first = await client.do("send", dialogue="d1", content="Hi", client_message_id="c-1")
        await client.event("turn.completed")
        assert await client.do("send", dialogue="d1", content="Hi", client_message_id="c-1") == first
        assert (
            await client.refused("send", dialogue="d1", content="Ho", client_message_id="c-1") == "conflict"
        )


async def test_cancel_stops_an_answer_from_any_viewer(here: Place, kind: str):
    here.plays(Say("Once upon "), Hang())
    async with here.socket(kind) as asker, here.socket(kind) as other:
        await asker.opened()
        ok = await asker.do("send", dialogue="d1", content="Tell me")
        await asker.event("turn.delta")
        assert await other.do("cancel", dialogue="d1", turn="t-other") == {"cancelled": False}
        assert await other.do("cancel", dialogue="d1", turn=ok["turn_id"]) == {"cancelled": True}
        cancelled = await asker.event("turn.cancelled")
        assert cancelled["partial"] == text_of(asker.events())
        assert await other.do("cancel", dialogue="d1") == {"cancelled": False}


async def test_closing_the_socket_does_not_stop_the_answer(here: Place):
    go_on = asyncio.Event()
    here.plays(Say("Before. "), WaitFor(go_on), Say("After."), End())
    async with here.socket() as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.delta")
    await wait_until(lambda: len(here.runtime.attachments) == 0, "the viewer is gone")
    go_on.set()
    async with here.socket() as client:
        await client.do("attach", dialogue="d1")
        snapshot = (await client.event("dialogue.snapshot"))["snapshot"]
        if snapshot["status"] == "generating":
            await client.event("turn.completed")
    history = await here.runtime.dialogue("d1").history()
    assert history[-1].content == "Before. After."


async def test_a_client_that_comes_back_gets_exactly_what_it_missed(here: Place, kind: str):
    go_on = asyncio.Event()
    here.plays(Say("One two "), WaitFor(go_on), Say("three four."), End())
    async with here.socket(kind) as first:
        await first.opened()
        await first.do("send", dialogue="d1", content="Count")
        await first.event("turn.delta")
        last = await first.event("turn.delta")
    go_on.set()
    await wait_until(lambda: here.stage.playing.open == 0, "the answer has ended")
    async with here.socket(kind) as second:
        ok = await second.do("attach", dialogue="d1", after={"epoch": last["epoch"], "seq": last["seq"]})
        assert ok["resumed"] is True
        completed = await second.event("turn.completed")
    missed = second.events("d1")
    assert missed[0].get("first_seq", missed[0]["seq"]) == last["seq"] + 1
    check_numbers([last, *missed])
    assert completed["message"]["content"] == text_of([*first.events("d1"), *missed]) == "One two three four."


@pytest.mark.parametrize("after", [{"epoch": "of another time", "seq": 1}, {"epoch": None, "seq": 10_000}])
async def test_a_position_that_cannot_be_resumed_gets_a_snapshot(here: Place, after: dict):
    async with here.socket() as client:
        ok = await client.opened()
        position = {"epoch": after["epoch"] or ok["epoch"], "seq": after["seq"]}
        assert (await client.do("attach", dialogue="d1", after=position))["resumed"] is False
        await client.event("dialogue.snapshot")
        await client.event("dialogue.snapshot")


async def test_after_detach_nothing_more_is_delivered(here: Place):
    async with here.socket() as watcher, here.socket() as asker:
        await asker.opened()
        await watcher.do("attach", dialogue="d1")
        assert await watcher.do("detach", dialogue="d1") == {}
        await asker.do("send", dialogue="d1", content="Hi")
        await asker.event("turn.completed")
        await watcher.do("pong")
        assert await watcher.do("detach", dialogue="d1") == {}
    names = [event["event"] for event in watcher.events()]
    assert names == ["dialogue.snapshot"]


async def test_what_was_under_way_to_a_detached_viewer_is_not_written(own: Place):
    async with own.socket() as client:
        await client.opened()
        await client.event("dialogue.snapshot")
        (session,) = own.hub.connections
        event = DialogueClosed(DialogueId("d1"), Epoch("e"), 1, "never seen")
        session.deliver(Attachment(DialogueId("d1"), session), event)  # type: ignore[attr-defined]
        await client.do("detach", dialogue="d1")
        await client.do("pong")
    assert [event["event"] for event in client.events()] == ["dialogue.snapshot"]


async def test_attaching_again_with_another_window_moves_the_viewer(here: Place):
    async with here.socket() as client:
        await client.opened(coalesce_ms=0)
        await client.do("attach", dialogue="d1", coalesce_ms=100)
        here.says("word " * 50)
        await client.do("send", dialogue="d1", content="Hi")
        completed = await client.event("turn.completed")
    deltas = [event for event in client.events() if event["event"] == "turn.delta"]
    assert len(deltas) < 10, "one for all within the window, after the first"
    assert text_of(deltas) == completed["message"]["content"]
    assert len(here.runtime.attachments) <= 1


async def test_an_edit_and_a_regeneration_supersede_what_was_there(here: Place):
    async with here.socket() as client:
        await client.opened()
        ok = await client.do("send", dialogue="d1", content="Helo")
        await client.event("turn.completed")
        await client.do("edit", dialogue="d1", message=ok["message_id"], content="Hello")
        await client.event("message.superseded")
        await client.event("turn.completed")
        await client.do("regenerate", dialogue="d1")
        await client.event("message.superseded")
        await client.event("turn.completed")
    check_numbers(client.events("d1"))


async def test_a_failed_turn_tells_its_category(here: Place):
    here.plays(Fail(Category.SERVER_ERROR, 500))
    async with here.socket() as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        failed = await client.event("turn.failed")
    assert failed["error"]["code"] == "provider_failed"
    assert failed["error"]["category"] == "server_error"


async def test_a_dialogue_that_is_deleted_is_closed_for_its_viewers(here: Place):
    async with here.socket() as client:
        await client.opened()
        await here.runtime.dialogue("d1").delete()
        assert (await client.event("dialogue.closed"))["reason"] == "deleted"
        assert await client.refused("attach", dialogue="d1") == "not_found"
    assert len(here.runtime.attachments) == 0


async def test_a_crash_of_the_actor_is_seen_as_a_snapshot_and_nothing_else(here: Place):
    async with here.socket() as client:
        await client.opened()
        await client.event("dialogue.snapshot")
        here.plays(Say("Half "), Hang())
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.delta")
        here.says("All of it.")
        ref = here.runtime._directory.awake("d1")
        assert ref is not None
        ref.kill()
        await client.event("dialogue.snapshot")
        completed = await client.event("turn.completed")
    assert completed["message"]["content"] == "All of it."


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────

BAD = {
    "no JSON": (b"{", None, "bad_frame"),
    "nothing": (b"", None, "bad_frame"),
    "not an object": (b"[1]", None, "bad_request"),
    "an unknown op": (b'{"id": 7, "op": "dance"}', 7, "bad_request"),
    "no op": (b'{"id": 7}', 7, "bad_request"),
    "no id": (b'{"op": "pong"}', None, "bad_request"),
    "a wrong type": (b'{"id": 7, "op": "send", "dialogue": "d1", "content": 3}', 7, "bad_request"),
    "an unknown field": (b'{"id": 7, "op": "pong", "x": 1}', 7, "bad_request"),
    "a lone surrogate": (
        b'{"id": 7, "op": "send", "dialogue": "d1", "content": "\\ud800"}',
        7,
        "bad_request",
    ),
    "a name that is none": (b'{"id": 7, "op": "attach", "dialogue": "a/b"}', 7, "bad_request"),
    "a window that is none": (
        b'{"id": 7, "op": "attach", "dialogue": "d1", "coalesce_ms": 7}',
        7,
        "bad_request",
    ),
    "not a number": (b'{"id": NaN, "op": "pong"}', None, "bad_frame"),
    "a nest": (b"[" * 5_000, None, "bad_frame"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_frame_gets_a_typed_error_and_the_connection_stays(own: Place, case: str):
    data, re, code = BAD[case]
    async with own.socket() as client:
        await client.opened()
        await client.ws.send(data.decode())
        answer = await client.answer(re)
        assert answer["error"]["code"] == code
        assert answer["error"]["retryable"] is False
        await client.do("send", dialogue="d1", content="Still here")
        await client.event("turn.completed")


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x91" * 2_000, b"\xdd\xff\xff\xff\xff", b"\xc7\x00\x01", b"\x81\xa2id\xa1\xff"]
)
async def test_bytes_that_are_no_msgpack_get_a_typed_error(own: Place, data: bytes):
    async with own.socket("msgpack") as client:
        await client.ws.send(data)
        assert (await client.answer(None))["error"]["code"] == "bad_frame"
        await client.do("pong")


async def test_a_frame_of_the_wrong_kind_is_a_bad_frame_and_the_connection_stays(here: Place):
    async with here.socket("json") as client:
        await client.ws.send(b'{"id": 1, "op": "pong"}')
        assert (await client.answer(None))["error"]["code"] == "bad_frame"
        await client.do("pong")
    async with here.socket("msgpack") as client:
        await client.ws.send("text")
        assert (await client.answer(None))["error"]["code"] == "bad_frame"
        await client.do("pong")


async def test_a_client_that_sends_nothing_but_bad_frames_is_parted_with(here: Place):
    async with here.socket() as client:
        for _ in range(20):
            await client.ws.send("{")
        assert await client.closed() == 4500
    assert len([m for m in client.log if m.get("error", {}).get("code") == "bad_frame"]) == 20


async def test_a_bad_frame_leaves_other_dialogues_alone(here: Place):
    go_on = asyncio.Event()
    here.plays(Say("One "), WaitFor(go_on), Say("two."), End())
    async with here.socket() as good, here.socket() as bad:
        await good.opened()
        await good.do("send", dialogue="d1", content="Hi")
        await good.event("turn.delta")
        for _ in range(5):
            await bad.ws.send("{")
            await bad.answer(None)
        go_on.set()
        assert (await good.event("turn.completed"))["message"]["content"] == "One two."


async def test_a_socket_watches_so_many_dialogues_and_no_more():
    async with place(limits=WebLimits(dialogues_max=3)) as here, here.socket() as client:
        for number in range(4):
            await client.do("open", dialogue=f"d{number}", feature=FEATURE)
        for number in range(3):
            await client.do("attach", dialogue=f"d{number}")
        assert await client.refused("attach", dialogue="d3") == "too_many"
        await client.do("detach", dialogue="d0")
        await client.do("attach", dialogue="d3")


@pytest.mark.parametrize("foreign", [False, True])
async def test_hundreds_of_attachments_at_once_all_get_their_snapshot(foreign: bool):
    async with place(foreign=foreign, limits=WebLimits(in_flight_max=4)) as here:
        for number in range(100):
            await here.runtime.open(f"d{number}", feature=FEATURE)
        async with here.socket() as client:
            for number in range(100):
                await client.send(op="attach", dialogue=f"d{number}")
            for number in range(100):
                assert "ok" in await client.answer(number + 1)
            await wait_until(lambda: len(here.runtime.attachments) == 100, "all are attached")
            await client.do("pong")
    assert {event["dialogue"] for event in client.events()} == {f"d{number}" for number in range(100)}


async def test_commands_that_pile_up_are_refused_at_a_bound():
    limits = WebLimits(in_flight_max=1, backlog_max=2)
    async with place(limits=limits) as here, here.socket() as client:
        await client.opened()
        here.store.gate.clear()
        try:
            numbers = [
                await client.send(op="send", dialogue="d1", content="Hi", on_busy="queue") for _ in range(4)
            ]
            assert (await client.answer(numbers[-1]))["error"]["code"] == "too_many"
        finally:
            here.store.gate.set()
        for number in numbers[:-1]:
            assert "ok" in await client.answer(number)


# ── liveness ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_closed(foreign: bool):
    limits = WebLimits(pulse=Pulse(ping_interval=0.2, pong_timeout=0.5))
    async with place(foreign=foreign, limits=limits) as here, here.socket() as good, here.socket() as silent:
        assert await asyncio.wait_for(asyncio.gather(silent.closed(), _pong_thrice(good)), 20) == [
            4012,
            None,
        ]
        await good.do("pong")


async def _pong_thrice(client: Client) -> None:
    for _ in range(3):
        await client.event("ping")
        await client.do("pong")


@pytest.mark.parametrize("op", ["pong", "ack"])
async def test_a_ping_comes_early_when_much_is_unanswered_and_an_answer_settles_it(op: str):
    limits = WebLimits(pulse=Pulse(ping_interval=60, pong_timeout=60, unanswered_bytes_max=2_000))
    async with place(limits=limits) as here, here.socket() as client:
        here.says("word " * 20)
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("ping")
        await client.event("turn.completed")
        fields = {"dialogue": "d1", "seq": 1} if op == "ack" else {}
        await client.do(op, **fields)
        here.says("word " * 20)
        await client.do("send", dialogue="d1", content="Again")
        await client.event("ping")


async def test_an_idle_dialogue_falls_asleep_under_its_viewer_and_wakes_for_the_next_question():
    from duologue.dialogue.environment import DialogueLimits

    async with (
        place(dialogue_limits=DialogueLimits(idle_after=0.05, linger=0.01)) as here,
        here.socket() as client,
    ):
        await client.opened()
        await wait_until(lambda: here.runtime._directory.awake("d1") is None, "the dialogue sleeps")
        await client.do("send", dialogue="d1", content="Wake up")
        await client.event("turn.completed")
    check_numbers(client.events("d1"))


# ── the store, and going away ───────────────────────────────────────────────────────────────────────────────


async def test_a_message_that_cannot_be_kept_is_refused_as_retryable(here: Place):
    async with here.socket() as client:
        await client.opened()
        here.store.outage = "down for the test"
        answer = await client.answer(await client.send(op="send", dialogue="d1", content="Hi"))
        here.store.outage = None
        assert answer["error"]["code"] == "store_unavailable"
        assert answer["error"]["retryable"] is True


@pytest.mark.parametrize("foreign", [False, True])
async def test_draining_is_announced_new_work_is_refused_and_the_socket_closed(foreign: bool):
    async with place(foreign=foreign) as here, here.socket() as client:
        await client.opened()
        here.hub.begin_drain()
        event = await client.event("server.draining")
        assert 0 < event["reconnect_after_ms"] <= 30_000
        assert set(event) == {"event", "reconnect_after_ms"}
        assert await client.refused("send", dialogue="d1", content="Hi") == "draining"
        here.hub.close_all(4001, "draining")
        assert await client.closed() == 4001


async def test_what_a_socket_held_is_given_back_when_it_closes(here: Place):
    async with here.socket() as client:
        await client.opened()
        assert len(here.hub.sweep) == 1
        assert here.hub.sockets_open == 1
    await wait_until(lambda: here.hub.sockets_open == 0, "the socket is gone")
    assert len(here.hub.sweep) == 0
    assert len(here.hub.connections) == 0
    assert len(here.runtime.attachments) == 0


async def test_the_application_works_under_a_path_of_another_one():
    async with place(mounted="/tutor") as here, here.socket() as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.completed")
        async with here.http() as http:
            assert (await http.get("/v1/dialogues/d1")).status_code == 200
            assert (await http.get("/")).status_code == 200


async def test_raw_utf8_goes_out_unescaped(own: Place):
    own.says("Grüße, 世界 🌍 \u2028 end")
    async with own.socket() as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="é")
        raw = []
        while True:
            data = await asyncio.wait_for(client.ws.recv(), 10)
            raw.append(data)
            if json.loads(data).get("event") == "turn.completed":
                break
    assert any("Grüße" in data for data in raw)
    assert not any("\\u" in data for data in raw)


async def test_an_ack_for_a_dialogue_that_is_not_watched_is_harmless(own: Place):
    async with own.socket() as client:
        assert await client.do("ack", dialogue="d1", seq=3) == {}


async def test_a_token_is_accepted_where_none_is_needed(own: Place):
    async with own.socket() as client:
        assert await client.do("auth", token=TOKEN) == {}


async def test_msgpack_and_json_answers_have_the_same_shape(own: Place):
    async with own.socket("msgpack") as client:
        await client.ws.send(msgpack.packb({"id": 5, "op": "attach", "dialogue": "nowhere"}))
        answer = await client.answer(5)
        assert set(answer["error"]) == {"code", "message", "retryable"}
