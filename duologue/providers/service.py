"""Services: several models, one answer. The shell round the failover plan, admission and the adapters."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from duologue.config.models import RegisteredModel
from duologue.config.settings import Settings
from duologue.errors import DuologueError, ModelMisconfigured, ProviderFailed
from duologue.messages import Tier, Usage
from duologue.providers.admission import Admission
from duologue.providers.attempt import run_attempt
from duologue.providers.failover import Candidate, OnStreamFailure, Tried, next_call
from duologue.providers.failures import REFUSALS, AnswerRefused, Category, ProviderFailure
from duologue.providers.port import (
    AttemptFailed,
    AttemptStarted,
    CompletionRequest,
    Finished,
    ServiceEvent,
    TextDelta,
    TurnRequest,
    UsageReported,
)
from duologue.providers.registry import Providers
from duologue.telemetry import Telemetry

__all__ = ["FailoverServices", "build_services"]


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    candidates: Sequence[Candidate]
    policy: OnStreamFailure


class FailoverServices:
    """The `CompletionService` of a configuration.

    Args:
        settings: Its models and services.
        providers: The adapters; owned: `close` closes them.
        telemetry: Told of failed attempts and of usage.
    """

    def __init__(self, settings: Settings, providers: Providers, telemetry: Telemetry) -> None:
        self._models: Mapping[str, RegisteredModel] = settings.models
        self._services = {
            name: _Service(
                name,
                [
                    Candidate(Tier(tier), model, settings.models[model].context_length)
                    for tier, model in service.tiers()
                ],
                OnStreamFailure(service.on_stream_failure),
            )
            for name, service in settings.services.items()
        }
        self._providers = providers
        self._telemetry = telemetry
        self.admission = Admission({name: model.max_concurrent for name, model in settings.models.items()})

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Sequence[ServiceEvent], None]:
        service = self._services.get(request.service)
        if service is None:
            raise ModelMisconfigured(f"There is no service named {request.service!r}.")
        tried: list[Tried] = []
        attempt = request.first_attempt
        while (call := next_call(service.candidates, tried, service.policy)) is not None:
            if call.after:
                await asyncio.sleep(call.after)
            candidate = service.candidates[call.position]
            slot = self.admission.try_admit(candidate.model)
            if slot is None:
                tried.append(Tried(call.position, _over_capacity(candidate)))
                continue
            reason = request.reason if call.reason is None else call.reason.value
            with slot:
                yield (AttemptStarted(attempt, candidate.model, candidate.tier, service.name, reason),)
                try:
                    async with aclosing(self._attempt(candidate, request)) as batches:
                        async for batch in batches:
                            yield batch
                            if type(batch[-1]) is Finished:
                                return
                except ProviderFailure as error:
                    failure = error
            self._telemetry.attempt_failed(
                model=candidate.model, tier=candidate.tier.value, category=failure.category.value
            )
            tried.append(Tried(call.position, failure))
            yield (AttemptFailed(attempt, candidate.model, failure.category.value, failure.had_content),)
            attempt += 1
        raise _turn_failure(service.name, [entry.failure for entry in tried])

    async def close(self) -> None:
        await self._providers.close()

    async def _attempt(
        self, candidate: Candidate, request: TurnRequest
    ) -> AsyncGenerator[Sequence[ServiceEvent], None]:
        """One attempt's batches; its usage is told to telemetry however it ends."""
        model = self._models[candidate.model]
        provider = self._providers.provider(candidate.model)
        completion = CompletionRequest(request.messages, model.parameters)
        usage = None
        try:
            async with aclosing(run_attempt(provider, completion, model.timeouts)) as batches:
                async for batch in batches:
                    if type(batch[-1]) is not TextDelta:
                        usage = _usage_in(batch) or usage
                    yield batch
        finally:
            if usage is not None:
                self._telemetry.tokens_used(
                    model=candidate.model,
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                )


def build_services(
    settings: Settings, *, telemetry: Telemetry | None = None, providers: Providers | None = None
) -> FailoverServices:
    """The services of a configuration. Nothing is connected, and no key is read, before a call needs it.

    Args:
        settings: Models and services.
        telemetry: `None`: nobody is told.
        providers: Adapters to use; `None`: those of the settings' models. Closed with the services.
    """
    return FailoverServices(settings, providers or Providers(settings.models), telemetry or Telemetry())


def _usage_in(batch: Sequence[ServiceEvent]) -> Usage | None:
    return next((event.usage for event in reversed(batch) if type(event) is UsageReported), None)


def _over_capacity(candidate: Candidate) -> ProviderFailure:
    return ProviderFailure(
        Category.OVER_CAPACITY, f"model {candidate.model!r} is at its cap of concurrent calls"
    )


def _turn_failure(service: str, failures: Sequence[ProviderFailure]) -> DuologueError:
    """What the turn ends with, when nothing is left to try."""
    last = failures[-1]
    if all(failure.category is Category.MODEL_MISCONFIGURED for failure in failures):
        return ModelMisconfigured(f"No model of service {service!r} can be called: {last}.")
    kind = AnswerRefused if last.category in REFUSALS else ProviderFailed
    return kind(
        f"No model of service {service!r} gave a complete answer: {last}.", category=last.category.value
    )
