"""A conversation against a server that does what the test says, over a real socket, with a screen of text."""

import asyncio
import io
from contextlib import asynccontextmanager

import pytest
from rich.console import Console

from duologue.chat.conversation import Conversation
from duologue.chat.lines import Lines
from duologue.chat.program import _until_over
from duologue.chat.screen import Screen
from duologue.client import connect
from duologue.errors import NotAuthenticated
from tests.client.wire_server import EPOCH, Peer, wire_server


class Typed(Lines):
    """Lines that a test hands over when it wants."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def next(self) -> str | None:
        return await self.queue.get()

    def type(self, *lines: str | None) -> None:
        for line in lines:
            self.queue.put_nowait(line)


class Scene:
    def __init__(self, conversation, lines, out):
        self.conversation = conversation
        self.lines = lines
        self.out = out

    @property
    def shown(self) -> str:
        return self.out.getvalue()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(5):
            while text not in self.shown:
                await asyncio.sleep(0.001)


async def no_wait(seconds):
    await asyncio.sleep(0)


@asynccontextmanager
async def scene(*scripts, interactive=True):
    out = io.StringIO()
    screen = Screen(out, Console(file=out, width=200), interactive=interactive)
    lines = Typed()
    async with wire_server(*scripts) as server, connect(server.url, sleep=no_wait) as client:
        conversation = Conversation(client.dialogue("d1"), screen, client.new_id)
        client._keeper._on_connection = conversation.show_connection
        yield Scene(conversation, lines, out)
        conversation.leaving.set()


def accepted(seq, turn="t1"):
    return {"message_id": f"m-{turn}", "turn_id": turn, "epoch": EPOCH, "seq": seq}


async def start(peer: Peer, **snapshot):
    await peer.attached(resumed=False)
    await peer.snapshot(0, **snapshot)


async def answer(peer: Peer, text: str, *, seq: int = 1, turn: str = "t1", end: bool = True) -> None:
    """Take a question and answer it."""
    command = await peer.expect("send")
    await peer.ok(command, **accepted(seq, turn))
    message = {
        "content": command["content"],
        "role": "user",
        "client_message_id": command["client_message_id"],
    }
    await peer.event("message.accepted", seq, turn=turn, message=message)
    await peer.event(
        "turn.started",
        seq + 1,
        turn=turn,
        attempt=1,
        message_ids=[],
        model="fast",
        service="s",
        tier="primary",
    )
    await peer.event("turn.delta", seq + 2, turn=turn, attempt=1, offset=0, text=text)
    if end:
        await completed(peer, seq + 3, turn)


async def completed(peer: Peer, seq: int, turn: str = "t1", reason: str = "stop") -> None:
    await peer.event(
        "turn.completed",
        seq,
        turn=turn,
        attempt=1,
        message={},
        finish_reason=reason,
        model="fast",
        usage=None,
    )


async def test_a_line_is_answered_with_the_model_and_its_tier():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "A burrito.")

    async with scene(script) as it:
        it.lines.type("What is a monad?", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown == "fast · primary\nA burrito.\n"
    assert not it.conversation.failed


async def test_lines_are_said_one_after_the_other_and_empty_ones_not_at_all():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "one.")
        await answer(peer, "two.", seq=5, turn="t2")

    async with scene(script) as it:
        it.lines.type("1", "", "   ", "2", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown == "fast · primary\none.\nfast · primary\ntwo.\n"


async def test_history_is_shown_to_a_person_and_not_to_a_pipe():
    messages = [
        {
            "id": "m0",
            "role": "user",
            "content": "old",
            "turn_id": "t0",
            "created_at": 0,
            "status": "superseded",
        },
        {"id": "m1", "role": "user", "content": "Hi", "turn_id": "t0", "created_at": 0, "status": "complete"},
        {
            "id": "m2",
            "role": "assistant",
            "content": "Hel",
            "turn_id": "t0",
            "created_at": 0,
            "status": "partial",
            "model": "fast",
        },
    ]

    async def script(peer: Peer) -> None:
        await start(peer, messages=messages)

    for interactive, shown in ((True, "you> Hi\nfast\nHel\n(not complete)\n"), (False, "")):
        async with scene(script, interactive=interactive) as it:
            it.lines.type(None)
            await _until_over(it.conversation, it.lines)
        assert it.shown == shown


async def test_an_answer_that_is_streaming_already_is_joined_before_the_first_prompt():
    async def script(peer: Peer) -> None:
        turn = {"id": "t1", "attempt": 1, "text": "half ", "model": "fast", "tier": "backup"}
        await start(peer, status="generating", turn=turn)
        await peer.event("turn.delta", 1, turn="t1", attempt=1, offset=5, text="and half")
        await completed(peer, 2)
        await answer(peer, "next", seq=3, turn="t2")

    async with scene(script) as it:
        it.lines.type("go on", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown == "fast · backup\nhalf and half\nfast · primary\nnext\n"


async def test_a_restart_is_told_and_the_next_model_named():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "I thi", end=False)
        await peer.event(
            "turn.restarted", 4, turn="t1", attempt=2, model="steady", tier="backup", reason="stall"
        )
        await peer.event("turn.delta", 5, turn="t1", attempt=2, offset=0, text="Well")
        await peer.event("turn.continued", 6, turn="t1", attempt=3, model="slow", tier="backup", reason="eof")
        await peer.event("turn.delta", 7, turn="t1", attempt=3, offset=4, text=", yes")
        await completed(peer, 8, reason="length")

    async with scene(script) as it:
        it.lines.type("Hi", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown.splitlines() == [
        "fast · primary",
        "I thi",
        "withdrawn (stall); once more from the start",
        "steady · backup",
        "Well",
        "broke off (eof); goes on",
        "slow · backup",
        ", yes",
        "ended early: length",
    ]


async def test_a_failed_turn_and_a_refused_message_are_told_and_remembered():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "I", end=False)
        error = {"code": "provider_failed", "message": "no model answered", "retryable": True}
        await peer.event("turn.failed", 4, turn="t1", error=error, partial="I")
        await peer.refuse(await peer.expect("send"), "busy")

    async with scene(script, interactive=False) as it:
        it.lines.type("1", "2", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown == "fast · primary\nI\nfailed: no model answered\nnot sent: no: busy\n"
    assert it.conversation.failed


async def test_ctrl_c_stops_the_answer_and_the_next_line_can_be_said():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "on and on", end=False)
        command = await peer.expect("cancel")
        assert command["turn"] == "t1"
        await peer.ok(command, cancelled=True)
        await peer.event("turn.cancelled", 4, turn="t1", partial="on and on")
        await answer(peer, "short", seq=5, turn="t2")

    async with scene(script) as it:
        it.lines.type("Hi", "Ho", None)
        talking = asyncio.create_task(_until_over(it.conversation, it.lines))
        await it.until("on and on")
        it.conversation.interrupt()
        await talking
    assert "on and on\nstopping; Ctrl-C again leaves\nstopped\nfast · primary\nshort\n" in it.shown


async def test_ctrl_c_before_the_message_is_accepted_stops_its_answer():
    accept = asyncio.Event()

    async def script(peer: Peer) -> None:
        await start(peer)
        command = await peer.expect("send")
        await accept.wait()
        await peer.ok(command, **accepted(1))
        command = await peer.expect("cancel")
        await peer.ok(command, cancelled=True)
        await peer.event("message.accepted", 1, turn="t1", message={"client_message_id": "?", "content": "x"})
        await peer.event("turn.cancelled", 2, turn="t1", partial="")

    async with scene(script, interactive=False) as it:
        it.lines.type("Hi", None)
        talking = asyncio.create_task(_until_over(it.conversation, it.lines))
        while not it.conversation._sending:
            await asyncio.sleep(0.001)
        it.conversation.interrupt()
        accept.set()
        await talking
    assert "stopped" in it.shown


async def test_ctrl_c_twice_leaves_and_so_does_once_with_nothing_to_stop():
    async def script(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "on and on", end=False)

    async with scene(script) as it:
        it.conversation.interrupt()
        assert it.conversation.leaving.is_set()
        it.conversation.leaving.clear()
        it.lines.type("Hi")
        talking = asyncio.create_task(_until_over(it.conversation, it.lines))
        await it.until("on and on")
        it.conversation.interrupt()
        assert not it.conversation.leaving.is_set()
        it.conversation.interrupt()
        await talking


async def test_what_others_say_is_shown_and_our_own_words_are_not():
    async def script(peer: Peer) -> None:
        await start(peer)
        message = {"role": "user", "content": "from another tab", "client_message_id": "other"}
        await peer.event("message.accepted", 1, turn="t0", message=message)
        await completed(peer, 2, turn="t0")
        await answer(peer, "yes", seq=3)

    async with scene(script) as it:
        talking = asyncio.create_task(_until_over(it.conversation, it.lines))
        await it.until("another tab")
        it.lines.type("ours", None)
        await talking
    assert it.shown == "somebody> from another tab\nfast · primary\nyes\n"


async def test_a_lost_connection_is_told_and_the_answer_goes_on_where_it_was():
    async def first(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "half ", end=False)
        await peer.close(4001, "going away")

    async def second(peer: Peer) -> None:
        attach = await peer.attached()
        assert attach["after"]["seq"] == 3
        await peer.event("turn.delta", 4, turn="t1", attempt=1, offset=5, text="and half")
        await completed(peer, 5)

    async with scene(first, second) as it:
        it.lines.type("Hi", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown.splitlines() == [
        "fast · primary",
        "half ",
        "connection lost (going away); trying again",
        "connected again",
        "and half",
    ]


@pytest.mark.parametrize(
    ("status", "text", "failed"),
    [("complete", "half and half", False), ("partial", "half", True), (None, "", True)],
)
async def test_an_answer_that_ended_while_we_were_away_is_finished_from_the_snapshot(status, text, failed):
    async def first(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "half", end=False)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        question = {"id": "m1", "role": "user", "content": "Hi", "turn_id": "t1", "status": "complete"}
        ended = {"id": "m2", "role": "assistant", "content": text, "turn_id": "t1", "status": status}
        await peer.snapshot(9, epoch="e2", messages=[question, ended] if status else [question])

    async with scene(first, second) as it:
        it.lines.type("Hi", None)
        await _until_over(it.conversation, it.lines)
    assert it.conversation.failed is failed
    assert ("without a complete answer" in it.shown) is failed
    assert it.shown.replace("\n", " ").count("and half") == (1 if status == "complete" else 0)


async def test_an_answer_that_a_restarted_server_takes_up_again_is_followed():
    async def first(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "half", end=False)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        turn = {"id": "t1", "attempt": 1, "text": "half", "model": "fast", "tier": "primary"}
        await peer.snapshot(0, epoch="e2", status="generating", turn=turn)
        await peer.event("turn.interrupted", 1, epoch="e2", turn="t1", partial="half")
        await peer.event(
            "turn.restarted",
            2,
            epoch="e2",
            turn="t1",
            attempt=2,
            model="fast",
            tier="primary",
            reason="interrupted",
        )
        await peer.event("turn.delta", 3, epoch="e2", turn="t1", attempt=2, offset=0, text="whole")
        await peer.event(
            "turn.completed",
            4,
            epoch="e2",
            turn="t1",
            attempt=2,
            finish_reason="stop",
            model="fast",
            message={},
        )

    async with scene(first, second) as it:
        it.lines.type("Hi", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown.splitlines()[-4:] == [
        "interrupted by a restart; it recovers by itself",
        "withdrawn (interrupted); once more from the start",
        "fast · primary",
        "whole",
    ]


async def test_only_the_standing_attempt_is_taken_up_after_a_lost_connection():
    async def first(peer: Peer) -> None:
        await start(peer)
        await answer(peer, "I thi", end=False)
        await peer.event(
            "turn.restarted", 4, turn="t1", attempt=2, model="steady", tier="backup", reason="stall"
        )
        await peer.event("turn.delta", 5, turn="t1", attempt=2, offset=0, text="Well")
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.attached(resumed=False)
        turn = {"id": "t1", "attempt": 2, "text": "Well, yes", "model": "steady", "tier": "backup"}
        await peer.snapshot(6, status="generating", turn=turn)
        await completed(peer, 7)

    async with scene(first, second) as it:
        it.lines.type("Hi", None)
        await _until_over(it.conversation, it.lines)
    assert it.shown.splitlines()[-4:] == [
        "Well",
        "connection lost (the connection broke); trying again",
        "connected again",
        ", yes",
    ]


async def test_a_closed_dialogue_ends_the_conversation():
    async def script(peer: Peer) -> None:
        await start(peer)
        await peer.event("dialogue.closed", 0, reason="deleted")

    async with scene(script) as it:
        await _until_over(it.conversation, it.lines)
    assert "the dialogue was closed: deleted" in it.shown


async def test_a_connection_that_is_closed_for_good_is_raised():
    async def script(peer: Peer) -> None:
        await start(peer)
        await peer.close(4501, "token withdrawn")

    async with scene(script) as it:
        with pytest.raises(NotAuthenticated, match="token withdrawn"):
            await _until_over(it.conversation, it.lines)
