"""What viewers see, and what stays, when models fail within a turn."""

import asyncio

import pytest

from duologue.dialogue.events import TurnCompleted, TurnDelta, TurnFailed, TurnRestarted, TurnStarted
from duologue.messages import FinishReason, MessageStatus
from duologue.providers.failures import Category
from duologue.providers.scripted import End, Fail, Hang, Say, ScriptedProvider, WaitFor
from tests.dialogue.world import names, next_of, says, whole_turn, world

REFUSES = [Fail(Category.UNAUTHORIZED)]


def dies_after(text: str) -> ScriptedProvider:
    return ScriptedProvider([Say(text), Fail(Category.TRUNCATED)])


async def test_a_failure_before_the_first_content_is_not_seen_but_in_the_tier() -> None:
    async with world(ScriptedProvider(REFUSES), ScriptedProvider(says("Backup."))) as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        assert names(events) == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        started, completed = events[1], events[-1]
        assert isinstance(started, TurnStarted)
        assert isinstance(completed, TurnCompleted)
        assert (started.attempt, started.model, started.tier) == (2, "m2", "backup")
        assert (completed.attempt, completed.model, completed.message.model) == (2, "m2", "m2")


async def test_a_failure_after_content_withdraws_it_and_the_backup_answers_from_the_start() -> None:
    async with world(dies_after("Half an ans"), ScriptedProvider(says("Whole answer."))) as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        assert names(events) == [
            "message.accepted",
            "turn.started",
            "turn.delta",
            "turn.restarted",
            "turn.delta",
            "turn.completed",
        ]
        restarted = next(e for e in events if isinstance(e, TurnRestarted))
        assert (restarted.attempt, restarted.model, restarted.tier) == (2, "m2", "backup")
        assert restarted.reason == Category.TRUNCATED
        after = [e for e in events if isinstance(e, TurnDelta) and e.seq > restarted.seq]
        assert after[0].offset == 0
        assert {e.attempt for e in after} == {2}
        assert [m.content for m in await d.history()] == ["?", "Whole answer."]


@pytest.mark.parametrize("tokens", range(1, 7))
async def test_wherever_the_primary_dies_the_text_that_stands_is_what_is_stored(tokens: int) -> None:
    said = "".join(f"{index} " for index in range(tokens))
    async with world(dies_after(said), ScriptedProvider(says("a b c d"))) as w:
        d = await w.open()
        text = ""
        for event in await whole_turn(d.ask("?")):
            if isinstance(event, TurnRestarted):
                assert text == said
                text = ""
            elif isinstance(event, TurnDelta):
                assert event.offset == len(text)
                text += event.text
        assert text == "a b c d" == (await d.history())[-1].content


async def test_three_tiers_are_walked_in_order() -> None:
    async with world(ScriptedProvider(REFUSES), dies_after("Second "), ScriptedProvider(says("Third."))) as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        started = next(e for e in events if isinstance(e, TurnStarted))
        restarted = next(e for e in events if isinstance(e, TurnRestarted))
        assert (started.attempt, started.tier) == (2, "secondary")
        assert (restarted.attempt, restarted.tier) == (3, "backup")


async def test_both_fail_before_content_one_failure_and_the_question_is_kept() -> None:
    async with world(ScriptedProvider(REFUSES), ScriptedProvider(REFUSES)) as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        assert names(events) == ["message.accepted", "turn.failed"]
        failed = events[-1]
        assert isinstance(failed, TurnFailed)
        assert (failed.error.code, failed.error.category, failed.partial) == (
            "provider_failed",
            Category.UNAUTHORIZED,
            "",
        )
        assert [m.content for m in await d.history()] == ["?"]


async def test_both_fail_after_content_the_text_that_stands_is_kept_as_partial() -> None:
    async with world(dies_after("First "), dies_after("Second half ")) as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        assert [e.name for e in events if isinstance(e, TurnFailed)] == ["turn.failed"]
        failed = events[-1]
        assert isinstance(failed, TurnFailed)
        assert failed.partial == "Second half "
        _, answer = await d.history()
        assert (answer.content, answer.status) == ("Second half ", MessageStatus.PARTIAL)


async def test_text_stands_until_another_attempt_speaks() -> None:
    go_on = asyncio.Event()
    backup = ScriptedProvider([WaitFor(go_on), *REFUSES])
    async with world(dies_after("Precious "), backup) as w:
        d = await w.open()
        stream = d.ask("?")
        await next_of(stream, TurnDelta)
        while backup.open == 0:
            await asyncio.sleep(0)
        live = (await d.snapshot()).turn
        assert live is not None
        assert live.text == "Precious "
        go_on.set()
        assert (await next_of(stream, TurnFailed)).partial == "Precious "


async def test_a_dialogue_goes_on_after_a_failed_turn() -> None:
    async with world(ScriptedProvider(REFUSES, says("Well again."))) as w:
        d = await w.open()
        assert names(await whole_turn(d.ask("1?")))[-1] == "turn.failed"
        assert names(await whole_turn(d.ask("2?")))[-1] == "turn.completed"
        assert [m.content for m in await d.history()] == ["1?", "2?", "Well again."]


async def test_terminate_keeps_the_part_and_asks_nobody_else() -> None:
    backup = ScriptedProvider(says("Never."))
    async with world(dies_after("Half "), backup, on_failure="terminate") as w:
        d = await w.open()
        failed = (await whole_turn(d.ask("?")))[-1]
        assert isinstance(failed, TurnFailed)
        assert failed.partial == "Half "
        assert backup.calls == 0


async def test_cancel_while_the_backup_is_asked_ends_the_turn() -> None:
    backup = ScriptedProvider([Hang()])
    async with world(dies_after("Half "), backup) as w:
        d = await w.open()
        stream = d.ask("?")
        await next_of(stream, TurnDelta)
        while backup.open == 0:
            await asyncio.sleep(0)
        assert await d.cancel()
        assert names(await whole_turn(stream)) == ["turn.cancelled"]


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
async def test_an_answer_that_ended_for_another_reason_says_so(reason: FinishReason) -> None:
    async with world(ScriptedProvider([Say("Cut"), End(reason)])) as w:
        d = await w.open()
        completed = (await whole_turn(d.ask("?")))[-1]
        assert isinstance(completed, TurnCompleted)
        assert completed.finish_reason is reason
