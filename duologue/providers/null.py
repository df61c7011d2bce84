"""`null`: the model that is there when none is. A fixed sentence, slow enough to be stopped by hand."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from duologue.messages import FinishReason
from duologue.providers.port import CompletionRequest, Finished, ProviderEvent, TextDelta
from duologue.providers.scripted import words_of

__all__ = ["NullProvider", "NULL_TEXT"]

NULL_TEXT = (
    "This is the null provider: no language model is configured, so nothing was generated. "
    "Register one in the configuration file, or set OPENAI_API_KEY and OPENAI_MODEL, and start again."
)
_INTERVAL = 0.1


class NullProvider:
    """Says `NULL_TEXT`, a word each `interval` seconds, the first at once. Tells no usage: there is none."""

    def __init__(self, *, interval: float = _INTERVAL) -> None:
        self._interval = interval

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        del request
        for number, word in enumerate(words_of(NULL_TEXT)):
            if number:
                await asyncio.sleep(self._interval)
            yield (TextDelta(word),)
        yield (Finished(FinishReason.STOP),)

    async def close(self) -> None:
        """Nothing to release."""
