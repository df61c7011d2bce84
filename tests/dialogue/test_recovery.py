"""Crashes, restarts and an ill store: what was acknowledged stays, and viewers stay attached."""

import asyncio

import pytest

from duologue.dialogue.events import (
    DialogueClosed,
    DialogueSnapshot,
    TurnCompleted,
    TurnDelta,
    TurnFailed,
    TurnInterrupted,
    TurnRestarted,
)
from duologue.errors import Quarantined, StoreUnavailable
from duologue.messages import DialogueStatus, MessageStatus
from duologue.providers.scripted import End, Hang, Say, ScriptedProvider, WaitFor
from duologue.store.memory import MemoryState
from duologue.supervisor import RestartPolicy
from tests.dialogue.world import limits, names, next_of, says, until, whole_turn, world


def interrupted_once(text: str, answer: str) -> ScriptedProvider:
    return ScriptedProvider([Say(text), Hang()], says(answer))


# ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_crash_mid_turn_is_recovered_unasked_under_the_viewers() -> None:
    async with world(interrupted_once("Half ", "Whole.")) as w:
        d = await w.open()
        watching = d.events()
        asked = await d.send("?")
        delta = await next_of(watching, TurnDelta)
        await w.crash(d)
        snapshot = await next_of(watching, DialogueSnapshot)
        assert snapshot.epoch != delta.epoch
        assert snapshot.seq == 0
        assert snapshot.snapshot.status is DialogueStatus.GENERATING
        events = await whole_turn(watching)
        assert names(events) == ["turn.interrupted", "turn.restarted", "turn.delta", "turn.completed"]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        restarted = events[1]
        assert isinstance(restarted, TurnRestarted)
        assert (restarted.turn, restarted.reason) == (asked.turn_id, "interrupted")
        assert restarted.attempt >= 2
        assert [m.content for m in await d.history()] == ["?", "Whole."]


async def test_a_checkpointed_answer_is_shown_as_it_was_when_the_actor_crashed() -> None:
    async with world(interrupted_once("Half ", "Whole."), limits=limits(checkpoint_interval=0.001)) as w:
        d = await w.open()
        watching = d.events()
        await d.send("?")
        await next_of(watching, TurnDelta)
        await until(lambda: len(w.store.state.dialogues[d.id].log) == 2, "a checkpoint")
        await w.crash(d)
        snapshot = (await next_of(watching, DialogueSnapshot)).snapshot
        assert snapshot.turn is not None
        assert snapshot.turn.text == "Half "
        assert (await next_of(watching, TurnInterrupted)).partial == "Half "


async def test_the_ask_iterator_survives_a_crash_of_the_actor() -> None:
    async with world(interrupted_once("Half ", "Whole.")) as w:
        d = await w.open()
        seen = []
        async for event in d.ask("?"):
            seen.append(event)
            if isinstance(event, TurnDelta) and event.text == "Half ":
                await w.crash(d)
        assert isinstance(seen[-1], TurnCompleted)
        assert seen[-1].message.content == "Whole."


async def test_a_crash_of_many_dialogues_is_not_felt_by_another() -> None:
    go_on = asyncio.Event()
    calm = [Say("One "), WaitFor(go_on), Say("two"), End()]
    async with world(ScriptedProvider(calm, [Say("x "), Hang()])) as w:
        steady = await w.open("steady")
        stream = steady.ask("?")
        await next_of(stream, TurnDelta)
        others = [await w.open(f"d{index}") for index in range(30)]
        for other in others:
            await other.send("?")
        for _ in range(3):
            for other in others:
                await w.crash(other)
            await until(lambda: not any(w.asleep(other) for other in others), "all are back")
        go_on.set()
        rest = await whole_turn(stream)
        assert names(rest) == ["turn.delta", "turn.completed"]
        assert not any(isinstance(event, DialogueSnapshot) for event in rest)


async def test_a_dialogue_that_crashes_too_often_is_held_back_and_its_viewers_are_told() -> None:
    async with world(ScriptedProvider([Hang()]), policy=RestartPolicy(intensity=2)) as w:
        d, other = await w.open(), await w.open("other")
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        for _ in range(3):
            await until(lambda: not w.asleep(d), "it is back")
            await w.crash(d)
        assert (await next_of(watching, DialogueClosed)).reason == "quarantined"
        with pytest.raises(Quarantined):
            await d.send("?")
        await other.send("?")


async def test_quarantine_ends_after_its_time() -> None:
    async with world(policy=RestartPolicy(intensity=0, quarantine=0.02)) as w:
        d = await w.open()
        await w.crash(d)
        await until(lambda: d.id in w.runtime._directory._quarantined, "held back")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await until(lambda: loop.time() - begun > 0.03, "the quarantine's time")
        assert names(await whole_turn(d.ask("?")))[-1] == "turn.completed"


