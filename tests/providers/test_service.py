"""Services: one answer from several models, and what is told on the way."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from duologue.config.settings import Settings
from duologue.errors import DuologueError, ModelMisconfigured, ProviderFailed
from duologue.messages import FinishReason, Role, Tier, Usage
from duologue.providers.failures import Category
from duologue.providers.port import (
    AttemptFailed,
    AttemptStarted,
    Finished,
    PromptMessage,
    TextDelta,
    TurnRequest,
)
from duologue.providers.registry import Providers
from duologue.providers.scripted import End, Fail, Hang, Report, Say, Script, ScriptedProvider, Wait
from duologue.providers.service import FailoverServices, build_services
from duologue.telemetry import Telemetry
from tests.providers.builders import text_of
from tests.providers.virtual import run

ASK = TurnRequest("standard", [PromptMessage(Role.USER, "Hi")])
NAMES = ("primary", "secondary", "backup")


class Counting(Telemetry):
    def __init__(self) -> None:
        self.failed: list[tuple[str, str, str]] = []
        self.used: list[tuple[str, int | None, int | None]] = []

    def attempt_failed(self, *, model: str, tier: str, category: str) -> None:
        self.failed.append((model, tier, category))

    def tokens_used(self, *, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        self.used.append((model, input_tokens, output_tokens))


class Scene:
    """A service of scripted models."""

    def __init__(self, *scripts: Any, policy: Any = "restart", **fields: Any) -> None:
        names = NAMES[: len(scripts)] if len(scripts) != 2 else ("primary", "backup")
        tables = {
            "models": {f"{name}-model": {"provider": "scripted", **fields.get(name, {})} for name in names},
            "services": {
                "standard": {**{name: f"{name}-model" for name in names}, "on_stream_failure": policy}
            },
            "features": {"student_dialogue": {"service": "standard"}},
        }
        self.settings = Settings.model_validate(tables)
        self.models = {
            f"{name}-model": ScriptedProvider(
                *(script if script and isinstance(script[0], list) else [script])
            )
            for name, script in zip(names, scripts, strict=True)
        }
        self.telemetry = Counting()
        self.services: FailoverServices

    async def ask(self, request: TurnRequest = ASK) -> tuple[list[Any], DuologueError | None]:
        """All events of one turn, and what it failed with."""
        providers = Providers(self.settings.models, adapters=self.models)
        self.services = build_services(self.settings, telemetry=self.telemetry, providers=providers)
        events: list[Any] = []
        try:
            async with aclosing(self.services.stream(request)) as batches:
                async for batch in batches:
                    assert batch
                    events += batch
        except DuologueError as error:
            return events, error
        finally:
            assert all(self.services.admission.running(name) == 0 for name in self.models)
            assert all(provider.open == 0 for provider in self.models.values())
            await self.services.close()
        return events, None

    def play(self, request: TurnRequest = ASK) -> tuple[list[Any], DuologueError | None, float]:
        async def main() -> tuple[list[Any], DuologueError | None, float]:
            clock = asyncio.get_running_loop().time
            started = clock()
            events, error = await self.ask(request)
            return events, error, clock() - started

        return run(main())


def attempts(events: list[Any]) -> list[tuple[int, str, str | None]]:
    return [
        (event.attempt, event.model, event.reason) for event in events if isinstance(event, AttemptStarted)
    ]


GOOD: Script = [Say("fine "), Say("answer"), Report(Usage(3, 2)), End()]


def test_a_healthy_primary_answers_alone() -> None:
    scene = Scene(GOOD, GOOD)
    events, error, _ = scene.play()
    assert error is None
    assert events[0] == AttemptStarted(1, "primary-model", Tier.PRIMARY, "standard", None)
    assert events[-1] == Finished(FinishReason.STOP)
    assert text_of(events) == "fine answer"
    assert scene.models["backup-model"].calls == 0
    assert scene.telemetry.used == [("primary-model", 3, 2)]
    assert scene.telemetry.failed == []


@pytest.mark.parametrize(
    "category", [c for c in Category if c not in (Category.CONTENT_FILTER, Category.MODEL_MISCONFIGURED)]
)
def test_a_failure_before_content_is_answered_by_the_backup_in_the_same_turn(category: Category) -> None:
    scene = Scene([Fail(category)], GOOD)
    events, error, took = scene.play()
    assert error is None
    assert events[:3] == [
        AttemptStarted(1, "primary-model", Tier.PRIMARY, "standard", None),
        AttemptFailed(1, "primary-model", category, False),
        AttemptStarted(2, "backup-model", Tier.BACKUP, "standard", category),
    ]
    assert text_of(events) == "fine answer"
    assert took == 0
    assert scene.telemetry.failed == [("primary-model", "primary", category)]


def test_a_failure_after_content_restarts_on_the_backup() -> None:
    events, error, _ = Scene([Say("half an "), Fail(Category.TRUNCATED)], GOOD).play()
    assert error is None
    kinds = [type(event).__name__ for event in events]
    assert kinds[:5] == ["AttemptStarted", "TextDelta", "TextDelta", "AttemptFailed", "AttemptStarted"]
    assert events[3] == AttemptFailed(1, "primary-model", "truncated", True)
    assert events[4].reason == "truncated"
    assert text_of(events[5:]) == "fine answer"


def test_terminate_fails_the_turn_after_content_and_not_before() -> None:
    events, error, _ = Scene([Say("half"), Fail(Category.TRUNCATED)], GOOD, policy="terminate").play()
    assert isinstance(error, ProviderFailed)
    assert error.category == "truncated"
    assert isinstance(events[-1], AttemptFailed)
    events, error, _ = Scene([Fail(Category.CONNECT)], GOOD, policy="terminate").play()
    assert error is None


def test_all_three_tiers_are_walked_in_order() -> None:
    scene = Scene([Fail(Category.CONNECT)], [Say("x"), Fail(Category.MALFORMED)], GOOD)
    events, error, _ = scene.play()
    assert error is None
    assert attempts(events) == [
        (1, "primary-model", None),
        (2, "secondary-model", "connect"),
        (3, "backup-model", "malformed"),
    ]


def test_when_all_fail_the_turn_fails_with_the_last_category() -> None:
    scene = Scene([Fail(Category.CONNECT)], [Say("x"), Fail(Category.OVERLOADED)])
    events, error, _ = scene.play()
    assert isinstance(error, ProviderFailed)
    assert (error.code, error.category, error.retryable) == ("provider_failed", "overloaded", True)
    assert isinstance(events[-1], AttemptFailed)
    assert [failed[2] for failed in scene.telemetry.failed] == ["connect", "overloaded"]


@pytest.mark.parametrize("category", [Category.CONTEXT_LENGTH, Category.BAD_REQUEST, Category.CONTENT_FILTER])
def test_what_is_the_prompts_fault_is_not_worth_asking_again(category: Category) -> None:
    _, error, _ = Scene([Fail(category)]).play()
    assert isinstance(error, ProviderFailed)
    assert (error.category, error.retryable) == (category, False)


def test_a_content_filter_is_not_routed_around() -> None:
    scene = Scene([Fail(Category.CONTENT_FILTER)], GOOD)
    _, error, _ = scene.play()
    assert isinstance(error, ProviderFailed)
    assert scene.models["backup-model"].calls == 0


def test_an_empty_answer_is_a_failure_once() -> None:
    events, error, _ = Scene([Report(Usage(5, 0)), End()], GOOD).play()
    assert error is None
    assert attempts(events)[1] == (2, "backup-model", "empty")
    assert len(attempts(events)) == 2


def test_a_one_off_500_is_answered_by_the_primary_after_all() -> None:
    scene = Scene([[Fail(Category.SERVER_ERROR, 500)], GOOD], GOOD)
    events, error, took = scene.play()
    assert error is None
    assert attempts(events) == [(1, "primary-model", None), (2, "primary-model", "server_error")]
    assert 0 < took < 1
    assert scene.models["backup-model"].calls == 0


def test_a_lasting_500_goes_to_the_backup() -> None:
    events, error, _ = Scene([Fail(Category.SERVER_ERROR, 500)], GOOD).play()
    assert error is None
    assert [name for _, name, _ in attempts(events)] == ["primary-model", "primary-model", "backup-model"]


def test_a_short_rate_limit_is_waited_for_exactly_as_long_as_it_says() -> None:
    scene = Scene([[Fail(Category.RATE_LIMITED, 429, 1.5)], GOOD], GOOD)
    events, error, took = scene.play()
    assert error is None
    assert took == pytest.approx(1.5)
    assert attempts(events)[-1] == (2, "primary-model", "rate_limited")


def test_the_backup_starts_at_the_limit_that_condemned_the_primary() -> None:
    async def main() -> None:
        scene = Scene([Hang()], GOOD)
        clock = asyncio.get_running_loop().time
        started = clock()
        events, error = await scene.ask()
        assert error is None
        assert clock() - started == pytest.approx(20.0)
        assert attempts(events)[1] == (2, "backup-model", "timeout_first_token")

    run(main())


def test_a_stall_after_content_is_rescued() -> None:
    events, error, took = Scene([Say("half"), Hang()], GOOD).play()
    assert error is None
    assert took == pytest.approx(15.0)
    assert attempts(events)[1] == (2, "backup-model", "timeout_idle")


def test_attempts_go_on_counting_after_a_restart_and_tell_why() -> None:
    request = TurnRequest("standard", ASK.messages, first_attempt=4, reason="interrupted")
    events, error, _ = Scene([Fail(Category.CONNECT)], GOOD).play(request)
    assert error is None
    assert attempts(events) == [(4, "primary-model", "interrupted"), (5, "backup-model", "connect")]


def test_a_prompt_that_does_not_fit_goes_past_models_that_hold_no_more() -> None:
    fields = {
        "primary": {"context_length": 100},
        "secondary": {"context_length": 100},
        "backup": {"context_length": 900},
    }
    events, error, _ = Scene([Fail(Category.CONTEXT_LENGTH)], GOOD, GOOD, **fields).play()
    assert error is None
    assert attempts(events) == [(1, "primary-model", None), (2, "backup-model", "context_length")]


def test_usage_of_a_failed_attempt_is_told_to_telemetry_too() -> None:
    scene = Scene([Say("x"), Report(Usage(9, 1)), Fail(Category.TRUNCATED)], GOOD)
    scene.play()
    assert scene.telemetry.used == [("primary-model", 9, 1), ("backup-model", 3, 2)]


def test_a_model_at_its_cap_is_passed_over_without_a_call() -> None:
    async def main() -> None:
        scene = Scene([Say("a"), Wait(5.0), Say("b"), End()], GOOD, primary={"max_concurrent": 1})
        providers = Providers(scene.settings.models, adapters=scene.models)
        services = build_services(scene.settings, telemetry=scene.telemetry, providers=providers)
        async with aclosing(services.stream(ASK)) as first:
            await anext(first)
            await anext(first)
            events = [event async for batch in services.stream(ASK) for event in batch]
            assert attempts(events) == [(1, "backup-model", "over_capacity")]
            assert scene.telemetry.failed == []
        assert services.admission.running("primary-model") == 0
        events = [event async for batch in services.stream(ASK) for event in batch]
        assert attempts(events) == [(1, "primary-model", None)]
        await services.close()

    run(main())


def test_when_all_are_at_their_cap_the_error_says_so() -> None:
    async def main() -> None:
        scene = Scene([Hang()], primary={"max_concurrent": 1})
        providers = Providers(scene.settings.models, adapters=scene.models)
        services = build_services(scene.settings, providers=providers)
        first = services.stream(ASK)
        await anext(first)
        with pytest.raises(ProviderFailed) as caught:
            await anext(services.stream(ASK))
        assert (caught.value.category, caught.value.retryable) == ("over_capacity", True)
        await first.aclose()
        assert services.admission.running("primary-model") == 0
        await services.close()

    run(main())


@pytest.mark.parametrize("moment", [0.0, 2.0, 19.0])
def test_a_cancelled_turn_gives_its_slot_back(moment: float) -> None:
    async def main() -> None:
        scene = Scene([Wait(1.0), Say("a b c", 10.0), Hang()], primary={"max_concurrent": 1})
        task = asyncio.create_task(scene.ask())
        await asyncio.sleep(moment)
        assert scene.services.admission.running("primary-model") == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def tables(primary: Mapping[str, Any], backup: Mapping[str, Any] | None = None) -> Settings:
    models = {"first": dict(primary)} | ({} if backup is None else {"second": dict(backup)})
    service = {"primary": "first"} | ({} if backup is None else {"backup": "second"})
    features = {"student_dialogue": {"service": "standard"}}
    return Settings.model_validate(
        {"models": models, "services": {"standard": service}, "features": features}
    )


UNKEYED = {
    "provider": "openai_compatible",
    "model": "m",
    "url": "http://127.0.0.1:9",
    "api_key_env": "NO_SUCH_KEY",
}


async def test_a_missing_key_is_a_failed_attempt_and_the_backup_answers() -> None:
    settings = tables(UNKEYED, {"provider": "scripted"})
    services = build_services(settings, providers=Providers(settings.models, environ={}))
    events = [event async for batch in services.stream(ASK) for event in batch]
    assert attempts(events)[1] == (2, "second", "model_misconfigured")
    assert isinstance(events[-1], Finished)
    await services.close()


async def test_without_a_backup_a_missing_key_is_named() -> None:
    settings = tables(UNKEYED)
    services = build_services(settings, providers=Providers(settings.models, environ={}))
    with pytest.raises(ModelMisconfigured, match="NO_SUCH_KEY"):
        [batch async for batch in services.stream(ASK)]
    await services.close()


async def test_a_service_that_is_not_configured_is_named() -> None:
    services = build_services(Settings())
    with pytest.raises(ModelMisconfigured, match="nowhere"):
        [batch async for batch in services.stream(TurnRequest("nowhere", []))]
    await services.close()


async def test_a_scripted_model_of_the_configuration_plays_without_any_python() -> None:
    services = build_services(
        tables({"provider": "scripted", "parameters": {"text": "One two", "fault": "die", "at": 1}})
    )
    events: list[Any] = []
    with pytest.raises(ProviderFailed):
        async for batch in services.stream(ASK):
            events += batch
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("One ")]
    await services.close()
