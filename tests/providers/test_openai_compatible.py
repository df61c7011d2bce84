"""`openai_compatible` over real sockets: every fault that the fake upstream plays, and every way to leave."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from duologue.config.models import Timeouts
from duologue.messages import FinishReason, Usage
from duologue.providers.attempt import run_attempt
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.http import HttpClients
from duologue.providers.openai_compatible import OpenAICompatible
from duologue.providers.port import CompletionRequest, Finished, UsageReported
from tests.providers.builders import REQUEST, collect, end_of, model, text_of, usage_of
from tests.system.fake_upstream import FakeUpstream, Fault, Play, black_hole

WORDS = ["One ", "two ", "three ", "four ", "five."]
PATIENT = Timeouts(connect=5.0, first_token=10.0, idle=10.0, total=20.0)


def limits_for(fault: Fault | None, at: int) -> Timeouts:
    """Short where the fault is one of time, else so long that a busy machine hits none."""
    if fault not in (Fault.HANG, Fault.STALL, Fault.PINGS):
        return PATIENT
    waits_for_first = fault is Fault.HANG or at == 0
    return Timeouts(connect=5.0, first_token=0.2 if waits_for_first else 10.0, idle=0.5, total=20.0)


async def ask(
    upstream: FakeUpstream, clients: HttpClients, *, timeouts: Timeouts = PATIENT, **fields: Any
) -> tuple[list[Any], ProviderFailure | None]:
    registered = model(upstream.url, timeouts=timeouts, **fields)
    events, failure = await collect(run_attempt(OpenAICompatible(registered, clients), REQUEST, timeouts))
    assert failure is None or isinstance(failure, ProviderFailure)
    return events, failure


async def test_an_answer_comes_with_its_text_usage_and_end(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(tokens=WORDS, interval=0.005))
    events, failure = await ask(upstream, clients)
    assert failure is None
    assert (text_of(events), usage_of(events)) == ("One two three four five.", Usage(7, 5))
    assert [type(event) for event in events[-2:]] == [UsageReported, Finished]


async def test_what_comes_in_one_read_is_one_batch(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(tokens=WORDS))
    batches = [batch async for batch in provider.stream(REQUEST)]
    assert len(batches) <= 3
    assert sum(len(batch) for batch in batches) <= 4


async def test_the_request_has_the_model_the_key_and_no_compression(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    adapter = OpenAICompatible(model(upstream.url + "/v1", "a-model"), clients, lambda: "sk-test")
    request = CompletionRequest(REQUEST.messages, {"temperature": 0.1})
    _, failure = await collect(adapter.stream(request))
    assert failure is None
    seen = upstream.requests[-1]
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer sk-test"
    assert seen.headers["accept-encoding"] == "identity"
    assert (seen.body["model"], seen.body["temperature"], seen.body["stream"]) == ("a-model", 0.1, True)


async def test_without_a_key_no_authorization_is_sent(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    await collect(provider.stream(REQUEST))
    assert "authorization" not in upstream.requests[-1].headers


FAULTS = [
    (Fault.RESET, Category.DISCONNECTED, False),
    (Fault.UNAUTHORIZED, Category.UNAUTHORIZED, False),
    (Fault.FORBIDDEN, Category.FORBIDDEN, False),
    (Fault.QUOTA, Category.QUOTA, False),
    (Fault.RATE_LIMITED, Category.RATE_LIMITED, False),
    (Fault.CONTEXT_LENGTH, Category.CONTEXT_LENGTH, False),
    (Fault.SERVER_ERROR, Category.SERVER_ERROR, False),
    (Fault.OVERLOADED, Category.OVERLOADED, False),
    (Fault.REDIRECT, Category.MODEL_MISCONFIGURED, False),
    (Fault.HANG, Category.TIMEOUT_FIRST_TOKEN, False),
    (Fault.HTML, Category.MALFORMED, False),
    (Fault.EMPTY, Category.EMPTY, False),
    (Fault.DONE_ONLY, Category.EMPTY, False),
    (Fault.NO_HTTP, Category.MALFORMED, False),
    (Fault.DIE, Category.TRUNCATED, True),
    (Fault.EOF, Category.TRUNCATED, True),
    (Fault.CUT, Category.TRUNCATED, True),
    (Fault.STALL, Category.TIMEOUT_IDLE, True),
    (Fault.PINGS, Category.TIMEOUT_IDLE, True),
    (Fault.GARBAGE, Category.MALFORMED, True),
    (Fault.ERROR_FRAME, Category.SERVER_ERROR, True),
    (Fault.HUGE_LINE, Category.MALFORMED, True),
]


@pytest.mark.parametrize(("fault", "category", "had_content"), FAULTS)
async def test_each_fault_is_a_failure_of_its_category(
    fault: Fault, category: Category, had_content: bool, upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(tokens=WORDS, fault=fault, at=3, interval=0.005))
    events, failure = await ask(upstream, clients, timeouts=limits_for(fault, 3))
    assert failure is not None
    assert (failure.category, failure.had_content) == (category, had_content)
    assert text_of(events) == ("One two three " if had_content else "")
    assert end_of(events) is None
    assert "canary" not in str(failure)


@pytest.mark.parametrize(
    "fault", [Fault.DIE, Fault.EOF, Fault.CUT, Fault.STALL, Fault.PINGS, Fault.GARBAGE, Fault.ERROR_FRAME]
)
@pytest.mark.parametrize("at", [0, 1, 5])
async def test_a_fault_at_any_token_is_never_a_complete_answer(
    fault: Fault, at: int, upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(tokens=WORDS, fault=fault, at=at, interval=0.005))
    events, failure = await ask(upstream, clients, timeouts=limits_for(fault, at))
    assert failure is not None
    assert end_of(events) is None
    assert text_of(events) == "".join(WORDS[:at])
    assert failure.had_content == (at > 0)


def test_the_table_of_faults_is_whole() -> None:
    good = {Fault.JSON, Fault.NO_FINISH, Fault.NO_DONE, Fault.LATE_USAGE}
    assert {fault for fault, _, _ in FAULTS} | good == set(Fault)


@pytest.mark.parametrize("fault", [Fault.JSON, Fault.NO_FINISH, Fault.NO_DONE])
async def test_a_lax_server_is_still_understood(
    fault: Fault, upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(tokens=WORDS, fault=fault, interval=0.005))
    events, failure = await ask(upstream, clients)
    assert failure is None
    assert (text_of(events), end_of(events)) == ("".join(WORDS), Finished(FinishReason.STOP))


async def test_usage_and_text_that_come_after_the_terminal_mark_are_not_lost(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(tokens=WORDS, fault=Fault.LATE_USAGE))
    events, failure = await ask(upstream, clients)
    assert failure is None
    assert text_of(events) == "".join(WORDS) + "P.S."
    assert usage_of(events) == Usage(7, 5)
    assert end_of(events) == Finished(FinishReason.STOP)
    assert sum(isinstance(event, Finished) for event in events) == 1


async def test_a_refused_connection_is_told_at_once(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.refuse()
    _, failure = await ask(upstream, clients)
    assert failure is not None
    assert failure.category is Category.CONNECT


async def test_a_host_that_does_not_exist_is_a_connect_failure(clients: HttpClients) -> None:
    adapter = OpenAICompatible(model("http://no-such-host.invalid"), clients)
    _, failure = await collect(run_attempt(adapter, REQUEST, PATIENT))
    assert isinstance(failure, ProviderFailure)
    assert failure.category in (Category.CONNECT, Category.TIMEOUT_FIRST_TOKEN)
    assert "no-such-host" not in str(failure)


async def test_an_address_that_never_answers_fails_within_the_connect_timeout(clients: HttpClients) -> None:
    with black_hole() as url:
        limits = Timeouts(connect=0.2, first_token=9.0, idle=9.0, total=9.0)
        started = asyncio.get_running_loop().time()
        adapter = OpenAICompatible(model(url, timeouts=limits), clients)
        _, failure = await collect(run_attempt(adapter, REQUEST, limits))
    assert isinstance(failure, ProviderFailure)
    assert failure.category is Category.CONNECT
    assert asyncio.get_running_loop().time() - started < 1.0


async def test_retry_after_is_passed_on(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(fault=Fault.RATE_LIMITED, retry_after="1.5"))
    _, failure = await ask(upstream, clients)
    assert failure is not None
    assert (failure.retry_after, failure.http_status) == (1.5, 429)


async def test_a_compressed_answer_is_refused_unread(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(headers={"content-encoding": "gzip"}))
    _, failure = await ask(upstream, clients)
    assert failure is not None
    assert failure.category is Category.MALFORMED


async def test_connections_are_used_again_after_good_answers_and_refusals(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    for fault in (None, None, Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.EMPTY, None):
        upstream.play(Play(fault=fault))
        await ask(upstream, clients)
    assert (upstream.request_count, upstream.connection_count) == (6, 1)


async def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    await ask(upstream, clients)
    upstream.play(Play(fault=Fault.RESET, faults=1))
    events, failure = await ask(upstream, clients)
    assert failure is None
    assert end_of(events) is not None
    assert (upstream.request_count, upstream.connection_count) == (3, 2)


async def test_a_new_connection_that_is_lost_is_not_tried_again_here(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(fault=Fault.RESET))
    _, failure = await ask(upstream, clients)
    assert failure is not None
    assert upstream.request_count == 1


async def test_cookies_are_not_kept(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(headers={"set-cookie": "session=another-users; Path=/"}))
    await ask(upstream, clients)
    await ask(upstream, clients)
    assert "cookie" not in upstream.requests[-1].headers


async def test_a_proxy_of_the_environment_is_not_used(
    upstream: FakeUpstream, clients: HttpClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _, failure = await ask(upstream, clients)
    assert failure is None


async def test_after_the_terminal_mark_an_open_connection_is_waited_for_less_than_the_idle_limit(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    upstream.play(Play(fault=Fault.NO_DONE))
    limits = Timeouts(connect=5.0, first_token=10.0, idle=0.5, total=20.0)
    events, failure = await ask(upstream, clients, timeouts=limits)
    assert failure is None
    assert end_of(events) is not None
    await closed_within(upstream)


# ── leaving ──


async def begin(adapter: OpenAICompatible) -> asyncio.Task[Any]:
    return asyncio.create_task(collect(run_attempt(adapter, REQUEST, model("http://x").timeouts)))


async def closed_within(upstream: FakeUpstream, seconds: float = 0.1) -> None:
    await upstream.wait_until(lambda: upstream.open_connections == 0, seconds)


async def test_cancelling_before_the_headers_closes_the_upstream_at_once(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(fault=Fault.HANG))
    task = await begin(provider)
    await upstream.wait_until(lambda: upstream.open_answers == 1)
    task.cancel()
    await closed_within(upstream)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.abandoned == 1


async def test_cancelling_before_the_first_token_closes_the_upstream_at_once(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(fault=Fault.STALL, at=0))
    task = await begin(provider)
    await upstream.wait_until(lambda: upstream.open_answers == 1)
    task.cancel()
    await closed_within(upstream)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_in_the_middle_of_an_answer_closes_the_upstream_at_once(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(tokens=WORDS, fault=Fault.STALL, at=2))
    seen = asyncio.Event()

    async def read() -> None:
        async with aclosing(provider.stream(REQUEST)) as batches:
            async for _ in batches:
                seen.set()

    task = asyncio.create_task(read())
    await seen.wait()
    task.cancel()
    await closed_within(upstream)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_the_generator_closes_the_upstream_at_once(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(tokens=WORDS, fault=Fault.STALL, at=2))
    batches = provider.stream(REQUEST)
    await anext(batches)
    await batches.aclose()
    await closed_within(upstream)


async def test_a_deadline_closes_the_upstream_at_once(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(fault=Fault.PINGS, at=1))
    await ask(upstream, clients, timeouts=limits_for(Fault.PINGS, 1))
    await closed_within(upstream)


async def test_cancelling_while_connecting_leaves_no_socket(
    clients: HttpClients, sockets: Callable[[], int]
) -> None:
    with black_hole() as url:
        before = sockets()
        adapter = OpenAICompatible(model(url), clients)
        task = await begin(adapter)
        for _ in range(50):
            await asyncio.sleep(0)
        connecting = sockets()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert connecting == before + 1
        assert sockets() == before


async def test_four_hundred_cancels_at_all_moments_leave_nothing(
    upstream: FakeUpstream, provider: OpenAICompatible, sockets: Callable[[], int]
) -> None:
    """At each of the first loop turns of a request, so in every state of connecting, sending and reading."""
    upstream.play(Play(tokens=WORDS, interval=0.001))
    _, failure = await collect(provider.stream(REQUEST))
    assert failure is None
    before, tasks = sockets(), len(asyncio.all_tasks())
    for number in range(400):
        task = await begin(provider)
        for _ in range(number % 40):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await upstream.wait_until(lambda: upstream.open_connections <= 1 and upstream.open_answers == 0)
    assert len(asyncio.all_tasks()) == tasks
    assert sockets() <= before + 2  # a kept connection has two ends here
    events, failure = await collect(provider.stream(REQUEST))
    assert failure is None
    assert text_of(events) == "".join(WORDS)


async def test_more_streams_at_once_than_a_usual_pool_holds_are_not_limited(
    upstream: FakeUpstream, provider: OpenAICompatible
) -> None:
    upstream.play(Play(fault=Fault.STALL, at=1))
    tasks = [await begin(provider) for _ in range(130)]
    await upstream.wait_until(lambda: upstream.open_answers == 130, 60.0)
    for task in tasks:
        task.cancel()
    await closed_within(upstream, 10.0)
    await asyncio.wait(tasks)
