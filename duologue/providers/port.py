"""The port to language models: typed events in, nothing of any vendor's wire.

Two levels. A `Provider` speaks one wire protocol to one registered model: one call, one attempt. A
`CompletionService` is what a dialogue holds: it walks the service's tiers, retries and fails over, and
tells what it did in the same stream.

Both yield **batches**: all events that came out of one network read, so that whoever listens can treat one
read as one event.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from duologue.messages import FinishReason, Role, Tier, Usage

__all__ = [
    "PromptMessage",
    "CompletionRequest",
    "TextDelta",
    "UsageReported",
    "Finished",
    "ProviderEvent",
    "Provider",
    "AttemptStarted",
    "AttemptFailed",
    "ServiceEvent",
    "TurnRequest",
    "CompletionService",
]


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message as a model reads it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One call to one model. `parameters` are sent as they are, renamed where a model wants that."""

    messages: Sequence[PromptMessage]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, never empty, always encodable as UTF-8 (lone surrogates were repaired)."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The provider's own count, cumulative for the attempt; the last one stands."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The terminal mark: the answer is complete. Always the last event of a stream that has one.

    A stream that ends without it was cut: the adapter raises `providers.failures.ProviderFailure` then.
    """

    reason: FinishReason


ProviderEvent = TextDelta | UsageReported | Finished


class Provider(Protocol):
    """One wire protocol to one registered model. Holds no state of any call; safe to use concurrently."""

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        """One attempt. Each batch is what one network read gave; a batch is never empty.

        Closing the generator (or cancelling the task that reads it) closes the upstream connection.

        Raises:
            ProviderFailure: Anything that keeps the answer from being complete, with its category.
        """
        ...

    async def close(self) -> None:
        """Release connections. Idempotent."""
        ...


# ── a service: several models, one answer ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A call to a model is about to be made. Text deltas that follow belong to this attempt.

    `reason` is `None` for the first attempt of a turn, else the code of what made it necessary: a
    `providers.failures.Category` value, or `"interrupted"` after a restart. A turn's first attempt has the
    reason `"over_capacity"` when a model before it was at its cap, since no call was made to that one. Two
    attempts in a row may name the same model: a one-off 500 and a short rate limit are tried once more.
    """

    attempt: int
    model: str
    """Name of the registered model."""
    tier: Tier
    service: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt is over without a complete answer. Another may follow; if none does, the stream raises."""

    attempt: int
    model: str
    category: str
    """A `providers.failures.Category` value."""
    had_content: bool


ServiceEvent = AttemptStarted | AttemptFailed | TextDelta | UsageReported | Finished


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a turn asks of its service.

    Args:
        service: Name of the service in the configuration.
        messages: The whole prompt, system message first if there is one.
        first_attempt: Number of the first attempt that this stream makes; more than 1 after a restart.
        reason: Goes on the first `AttemptStarted`; `None` unless a restart made this attempt necessary.
        dialogue: For telemetry only.
    """

    service: str
    messages: Sequence[PromptMessage]
    first_attempt: int = 1
    reason: str | None = None
    dialogue: str = ""


class CompletionService(Protocol):
    """All configured services behind one door."""

    def stream(self, request: TurnRequest) -> AsyncGenerator[Sequence[ServiceEvent], None]:
        """Make attempts until one is complete. Ends with a batch whose last event is `Finished`.

        Order within: `AttemptStarted`, its deltas, then `Finished` or `AttemptFailed`, then perhaps the next
        `AttemptStarted`. Closing the generator closes whatever upstream is open.

        Raises:
            ProviderFailed: No attempt was complete and none is left; `category` is the last failure's.
            ModelMisconfigured: The service's models can't be called as they are configured.
        """
        ...

    async def close(self) -> None:
        """Release every provider's connections. Idempotent."""
        ...
