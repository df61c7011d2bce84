"""The port to language models. Adapters are imported from their own modules: the port loads no client."""

from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.port import (
    AttemptFailed,
    AttemptStarted,
    CompletionRequest,
    CompletionService,
    Finished,
    PromptMessage,
    Provider,
    ProviderEvent,
    ServiceEvent,
    TextDelta,
    TurnRequest,
    UsageReported,
)

__all__ = [
    # one model
    "Provider",
    "CompletionRequest",
    "PromptMessage",
    "ProviderEvent",
    "TextDelta",
    "UsageReported",
    "Finished",
    # a service
    "CompletionService",
    "TurnRequest",
    "ServiceEvent",
    "AttemptStarted",
    "AttemptFailed",
    # what goes wrong
    "Category",
    "ProviderFailure",
]
