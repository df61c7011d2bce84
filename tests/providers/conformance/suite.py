"""What every adapter must do, whatever its wire. A subclass says how to stage an answer."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import aclosing

import pytest

from duologue.messages import FinishReason
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.port import Finished, Provider, TextDelta, UsageReported
from tests.providers.builders import REQUEST, collect, text_of


class Stage(ABC):
    """One adapter with an upstream that does what it is told. All of it is real."""

    text: str
    """What `complete` makes it say."""

    @abstractmethod
    def complete(self) -> Provider:
        """Answers with `text`."""

    @abstractmethod
    def stalls(self) -> Provider:
        """Says something and then nothing more, ever."""

    @abstractmethod
    def fails(self, category: Category) -> Provider:
        """Fails in this way, after some content where that makes sense."""

    @abstractmethod
    def is_idle(self) -> bool:
        """No call is open upstream."""

    async def settled(self) -> None:
        """Wait, at most briefly, until `is_idle`."""


class ProviderContract:
    """For every adapter. Collected through subclasses that provide the fixture `stage`."""

    async def test_it_says_its_text_and_ends_with_its_terminal_mark(self, stage: Stage) -> None:
        events, failure = await collect(stage.complete().stream(REQUEST))
        assert failure is None
        assert text_of(events) == stage.text
        assert events[-1] == Finished(FinishReason.STOP)
        assert sum(isinstance(event, Finished) for event in events) == 1

    async def test_batches_and_deltas_are_never_empty_and_text_is_encodable(self, stage: Stage) -> None:
        async with aclosing(stage.complete().stream(REQUEST)) as batches:
            async for batch in batches:
                assert len(batch) > 0
                for event in batch:
                    assert isinstance(event, TextDelta | UsageReported | Finished)
                    if isinstance(event, TextDelta):
                        assert event.text
                        event.text.encode()

    async def test_calls_at_the_same_time_do_not_disturb_each_other(self, stage: Stage) -> None:
        provider = stage.complete()
        ends = await asyncio.gather(*[collect(provider.stream(REQUEST)) for _ in range(10)])
        assert {text_of(events) for events, _ in ends} == {stage.text}

    async def test_nothing_is_called_before_the_first_batch_is_asked_for(self, stage: Stage) -> None:
        batches = stage.complete().stream(REQUEST)
        await asyncio.sleep(0)
        assert stage.is_idle()
        await batches.aclose()

    async def test_closing_the_generator_ends_the_call(self, stage: Stage) -> None:
        batches = stage.stalls().stream(REQUEST)
        await anext(batches)
        await batches.aclose()
        await stage.settled()
        assert stage.is_idle()

    async def test_cancelling_the_reader_ends_the_call(self, stage: Stage) -> None:
        provider, seen = stage.stalls(), asyncio.Event()

        async def read() -> None:
            async with aclosing(provider.stream(REQUEST)) as batches:
                async for _ in batches:
                    seen.set()

        task = asyncio.create_task(read())
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await stage.settled()
        assert stage.is_idle()

    async def test_closing_twice_is_harmless(self, stage: Stage) -> None:
        provider = stage.complete()
        await collect(provider.stream(REQUEST))
        await provider.close()
        await provider.close()


class FailingProviderContract(ProviderContract):
    """On top, for adapters that can fail: all but the null provider."""

    @pytest.mark.parametrize(
        "category",
        [
            Category.CONNECT,
            Category.RATE_LIMITED,
            Category.SERVER_ERROR,
            Category.TRUNCATED,
            Category.MALFORMED,
        ],
    )
    async def test_a_failure_is_a_provider_failure_of_its_category_and_no_end(
        self, stage: Stage, category: Category
    ) -> None:
        events, failure = await collect(stage.fails(category).stream(REQUEST))
        assert isinstance(failure, ProviderFailure)
        assert failure.category is category
        assert not any(isinstance(event, Finished) for event in events)
        await stage.settled()
        assert stage.is_idle()

    async def test_an_answer_can_be_asked_for_again_after_a_failure_and_after_leaving(
        self, stage: Stage
    ) -> None:
        batches = stage.stalls().stream(REQUEST)
        await anext(batches)
        await batches.aclose()
        events, failure = await collect(stage.complete().stream(REQUEST))
        assert failure is None
        assert text_of(events) == stage.text
