"""Short words for what the tests of this room need again and again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from duologue.config.models import RegisteredModel, Timeouts
from duologue.messages import Role
from duologue.providers.failures import ProviderFailure
from duologue.providers.port import CompletionRequest, Finished, PromptMessage, TextDelta, UsageReported

REQUEST = CompletionRequest([PromptMessage(Role.SYSTEM, "Be brief."), PromptMessage(Role.USER, "Hi")])


def model(url: str, name: str = "some-model", **fields: Any) -> RegisteredModel:
    fields.setdefault("timeouts", Timeouts(connect=2.0, first_token=5.0, idle=5.0, total=20.0))
    return RegisteredModel(provider="openai_compatible", model=name, url=url, **fields)


async def collect(batches: AsyncIterator[Sequence[Any]]) -> tuple[list[Any], Exception | None]:
    """All events, and what ended the stream, if anything did."""
    events: list[Any] = []
    try:
        async for batch in batches:
            assert batch, "a batch is never empty"
            events += batch
    except ProviderFailure as failure:
        return events, failure
    return events, None


def text_of(events: Sequence[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def end_of(events: Sequence[Any]) -> Finished | None:
    return events[-1] if events and isinstance(events[-1], Finished) else None


def usage_of(events: Sequence[Any]) -> Any:
    told = [event.usage for event in events if isinstance(event, UsageReported)]
    return told[-1] if told else None


def headers(**fields: str) -> Mapping[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}
