"""The whole path on a real model: a socket in, real tokens out."""

import asyncio
import os
import signal
from contextlib import aclosing, asynccontextmanager

import pytest

from duologue import client
from duologue.local_model import LocalModelServer
from tests.local_model.watching import seconds_until_idle
from tests.system.server import running

pytestmark = pytest.mark.local_model


SHORT, LONG = 40, 1500  # tokens; this model ends few answers by itself


def configuration(**tiers: tuple[str, int]) -> str:
    """One service with a model for each tier, as its address and its limit on tokens."""
    models = "".join(
        f"""
[models.{tier}]
provider = "openai_compatible"
model = "local"
url = "{url}"
parameters = {{ max_tokens = {limit}, seed = 7 }}
[models.{tier}.timeouts]
first_token = 60.0
idle = 30.0
"""
        for tier, (url, limit) in tiers.items()
    )
    names = "\n".join(f'{tier} = "{tier}"' for tier in tiers)
    return f'{models}\n[services.real]\n{names}\n[features.student_dialogue]\nservice = "real"\n'


@asynccontextmanager
async def dialogue(directory, **tiers):
    """A dialogue on a real server in its own process, over the socket."""
    async with running(directory, configuration(**tiers)) as server, client.connect(server.url) as connection:
        yield await connection.open(feature="student_dialogue")


async def test_real_tokens_come_over_the_socket_and_are_counted(tmp_path, model):
    async with dialogue(tmp_path, primary=(model.url, SHORT)) as talk:
        events = [event async for event in talk.ask("Name three colours.", timeout=60)]
        kinds = [event["event"] for event in events]
        # The first may be our own message; how many deltas there are is the model's affair.
        assert kinds.index("turn.started") < kinds.index("turn.delta")
        assert kinds[-1] == "turn.completed"
        done = events[-1]
        text = "".join(event["text"] for event in events if event["event"] == "turn.delta")
        assert done["message"]["content"] == text
        assert text.strip()
        assert done["model"] == "primary"
        assert done["usage"]["input_tokens"] > 5
        assert done["usage"]["output_tokens"] > 0
        snapshot = await talk.snapshot()
        assert snapshot["usage"] == done["usage"]
        assert [message["role"] for message in snapshot["messages"]] == ["user", "assistant"]


async def test_cancel_stops_the_model_within_a_second(tmp_path, model):
    async with dialogue(tmp_path, primary=(model.url, LONG)) as talk:
        async with aclosing(talk.ask("Tell a very long story about a whale.", timeout=60)) as events:
            async for event in events:
                if event["event"] == "turn.delta":
                    assert await talk.cancel()
                    assert await seconds_until_idle(model.pid) < 1.0
                    break
            rest = [event async for event in events]
        assert rest[-1]["event"] == "turn.cancelled"
        assert rest[-1]["partial"]


async def test_leaving_the_socket_does_not_stop_the_answer(tmp_path, model):
    async with running(tmp_path, configuration(primary=(model.url, SHORT))) as server:
        async with client.connect(server.url) as connection:
            talk = await connection.open("kept", feature="student_dialogue")
            await talk.send("Name three animals.")
        async with client.connect(server.url) as connection:
            talk = connection.dialogue("kept")
            async with asyncio.timeout(90):
                while (snapshot := await talk.snapshot())["status"] == "generating":
                    await asyncio.sleep(0.1)
        assert snapshot["messages"][-1]["role"] == "assistant"
        assert snapshot["messages"][-1]["status"] == "complete"


async def test_killing_the_model_in_the_middle_of_an_answer_brings_in_the_backup(tmp_path, model, options):
    async with (
        LocalModelServer(options) as second,
        dialogue(tmp_path, primary=(model.url, LONG), backup=(second.url, SHORT)) as talk,
    ):
        seen = []
        async for event in talk.ask("Tell a long story about a lighthouse.", timeout=60):
            seen.append(event)
            deltas = [event for event in seen if event["event"] == "turn.delta"]
            if len(deltas) == 5 and event is deltas[-1]:
                os.kill(model.pid, signal.SIGKILL)
        kinds = [event["event"] for event in seen]
        assert kinds[-1] == "turn.completed"
        assert kinds.count("turn.started") == kinds.count("turn.restarted") == 1
        restarted = seen[kinds.index("turn.restarted")]
        assert (restarted["model"], restarted["tier"], restarted["attempt"]) == ("backup", "backup", 2)
        after = seen[kinds.index("turn.restarted") :]
        text = "".join(event["text"] for event in after if event["event"] == "turn.delta")
        assert seen[-1]["message"]["content"] == text
        assert seen[-1]["model"] == "backup"
        assert seen[-1]["usage"]["output_tokens"] > 0


async def test_a_model_that_is_down_from_the_start_is_not_noticed(tmp_path, model, options):
    async with LocalModelServer(options) as down:
        await down.stop()
        async with dialogue(tmp_path, primary=(down.url, SHORT), backup=(model.url, SHORT)) as talk:
            kinds = [event["event"] async for event in talk.ask("Name a fruit.", timeout=60)]
    assert kinds[-1] == "turn.completed"
    assert "turn.restarted" not in kinds
    assert kinds.count("turn.started") == 1
