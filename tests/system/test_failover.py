"""Two models over real sockets: break the primary at every point, and read what a client reads."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from duologue.assembly import Runtime, open_runtime
from duologue.config.loading import load_settings
from duologue.dialogue.events import Event, TurnCompleted, TurnDelta, TurnFailed, TurnRestarted, TurnStarted
from tests.dialogue.world import names, whole_turn
from tests.system.fake_upstream import FakeUpstream, Fault, Play

TOKENS = [f"{number} " for number in range(12)]
LIMITS = {"connect": 1.0, "first_token": 0.4, "idle": 0.3, "total": 5.0}

BEFORE = [
    Fault.RESET,
    Fault.UNAUTHORIZED,
    Fault.FORBIDDEN,
    Fault.QUOTA,
    Fault.CONTEXT_LENGTH,
    Fault.SERVER_ERROR,
    Fault.OVERLOADED,
    Fault.REDIRECT,
    Fault.HANG,
    Fault.HTML,
    Fault.EMPTY,
    Fault.DONE_ONLY,
    Fault.NO_HTTP,
]
AFTER = [
    Fault.DIE,
    Fault.EOF,
    Fault.CUT,
    Fault.STALL,
    Fault.PINGS,
    Fault.GARBAGE,
    Fault.ERROR_FRAME,
    Fault.HUGE_LINE,
]


def settings_for(url: str, *, backup_url: str | None = None):  # type: ignore[no-untyped-def]
    def model(name: str, base: str) -> dict[str, object]:
        return {"provider": "openai_compatible", "model": name, "url": base, "timeouts": LIMITS}

    return load_settings(
        environ={},
        overrides={
            "store": {"url": "memory://"},
            "models": {"fast": model("fast", url), "steady": model("steady", backup_url or url)},
            "services": {"standard": {"primary": "fast", "backup": "steady"}},
            "features": {"student_dialogue": {"service": "standard"}},
        },
    )


@asynccontextmanager
async def pair(primary: Play, backup: Play) -> AsyncIterator[tuple[Runtime, FakeUpstream]]:
    async with FakeUpstream() as upstream:
        upstream.play(primary, model="fast")
        upstream.play(backup, model="steady")
        async with open_runtime(settings_for(upstream.url)) as runtime:
            yield runtime, upstream
        await upstream.wait_until(lambda: upstream.open_connections == 0)


async def ask(runtime: Runtime) -> tuple[list[Event], str]:
    """A turn's events and the text that stands at its end, checked for holes on the way."""
    dialogue = await runtime.open("d", feature="student_dialogue")
    events, text, seq = await whole_turn(dialogue.ask("?")), "", 0
    for event in events:
        assert event.first_seq == seq + 1
        seq = event.seq
        if isinstance(event, TurnRestarted):
            text = ""
        elif isinstance(event, TurnDelta):
            assert event.offset == len(text)
            text += event.text
    return events, text


@pytest.mark.parametrize("fault", BEFORE)
async def test_whatever_breaks_before_the_first_content_the_backup_answers_unseen(fault: Fault) -> None:
    async with pair(Play(tokens=TOKENS, fault=fault), Play(tokens=TOKENS)) as (runtime, _):
        events, text = await ask(runtime)
        assert names(events) == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        started = next(event for event in events if isinstance(event, TurnStarted))
        assert (started.tier, started.model) == ("backup", "steady")
        assert text == "".join(TOKENS)


@pytest.mark.parametrize("at", [1, 2, 11])
@pytest.mark.parametrize("fault", AFTER)
async def test_whatever_breaks_after_content_the_text_is_withdrawn_and_told_anew(
    fault: Fault, at: int
) -> None:
    async with pair(Play(tokens=TOKENS, interval=0.005, fault=fault, at=at), Play(tokens=TOKENS)) as (
        runtime,
        _,
    ):
        events, text = await ask(runtime)
        assert sum(isinstance(event, TurnRestarted) for event in events) == 1
        completed = events[-1]
        assert isinstance(completed, TurnCompleted)
        assert completed.message.content == text == "".join(TOKENS)
        stored = await runtime.dialogue("d").history()
        assert [message.content for message in stored] == ["?", text]


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.HANG, Fault.DIE, Fault.STALL])
async def test_both_broken_one_failure_and_the_question_kept(fault: Fault) -> None:
    broken = Play(tokens=TOKENS, fault=fault, at=2)
    async with pair(broken, broken) as (runtime, _):
        events, text = await ask(runtime)
        assert [event.name for event in events].count("turn.failed") == 1
        failed = events[-1]
        assert isinstance(failed, TurnFailed)
        assert failed.error.code == "provider_failed"
        assert failed.partial == text
        assert (await runtime.dialogue("d").history())[0].content == "?"


async def test_a_primary_that_does_not_listen_costs_one_attempt() -> None:
    async with FakeUpstream() as upstream, FakeUpstream() as gone:
        upstream.play(Play(tokens=TOKENS))
        url = gone.url
        gone.refuse()
        async with open_runtime(settings_for(url, backup_url=upstream.url)) as runtime:
            events, text = await ask(runtime)
            assert names(events)[-1] == "turn.completed"
            assert text == "".join(TOKENS)


async def test_a_finished_answer_without_done_is_complete() -> None:
    async with pair(Play(tokens=TOKENS, fault=Fault.NO_DONE), Play(tokens=TOKENS)) as (runtime, _):
        events, _ = await ask(runtime)
        started = next(event for event in events if isinstance(event, TurnStarted))
        assert started.tier == "primary"


async def test_cancel_closes_the_model_s_connection() -> None:
    async with pair(Play(tokens=TOKENS, fault=Fault.STALL, at=3), Play()) as (runtime, upstream):
        dialogue = await runtime.open("d", feature="student_dialogue")
        async for event in dialogue.ask("?"):
            if isinstance(event, TurnDelta):
                break
        assert await dialogue.cancel()
        await upstream.wait_until(lambda: upstream.open_connections == 0, 1.0)


async def test_the_key_is_read_when_it_is_needed_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with FakeUpstream() as upstream:
        upstream.play(Play(tokens=TOKENS, fault=Fault.UNAUTHORIZED))
        settings = load_settings(
            environ={"OPENAI_API_KEY": "unused", "OPENAI_MODEL": "m"},
            overrides={
                "store": {"url": "memory://"},
                "models": {
                    "openai": {
                        "provider": "openai_compatible",
                        "model": "m",
                        "url": upstream.url,
                        "api_key_env": "CANARY_KEY",
                    }
                },
                "services": {"s": {"primary": "openai"}},
                "features": {"student_dialogue": {"service": "s"}},
            },
        )
        async with open_runtime(settings) as runtime:
            monkeypatch.setitem(os.environ, "CANARY_KEY", "sk-canary-123456")
            dialogue = await runtime.open("d", feature="student_dialogue")
            events = await whole_turn(dialogue.ask("canary question"))
            failed = events[-1]
            assert isinstance(failed, TurnFailed)
            shown = caplog.text + repr(settings) + repr(failed.to_wire()) + repr(runtime.system.statistics())
            assert "canary" not in shown