async def test_a_crash_while_idle_keeps_the_epoch_and_bothers_nobody() -> None:
    async with world() as w:
        d = await w.open()
        watching = d.events()
        await d.send("?")
        last = (await whole_turn(watching))[-1]
        await w.crash(d)
        await until(lambda: not w.asleep(d), "it is back")
        await d.send("again?")
        events = await whole_turn(watching)
        assert (events[0].name, events[0].epoch, events[0].seq) == (
            "message.accepted",
            last.epoch,
            last.seq + 1,
        )


# ── restarts of the whole runtime ───────────────────────────────────────────────────────────────────────────


async def test_a_new_runtime_finds_history_and_position_as_they_were() -> None:
    state = MemoryState()
    async with world(ScriptedProvider(says("One.")), state=state) as w:
        d = await w.open()
        last = (await whole_turn(d.ask("1?")))[-1]
    async with world(ScriptedProvider(says("Two.")), state=state) as w:
        d = w.runtime.dialogue("d1")
        snapshot = await d.snapshot()
        assert (snapshot.epoch, snapshot.seq) == (last.epoch, last.seq)
        await whole_turn(d.ask("2?"))
        assert [m.content for m in await d.history()] == ["1?", "One.", "2?", "Two."]


async def test_a_new_runtime_recovers_open_turns_before_anybody_asks() -> None:
    state = MemoryState()
    async with world(ScriptedProvider([Say("Half "), Hang()]), state=state) as w:
        for index in range(5):
            d = await w.open(f"d{index}")
            await d.send("?")
    assert [len(stored.log) for stored in state.dialogues.values()].count(1) <= 5
    async with world(ScriptedProvider(says("Whole.")), state=state) as w:
        await until(lambda: w.models["m1"].calls == 5, "five turns are asked again")
        await until(lambda: not w.runtime._directory.environment.open_turns, "all ended")
        for index in range(5):
            assert [m.content for m in await w.runtime.dialogue(f"d{index}").history()] == ["?", "Whole."]
        assert await w.store.open_turns() == []


async def test_keep_closes_an_interrupted_turn_with_the_part_that_was_kept() -> None:
    state = MemoryState()
    async with world(
        ScriptedProvider([Say("Half "), Hang()]), state=state, limits=limits(checkpoint_interval=0.001)
    ) as w:
        d = await w.open()
        await d.send("?")
        await until(lambda: len(state.dialogues[d.id].log) == 2, "a checkpoint")
    async with world(ScriptedProvider(says("Never.")), state=state, on_interrupted="keep") as w:
        d = w.runtime.dialogue("d1")
        running = w.runtime._directory.environment.open_turns
        await until(lambda: len(state.dialogues[d.id].log) == 3 and not running, "the turn is closed")
        question, answer = await d.history()
        assert (question.content, answer.content, answer.status) == ("?", "Half ", MessageStatus.PARTIAL)
        assert w.models["m1"].calls == 0


async def test_queued_messages_survive_a_restart_and_are_answered() -> None:
    state = MemoryState()
    async with world(ScriptedProvider([Hang()]), state=state, on_busy="queue") as w:
        d = await w.open()
        await d.send("1?")
        await d.send("2?")
        await d.cancel()
        await d.send("3?")
    async with world(ScriptedProvider(says("A.")), state=state, on_busy="queue") as w:
        d = w.runtime.dialogue("d1")
        await until(lambda: w.models["m1"].calls == 2, "both are asked")
        await until(lambda: not w.runtime._directory.environment.open_turns, "all ended")
        assert [m.content for m in await d.history()] == ["1?", "2?", "3?", "A.", "A."]
        assert await w.store.open_turns() == []


async def test_a_client_message_id_is_known_after_a_restart() -> None:
    state = MemoryState()
    async with world(state=state) as w:
        d = await w.open()
        first = await d.send("?", client_message_id="c1")
        await until(lambda: not w.runtime._directory.environment.open_turns, "the turn ended")
    async with world(state=state) as w:
        again = await w.runtime.dialogue("d1").send("?", client_message_id="c1")
        assert again == first
        assert w.models["m1"].calls == 0


# ── an ill store ────────────────────────────────────────────────────────────────────────────────────────────


async def test_with_the_store_down_a_message_is_refused_as_retryable_and_not_kept() -> None:
    async with world() as w:
        d = await w.open()
        w.store.outage = "down"
        with pytest.raises(StoreUnavailable) as caught:
            await d.send("?", client_message_id="c1")
        assert caught.value.retryable
        w.store.outage = None
        assert await d.history() == []
        await d.send("?", client_message_id="c1")


