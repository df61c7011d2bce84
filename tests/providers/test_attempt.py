"""One attempt: the rules that hold for every adapter, and deadlines that count content. In virtual time."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from duologue.config.models import Timeouts
from duologue.messages import FinishReason, Usage
from duologue.providers.attempt import run_attempt
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.port import CompletionRequest, Finished, ProviderEvent, TextDelta, UsageReported
from duologue.providers.scripted import End, Fail, Hang, Report, Say, ScriptedProvider, Step, Wait
from tests.providers.builders import REQUEST, collect, text_of
from tests.providers.virtual import run

LIMITS = Timeouts(connect=1.0, first_token=20.0, idle=15.0, total=120.0)


def play(*steps: Step, limits: Timeouts = LIMITS) -> tuple[list[Any], ProviderFailure | None, float]:
    """Events, failure, and the virtual seconds that it took."""

    async def main() -> tuple[list[Any], ProviderFailure | None, float]:
        clock = asyncio.get_running_loop().time
        started = clock()
        provider = ScriptedProvider(steps)
        events, failure = await collect(run_attempt(provider, REQUEST, limits))
        assert provider.open == 0, "the adapter's generator was closed"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "an interruption was taken back"
        assert len(asyncio.all_tasks()) == 1
        assert failure is None or isinstance(failure, ProviderFailure)
        return events, failure, clock() - started

    return run(main())


def test_an_answer_with_text_and_a_terminal_mark_is_complete() -> None:
    events, failure, _ = play(Say("One two"), Report(Usage(1, 2)), End(FinishReason.LENGTH))
    assert failure is None
    assert events == [
        TextDelta("One "),
        TextDelta("two"),
        UsageReported(Usage(1, 2)),
        Finished(FinishReason.LENGTH),
    ]


@pytest.mark.parametrize(
    ("steps", "category", "had_content", "seconds"),
    [
        ((Hang(),), Category.TIMEOUT_FIRST_TOKEN, False, 20.0),
        ((Wait(19.5), Say("a"), Hang()), Category.TIMEOUT_IDLE, True, 34.5),
        ((Report(Usage(1, 0)), Wait(19.0), Report(Usage(1, 0)), Hang()), Category.TIMEOUT_FIRST_TOKEN, False, 20.0),
        ((Say("a"), Wait(14.0), Report(Usage(1, 1)), Hang()), Category.TIMEOUT_IDLE, True, 15.0),
        ((Say("a b c d e", 14.0), Hang()), Category.TIMEOUT_IDLE, True, 85.0),
        ((Say("a b c d e f g h i j k l", 14.0), End()), Category.TIMEOUT_TOTAL, True, 120.0),
        ((Say("a"),), Category.TRUNCATED, True, 0.0),
        ((), Category.TRUNCATED, False, 0.0),
        ((End(),), Category.EMPTY, False, 0.0),
        ((Report(Usage(1, 9)), End(FinishReason.LENGTH)), Category.EMPTY, False, 0.0),
        ((End(FinishReason.CONTENT_FILTER),), Category.CONTENT_FILTER, False, 0.0),
        ((Fail(Category.CONNECT),), Category.CONNECT, False, 0.0),
        ((Say("a"), Fail(Category.SERVER_ERROR, 500)), Category.SERVER_ERROR, True, 0.0),
    ],
)  # fmt: skip
def test_what_is_not_complete_fails_in_its_way_and_at_its_time(
    steps: Sequence[Step], category: Category, had_content: bool, seconds: float
) -> None:
    _, failure, took = play(*steps)
    assert failure is not None
    assert (failure.category, failure.had_content) == (category, had_content)
    assert took == pytest.approx(seconds, abs=1e-6)


def test_a_slow_answer_within_all_limits_is_complete() -> None:
    events, failure, took = play(Wait(5.0), Say("a b c d e f ", 14.9), End())
    assert failure is None
    assert text_of(events) == "a b c d e f "
    assert took == pytest.approx(5.0 + 6 * 14.9)


def test_no_deadline_that_passed_is_reported_by_the_wrong_name() -> None:
    _, failure, took = play(Hang(), limits=Timeouts(connect=1.0, first_token=50.0, idle=1.0, total=10.0))
    assert failure is not None
    assert failure.category is Category.TIMEOUT_TOTAL
    assert took == pytest.approx(10.0)


def test_the_time_of_a_slow_consumer_is_not_the_providers_idle_time() -> None:
    async def main() -> str:
        text = ""
        provider = ScriptedProvider([Say("a b c", 14.0), End()])
        async with aclosing(run_attempt(provider, REQUEST, LIMITS)) as batches:
            async for batch in batches:
                await asyncio.sleep(16.0)
                text += text_of(batch)
        return text

    assert run(main()) == "a b c"


def test_the_total_limit_strikes_as_soon_as_a_slow_consumer_reads_on() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        provider = ScriptedProvider([Say("a"), Hang()])
        with pytest.raises(ProviderFailure) as caught:
            async with aclosing(run_attempt(provider, REQUEST, LIMITS)) as batches:
                async for _ in batches:
                    await asyncio.sleep(500.0)
        assert caught.value.category is Category.TIMEOUT_TOTAL
        assert clock() - started == pytest.approx(500.0)

    run(main())


def test_cancelling_the_reader_stays_a_cancellation_and_closes_the_adapter() -> None:
    async def main() -> None:
        provider = ScriptedProvider([Say("a"), Hang()])
        task = asyncio.create_task(collect(run_attempt(provider, REQUEST, LIMITS)))
        await asyncio.sleep(5.0)
        assert provider.open == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert provider.open == 0

    run(main())


def test_a_cancellation_at_the_very_moment_of_a_deadline_wins() -> None:
    async def main() -> None:
        provider = ScriptedProvider([Hang()])
        task = asyncio.create_task(collect(run_attempt(provider, REQUEST, LIMITS)))
        asyncio.get_running_loop().call_later(20.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_deadline_works_within_the_callers_own_timeout() -> None:
    async def main() -> None:
        async with asyncio.timeout(100.0):
            _, failure = await collect(run_attempt(ScriptedProvider([Hang()]), REQUEST, LIMITS))
        assert isinstance(failure, ProviderFailure)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await collect(run_attempt(ScriptedProvider([Hang()]), REQUEST, LIMITS))

    run(main())


def test_leaving_early_closes_the_adapter_and_the_timer() -> None:
    async def main() -> None:
        provider = ScriptedProvider([Say("a b c"), End()])
        async with aclosing(run_attempt(provider, REQUEST, LIMITS)) as batches:
            await anext(batches)
        assert provider.open == 0
        assert not [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]

    run(main())


class _Odd(ScriptedProvider):
    """An adapter with a habit that adapters should not have."""

    def __init__(self, habit: str) -> None:
        super().__init__([End()])
        self.habit = habit

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        yield (TextDelta("a"),)
        if self.habit == "crashes":
            raise KeyError(request.messages[0].content)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self.habit == "swallows and says more":
                yield (TextDelta("b"), Finished(FinishReason.STOP))
            elif self.habit == "makes it another error":
                raise ProviderFailure(Category.CONNECT, "other") from None
            elif self.habit == "ends":
                return


@pytest.mark.parametrize("habit", ["swallows and says more", "makes it another error", "ends"])
def test_an_adapter_that_swallows_its_interruption_does_not_complete_and_leaves_no_trace(habit: str) -> None:
    async def main() -> None:
        events, failure = await collect(run_attempt(_Odd(habit), REQUEST, LIMITS))
        assert text_of(events) == "a"
        assert isinstance(failure, ProviderFailure)
        assert failure.had_content
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


def test_an_adapter_that_crashes_is_a_failure_and_its_words_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        with caplog.at_level(logging.DEBUG):
            _, failure = await collect(run_attempt(_Odd("crashes"), REQUEST, LIMITS))
        assert isinstance(failure, ProviderFailure)
        assert failure.category is Category.INTERNAL
        assert "KeyError" in caplog.text
        assert "Be brief" not in caplog.text + str(failure)

    run(main())


def test_a_thousand_tokens_cost_two_timers() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        made = 0
        real = loop.call_at

        def counted(*args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            nonlocal made
            made += 1
            return real(*args, **kwargs)

        loop.call_at = counted  # type: ignore[method-assign, assignment]
        _, failure = await collect(
            run_attempt(ScriptedProvider([Say("word " * 1000), End()]), REQUEST, LIMITS)
        )
        assert failure is None
        return made

    assert run(main()) == 2, "one for the first token, one for the idle time from then on"
