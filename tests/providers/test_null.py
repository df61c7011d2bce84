"""The null provider: a word each tenth of a second, so that a person can stop it."""

import asyncio

import pytest

from duologue.messages import FinishReason
from duologue.providers.null import NULL_TEXT, NullProvider
from duologue.providers.port import Finished, TextDelta
from tests.providers.builders import REQUEST, text_of, usage_of
from tests.providers.virtual import run


def test_it_says_its_sentence_word_by_word() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        batches = []
        times = []
        async for batch in NullProvider().stream(REQUEST):
            batches.append(batch)
            times.append(clock() - started)
        words = len(NULL_TEXT.split())
        assert [len(batch) for batch in batches] == [1] * (words + 1)
        assert all(isinstance(batch[0], TextDelta) for batch in batches[:-1])
        assert batches[-1] == (Finished(FinishReason.STOP),)
        events = [event for batch in batches for event in batch]
        assert text_of(events) == NULL_TEXT
        assert usage_of(events) is None
        assert times[:words] == pytest.approx([number * 0.1 for number in range(words)])

    run(main())
