"""A store that hangs or dies under a real server."""

import asyncio
import os
import signal
import time
from contextlib import aclosing
from pathlib import Path

import duologue.client
from tests.system.server import TOKENS, running, scripted

WHOLE = " ".join(str(number) for number in range(TOKENS))


async def test_a_hung_store_is_named_new_messages_are_refused_in_time_and_the_answer_goes_on(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, scripted(interval=0.1)) as server, server.http() as http:
        async with duologue.client.connect(server.url) as client:
            dialogue = await client.open("d", feature="student_dialogue")
            other = await client.open("other", feature="student_dialogue")
            store, text = server.store_pid, ""
            async with asyncio.timeout(30), aclosing(dialogue.ask("?")) as events:
                async for event in events:
                    if event["event"] == "turn.delta":
                        text += event["text"]
                    if text.startswith("0 1 2 ") and event["event"] == "turn.delta" and store:
                        os.kill(store, signal.SIGSTOP)
                        store = 0
                        hung = asyncio.create_task(_while_hung(http, other, server.store_pid))
                    if event["event"] == "turn.completed":
                        break
            await hung
            assert text == WHOLE
            await other.send("after?")
        stored = (await http.get("/v1/dialogues/d")).json()["messages"]
        assert [m["content"] for m in stored] == ["?", WHOLE]


async def _while_hung(http, other, store: int) -> None:  # type: ignore[no-untyped-def]
    try:
        begun = time.monotonic()
        ready = await http.get("/readyz")
        assert time.monotonic() - begun < 2.5
        assert ready.status_code == 503
        assert ready.json()["error"]["code"] == "store_unavailable"
        begun = time.monotonic()
        refused = await http.post("/v1/dialogues/other/messages", json={"content": "?"})
        assert time.monotonic() - begun < 2.5
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["retryable"]) == (503, "store_unavailable", True)
    finally:
        os.kill(store, signal.SIGCONT)


async def test_a_store_that_dies_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, scripted(interval=0.02)) as server, server.http() as http:
        async with duologue.client.connect(server.url) as client:
            dialogue = await client.open("d", feature="student_dialogue")
            text, killed = "", False
            async with asyncio.timeout(30):
                async for event in dialogue.ask("?"):
                    if event["event"] == "turn.delta":
                        text += event["text"]
                        if not killed and len(text) > 10:
                            killed = True
                            os.kill(server.store_pid, signal.SIGKILL)
            assert text == WHOLE
        stored = (await http.get("/v1/dialogues/d")).json()["messages"]
        assert [m["content"] for m in stored] == ["?", WHOLE]
        assert (await http.get("/readyz")).status_code == 200
