"""kill -9 in the middle of an answer: what was acknowledged is there afterwards, and the turn ends."""

import asyncio
import random
from pathlib import Path

import pytest

import duologue.client
from duologue.client.events import TERMINAL
from tests.system.server import TOKENS, ServerProcess, running, scripted

WHOLE = " ".join(str(number) for number in range(TOKENS))


async def wait_until_idle(server: ServerProcess, name: str) -> dict[str, object]:
    async with server.http() as http, asyncio.timeout(20):
        while True:
            snapshot = (await http.get(f"/v1/dialogues/{name}")).json()
            if snapshot["status"] == "idle":
                return snapshot
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", range(6))
async def test_every_acknowledged_message_survives_and_gets_one_whole_answer(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    stop_at = chance.randint(1, TOKENS)
    acknowledged: list[str] = []
    async with running(tmp_path, scripted(interval=0.005)) as server:
        async with duologue.client.connect(server.url) as client:
            dialogue = await client.open("d", feature="student_dialogue")
            seen = 0
            async for event in dialogue.events():
                if event["event"] == "dialogue.snapshot":
                    for text in ("first?", "second?"):
                        await dialogue.send(text)
                        acknowledged.append(text)
                seen += event["event"] == "turn.delta"
                if seen >= stop_at:
                    break
            await server.kill()
        await server.start(server.port)
        snapshot = await wait_until_idle(server, "d")
        messages = [m for m in snapshot["messages"] if m["status"] != "superseded"]  # type: ignore[attr-defined]
        assert [m["content"] for m in messages if m["role"] == "user"] == acknowledged
        answers = [m for m in messages if m["role"] == "assistant"]
        assert [(m["content"], m["status"]) for m in answers] == [(WHOLE, "complete")] * 2
        assert len({m["turn_id"] for m in answers}) == 2


async def test_a_client_that_watches_reads_the_stored_text_across_the_kill(tmp_path: Path) -> None:
    async with (
        running(tmp_path, scripted(interval=0.005)) as server,
        duologue.client.connect(server.url) as client,
    ):
        dialogue = await client.open("d", feature="student_dialogue")
        text, names, killed = "", [], False
        async with asyncio.timeout(30):
            async for event in dialogue.ask("?"):
                names.append(event["event"])
                if event["event"] == "turn.restarted":
                    text = ""
                elif event["event"] == "dialogue.snapshot":
                    turn = event["snapshot"]["turn"]
                    text = "" if turn is None else turn["text"]
                elif event["event"] == "turn.delta":
                    assert event["offset"] == len(text)
                    text += event["text"]
                    if len(text) > 20 and not killed:
                        killed = True
                        await server.kill()
                        await server.start(server.port)
        assert names[-1] in TERMINAL or names[-1] == "dialogue.snapshot"
        stored = (await wait_until_idle(server, "d"))["messages"]
        assert [m["content"] for m in stored] == ["?", WHOLE]  # type: ignore[attr-defined]
        if names[-1] == "turn.completed":
            assert text == WHOLE


async def test_a_leftover_store_of_a_killed_server_does_not_keep_the_next_from_starting(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, scripted()) as server:
        for _ in range(3):
            await server.kill()
            await server.start()
            async with server.http() as http:
                assert (await http.get("/readyz")).status_code == 200


async def test_sigterm_ends_it_with_status_0_and_leaves_no_store_behind(tmp_path: Path) -> None:
    async with running(tmp_path, scripted()) as server:
        store = server.store_pid
        assert await server.stop() == 0
        assert not Path(f"/proc/{store}").exists()


async def test_a_second_server_on_the_same_data_directory_is_refused_by_name(tmp_path: Path) -> None:
    async with running(tmp_path, scripted()) as server:
        second = ServerProcess(tmp_path, scripted())
        with pytest.raises(AssertionError):
            await second.start()
        assert second.process is not None
        assert await second.process.wait() == 2
        await asyncio.gather(*second._reading)
        assert any("data" in line and str(server.process.pid) in line for line in second.output), (
            second.output
        )  # type: ignore[union-attr]