async def test_with_the_store_down_a_running_answer_goes_on_and_is_kept_when_it_is_back() -> None:
    go_on = asyncio.Event()
    async with world(
        ScriptedProvider([Say("One "), WaitFor(go_on), Say("two"), End()]), limits=limits(not_saved_after=5)
    ) as w:
        d = await w.open()
        stream = d.ask("?")
        await next_of(stream, TurnDelta)
        w.store.outage = "down"
        go_on.set()
        assert (await next_of(stream, TurnDelta)).text == "two"
        with pytest.raises(StoreUnavailable):
            await d.send("And?", on_busy="queue")
        w.store.outage = None
        assert (await next_of(stream, TurnCompleted)).message.content == "One two"
        assert [m.content for m in await d.history()] == ["?", "One two"]


async def test_when_the_store_stays_ill_the_turn_is_called_not_saved_once_and_the_answer_kept_later() -> None:
    go_on = asyncio.Event()
    async with world(
        ScriptedProvider([Say("One "), WaitFor(go_on), Say("two"), End()]),
        limits=limits(not_saved_after=0.03),
    ) as w:
        d = await w.open()
        watching = d.events()
        await d.send("?")
        await next_of(watching, TurnDelta)
        w.store.outage = "down"
        go_on.set()
        failed = (await whole_turn(watching))[-1]
        assert isinstance(failed, TurnFailed)
        assert (failed.error.code, failed.partial) == ("not_saved", "One two")
        with pytest.raises(StoreUnavailable):
            await d.send("And?")
        w.store.outage = None
        shown = (await next_of(watching, DialogueSnapshot)).snapshot
        assert [m.content for m in shown.messages] == ["?", "One two"]
        await d.send("And?")
        events = await whole_turn(watching)
        assert events[0].name == "message.accepted"
        assert events[0].seq == failed.seq + 1


async def test_a_dialogue_that_can_t_be_loaded_says_so_and_is_loaded_when_the_store_is_back() -> None:
    state = MemoryState()
    async with world(state=state) as w:
        await whole_turn((await w.open()).ask("?"))
    async with world(state=state) as w:
        w.store.outage = "down"
        d = w.runtime.dialogue("d1")
        with pytest.raises(StoreUnavailable):
            await d.snapshot()
        w.store.outage = None
        await until(lambda: w.asleep(d), "the actor that could not load has left")
        assert len(await d.history()) == 2


async def test_a_store_that_is_down_at_the_start_delays_recovery_but_not_for_ever() -> None:
    state = MemoryState()
    async with world(ScriptedProvider([Hang()]), state=state) as w:
        await (await w.open()).send("?")
    policy = RestartPolicy(retry_after=0.01)
    async with world(ScriptedProvider(says("Whole.")), state=state, policy=policy) as w:
        w.store.outage = "down"
        with pytest.raises(StoreUnavailable):
            await w.runtime.check_ready()
        w.store.outage = None
        await until(lambda: w.models["m1"].calls == 1, "the turn is asked again")


async def test_two_runtimes_on_one_store_can_t_both_commit_and_the_loser_s_viewers_are_told() -> None:
    state = MemoryState()
    async with world(ScriptedProvider([Say("One "), Hang()]), state=state) as a:
        loser = await a.open()
        watching = loser.events()
        await next_of(watching, DialogueSnapshot)
        async with world(ScriptedProvider(says("Two.")), state=state) as b:
            winner = b.runtime.dialogue("d1")
            await whole_turn(winner.ask("from b?"))
            with pytest.raises(Exception) as caught:
                await loser.send("from a?")
            assert getattr(caught.value, "code", "") == "moved"
            assert (await next_of(watching, DialogueClosed)).reason == "moved"
            assert [m.content for m in await winner.history()] == ["from b?", "Two."]


# ── going away ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_draining_new_work_is_refused_and_running_turns_settle() -> None:
    go_on = asyncio.Event()
    async with world(ScriptedProvider([Say("One "), WaitFor(go_on), Say("two"), End()])) as w:
        d = await w.open()
        stream = d.ask("?")
        await next_of(stream, TurnDelta)
        w.runtime.begin_drain()
        for work in (d.send("And?"), w.open("new"), d.regenerate()):
            with pytest.raises(Exception) as caught:
                await work
            assert getattr(caught.value, "code", "") == "draining"
        assert await w.runtime.settle(0.01) is False
        go_on.set()
        assert await w.runtime.settle(5) is True
        assert (await next_of(stream, TurnCompleted)).message.content == "One two"


async def test_leaving_the_runtime_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with world(ScriptedProvider([Say("One "), Hang()])) as w:
        for index in range(10):
            await (await w.open(f"d{index}")).send("?")
        await until(lambda: w.models["m1"].open == 10, "ten answers")
    assert w.models["m1"].open == 0
    assert asyncio.all_tasks() == before
