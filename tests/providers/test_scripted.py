"""The shipped double: its scripts, and the same from a configuration's parameters."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.config.models import Timeouts
from duologue.messages import Usage
from duologue.providers.attempt import run_attempt
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.port import Finished
from duologue.providers.scripted import End, Fail, Say, ScriptedProvider, WaitFor, words_of
from tests.providers.builders import REQUEST, collect, end_of, text_of, usage_of
from tests.providers.virtual import run

LIMITS = Timeouts(connect=1.0, first_token=20.0, idle=15.0, total=120.0)


def play(provider: ScriptedProvider) -> tuple[list[Any], Exception | None, float]:
    async def main() -> tuple[list[Any], Exception | None, float]:
        clock = asyncio.get_running_loop().time
        started = clock()
        events, failure = await collect(run_attempt(provider, REQUEST, LIMITS))
        return events, failure, clock() - started

    return run(main())


@given(st.text())
def test_words_joined_are_the_text_again(text: str) -> None:
    assert "".join(words_of(text)) == text


async def test_each_call_plays_its_own_script_and_the_last_one_repeats() -> None:
    provider = ScriptedProvider([Fail(Category.CONNECT)], [Say("well"), End()])
    ends = [await collect(provider.stream(REQUEST)) for _ in range(3)]
    assert [text_of(events) for events, _ in ends] == ["", "well", "well"]
    assert [failure is None for _, failure in ends] == [False, True, True]
    assert (provider.calls, provider.open, provider.last_request) == (3, 0, REQUEST)


async def test_a_test_decides_when_the_answer_goes_on() -> None:
    gate = asyncio.Event()
    batches = ScriptedProvider([Say("a"), WaitFor(gate), Say("b"), End()]).stream(REQUEST)
    assert text_of(await anext(batches)) == "a"
    following = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    assert not following.done()
    gate.set()
    assert text_of(await following) == "b"
    await batches.aclose()


def test_a_provider_without_a_script_is_refused() -> None:
    with pytest.raises(ValueError, match="script"):
        ScriptedProvider()


def test_parameters_give_text_pace_and_usage() -> None:
    provider = ScriptedProvider.from_parameters({"text": "a b ", "repeat": 3, "delay": 2.0, "interval": 0.5})
    events, failure, took = play(provider)
    assert failure is None
    assert text_of(events) == "a b a b a b "
    assert usage_of(events) == Usage(None, 6)
    assert isinstance(end_of(events), Finished)
    assert took == pytest.approx(2.0 + 6 * 0.5)


@pytest.mark.parametrize(
    ("fault", "category", "said"),
    [
        ("refuse", Category.CONNECT, ""),
        ("rate_limited", Category.RATE_LIMITED, ""),
        ("server_error", Category.SERVER_ERROR, ""),
        ("hang", Category.TIMEOUT_FIRST_TOKEN, ""),
        ("die", Category.TRUNCATED, "a b "),
        ("stall", Category.TIMEOUT_IDLE, "a b "),
        ("garbage", Category.MALFORMED, "a b "),
    ],
)
def test_each_fault_of_a_configuration(fault: str, category: Category, said: str) -> None:
    events, failure, _ = play(ScriptedProvider.from_parameters({"text": "a b c d", "fault": fault, "at": 2}))
    assert isinstance(failure, ProviderFailure)
    assert (failure.category, text_of(events)) == (category, said)


def test_a_fault_can_be_met_by_a_few_calls_only() -> None:
    provider = ScriptedProvider.from_parameters({"fault": "rate_limited", "faults": 2, "retry_after": 0.5})
    failures = [play(provider)[1] for _ in range(3)]
    assert [getattr(failure, "retry_after", None) for failure in failures] == [0.5, 0.5, None]
    assert failures[2] is None


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"txt": "a"}, "txt"),
        ({"fault": "explode"}, "fault"),
        ({"at": -1}, "at"),
        ({"text": ""}, "text"),
        ({"interval": float("nan")}, "interval"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(ProviderFailure, match=named) as caught:
        ScriptedProvider.from_parameters(parameters)
    assert caught.value.category is Category.MODEL_MISCONFIGURED
