"""The model server and the adapter that speaks to it, without the rest of the house."""

import asyncio
import os
import signal
from contextlib import aclosing

import httpx
import pytest

from duologue.config import RegisteredModel
from duologue.errors import ConfigurationError
from duologue.local_model import LocalModelOptions, LocalModelServer
from duologue.messages import FinishReason, Role
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.port import CompletionRequest, Finished, PromptMessage, TextDelta, UsageReported
from duologue.providers.registry import Providers
from tests.local_model.watching import processor_seconds, seconds_until_idle

pytestmark = pytest.mark.local_model


@pytest.fixture
async def provider(model):
    models = {"local": RegisteredModel(provider="openai_compatible", model="local", url=model.url)}
    providers = Providers(models, environ={})
    yield providers.provider("local")
    await providers.close()


def ask(text: str, **parameters) -> CompletionRequest:
    return CompletionRequest([PromptMessage(Role.USER, text)], parameters)


async def test_real_tokens_stream_and_are_counted(provider):
    batches = [batch async for batch in provider.stream(ask("Count to twenty.", max_tokens=24))]
    events = [event for batch in batches for event in batch]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    usage = [event.usage for event in events if isinstance(event, UsageReported)][-1]
    assert len(deltas) > 5, "one delta for each token or so"
    assert "".join(deltas).strip()
    assert 0 < usage.output_tokens <= 24
    assert usage.input_tokens > 5
    assert events[-1] in (Finished(FinishReason.LENGTH), Finished(FinishReason.STOP))


async def test_the_limit_on_tokens_is_kept_and_named(provider):
    events = [e async for batch in provider.stream(ask("Tell a long story.", max_tokens=3)) for e in batch]
    assert events[-1] == Finished(FinishReason.LENGTH)


async def test_closing_the_stream_stops_the_model_within_a_second(model, provider):
    async with aclosing(provider.stream(ask("Tell a very long story.", max_tokens=2000))) as stream:
        async for _ in stream:
            if processor_seconds(model.pid) > 0:
                break
    assert await seconds_until_idle(model.pid) < 1.0


async def test_cancelling_the_reader_stops_the_model_within_a_second(model, provider):
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in provider.stream(ask("Tell a very long story.", max_tokens=2000)):
            begun.set()

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    await asyncio.wait({reader})
    assert await seconds_until_idle(model.pid) < 1.0


async def test_a_prompt_that_does_not_fit_is_told_from_other_failures(provider):
    with pytest.raises(ProviderFailure) as caught:
        async for _ in provider.stream(ask("word " * 4000)):
            pass
    assert caught.value.category == Category.CONTEXT_LENGTH


async def test_a_model_killed_in_the_middle_of_an_answer_is_a_failure_not_an_end(model, provider):
    with pytest.raises(ProviderFailure) as caught:
        async for _ in provider.stream(ask("Tell a very long story.", max_tokens=2000)):
            if model.pid is not None:
                os.kill(model.pid, signal.SIGKILL)
    assert caught.value.category == Category.TRUNCATED


async def test_stopping_does_not_wait_for_an_answer_that_streams(options):
    clock = asyncio.get_running_loop().time
    async with (
        LocalModelServer(options) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        body = {
            "stream": True,
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": "A long story."}],
        }
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            chunks = response.aiter_bytes()
            await anext(chunks)
            began = clock()
            await server.stop()
            assert clock() - began < 2.0
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in chunks:
                    pass


async def test_the_server_tells_no_path_no_prompt_and_no_foreign_page(model, options):
    async with httpx.AsyncClient(base_url=model.url, trust_env=False) as http:
        listed = await http.get("/v1/models", headers={"origin": "https://elsewhere.example"})
        assert [row["id"] for row in listed.json()["data"]] == [options.gguf.stem]
        assert str(options.gguf.parent) not in listed.text
        assert listed.headers["access-control-allow-origin"] == ""
        assert (await http.get("/slots")).status_code == 501
        assert (await http.get("/")).status_code == 404


async def test_a_damaged_model_is_refused(tmp_path):
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(4096))
    with pytest.raises(ConfigurationError, match="could not be served"):
        await LocalModelServer(LocalModelOptions(gguf=path, port=0)).start()


async def test_a_port_that_is_taken_is_refused(model, options):
    taken = LocalModelOptions(gguf=options.gguf, port=int(model.url.rsplit(":", 1)[1]))
    with pytest.raises(ConfigurationError, match=f"port {taken.port} is taken"):
        await LocalModelServer(taken).start()
