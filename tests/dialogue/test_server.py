"""A dialogue's actor, asked as its callers ask it: through a whole runtime."""

import asyncio

import pytest

from duologue.dialogue.events import (
    DialogueClosed,
    DialogueSnapshot,
    MessageAccepted,
    TurnCancelled,
    TurnCompleted,
    TurnDelta,
    TurnStarted,
)
from duologue.dialogue.requests import Attach, CancelTurn, GetMessages, Open
from duologue.errors import (
    BadRequest,
    Busy,
    Conflict,
    FeatureNotConfigured,
    MessageTooLarge,
    NotFound,
    TooMany,
)
from duologue.messages import DialogueStatus, MessageStatus, Position, Role, Usage
from duologue.providers.scripted import End, Hang, Report, Say, ScriptedProvider, WaitFor
from tests.dialogue.builders import attachment
from tests.dialogue.world import limits, names, next_of, says, until, whole_turn, world


async def test_a_turn_is_accepted_started_told_and_completed() -> None:
    async with world(ScriptedProvider(says("A monad is a burrito. "))) as w:
        d = await w.open()
        events = await whole_turn(d.ask("What is a monad?"))
        assert names(events) == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        started, completed = events[1], events[-1]
        assert isinstance(started, TurnStarted)
        assert isinstance(completed, TurnCompleted)
        accepted = events[0]
        assert isinstance(accepted, MessageAccepted)
        assert (started.attempt, started.model, started.tier) == (1, "m1", "primary")
        assert list(started.message_ids) == [accepted.message.id]
        told = "".join(event.text for event in events if isinstance(event, TurnDelta))
        assert told == completed.message.content == "A monad is a burrito. "
        assert completed.message.status is MessageStatus.COMPLETE


async def test_deltas_carry_the_offset_of_their_text_in_the_answer() -> None:
    async with world(ScriptedProvider(says("One 😀 three"))) as w:
        d = await w.open()
        text = ""
        for event in await whole_turn(d.ask("?")):
            if isinstance(event, TurnDelta):
                assert event.offset == len(text)
                text += event.text
        assert text == "One 😀 three"


async def test_the_model_reads_the_system_prompt_and_the_whole_history() -> None:
    async with world(ScriptedProvider(says("First."), says("Second."))) as w:
        d = await w.open()
        await whole_turn(d.ask("One?"))
        await whole_turn(d.ask("Two?"))
        request = w.models["m1"].last_request
        assert request is not None
        assert [(m.role.value, m.content) for m in request.messages] == [
            ("system", "You are a patient tutor."),
            ("user", "One?"),
            ("assistant", "First."),
            ("user", "Two?"),
        ]


async def test_leaving_ask_early_does_not_stop_the_turn_and_leaves_no_viewer() -> None:
    go_on = asyncio.Event()
    async with world(ScriptedProvider([Say("One "), WaitFor(go_on), Say("two"), End()])) as w:
        d = await w.open()
        async for event in d.ask("?"):
            if isinstance(event, TurnDelta):
                break
        await until(lambda: len(w.runtime.attachments) == 0, "the viewer left")
        go_on.set()
        assert (await next_of(d.events(), TurnCompleted)).message.content == "One two"


async def test_cancel_stops_the_turn_and_keeps_what_was_said() -> None:
    async with world(ScriptedProvider([Say("One two "), Hang()])) as w:
        d = await w.open()
        stream = d.ask("?")
        while not isinstance(event := await anext(stream), TurnDelta) or event.text != "two ":
            pass
        assert await d.cancel() is True
        cancelled = (await whole_turn(stream))[-1]
        assert isinstance(cancelled, TurnCancelled)
        assert cancelled.partial == "One two "
        assert await d.cancel() is False
        question, answer = await d.history()
        assert (question.content, answer.content, answer.status) == ("?", "One two ", MessageStatus.PARTIAL)
        await until(lambda: w.models["m1"].open == 0, "the model's stream was closed")


async def test_cancel_before_the_first_token_leaves_the_question_alone() -> None:
    async with world(ScriptedProvider([Hang()])) as w:
        d = await w.open()
        accepted = await d.send("?")
        assert await d.call(CancelTurn(accepted.turn_id)) is True
        await until(lambda: w.models["m1"].open == 0, "the model's stream was closed")
        await until(lambda: not w.runtime._directory.environment.open_turns, "the turn ended")
        assert [m.content for m in await d.history()] == ["?"]


async def test_cancel_that_comes_with_the_message_is_honoured_after_its_commit() -> None:
    async with world(ScriptedProvider([Hang()])) as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        asked, cancelled = await asyncio.gather(d.send("?"), d.cancel())
        assert cancelled is True
        events = await whole_turn(watching)
        assert names(events) == ["message.accepted", "turn.cancelled"]
        assert w.models["m1"].calls == 0
        assert events[0].seq == asked.seq


async def test_cancel_of_another_turn_does_nothing() -> None:
    async with world(ScriptedProvider([Say("One "), Hang()])) as w:
        d = await w.open()
        await d.send("?")
        assert await d.call(CancelTurn("t_other")) is False  # type: ignore[arg-type]
        assert (await d.snapshot()).status is DialogueStatus.GENERATING


async def test_a_message_while_an_answer_streams_is_refused_by_default() -> None:
    async with world(ScriptedProvider([Say("One "), Hang()])) as w:
        d = await w.open()
        await d.send("?")
        with pytest.raises(Busy):
            await d.send("And?")
        assert [m.content for m in await d.history()] == ["?"]


async def test_queued_messages_are_answered_one_after_the_other() -> None:
    go_on = asyncio.Event()
    first = [Say("One."), WaitFor(go_on), End()]
    async with world(ScriptedProvider(first, says("Two."), says("Three.")), on_busy="queue") as w:
        d = await w.open()
        watching = d.events()
        one = await d.send("1?")
        two = await d.send("2?")
        three = await d.send("3?")
        assert len({one.turn_id, two.turn_id, three.turn_id}) == 3
        go_on.set()
        ends = [await next_of(watching, TurnCompleted) for _ in range(3)]
        assert [end.turn for end in ends] == [one.turn_id, two.turn_id, three.turn_id]
        assert [m.content for m in await d.history()] == ["1?", "2?", "3?", "One.", "Two.", "Three."]


async def test_a_queued_message_is_not_shown_to_the_model_before_its_turn() -> None:
    go_on = asyncio.Event()
    async with world(
        ScriptedProvider([WaitFor(go_on), Say("One."), End()], says("Two.")), on_busy="queue"
    ) as w:
        d = await w.open()
        watching = d.events()
        await d.send("1?")
        await d.send("2?")
        go_on.set()
        await next_of(watching, TurnCompleted)
        await next_of(watching, TurnCompleted)
        request = w.models["m1"].last_request
        assert request is not None
        assert [m.content for m in request.messages][1:] == ["1?", "One.", "2?"]


async def test_the_queue_is_bounded() -> None:
    async with world(ScriptedProvider([Hang()]), on_busy="queue", limits=limits(queued_max=2)) as w:
        d = await w.open()
        for index in range(3):
            await d.send(f"{index}?")
        with pytest.raises(TooMany):
            await d.send("one too many")


async def test_merged_messages_are_answered_together() -> None:
    go_on = asyncio.Event()
    async with world(
        ScriptedProvider([WaitFor(go_on), Say("One."), End()], says("Both.")), on_busy="merge"
    ) as w:
        d = await w.open()
        watching = d.events()
        await d.send("1?")
        two, three = await d.send("2?"), await d.send("3?")
        assert two.turn_id == three.turn_id
        go_on.set()
        await next_of(watching, TurnCompleted)
        started = await next_of(watching, TurnStarted)
        assert list(started.message_ids) == [two.message_id, three.message_id]
        assert (await next_of(watching, TurnCompleted)).message.content == "Both."


async def test_interrupt_keeps_the_message_then_cancels_then_answers_it() -> None:
    async with world(ScriptedProvider([Say("One "), Hang()], says("Two.")), on_busy="interrupt") as w:
        d = await w.open()
        watching = d.events()
        first = await d.send("1?")
        await next_of(watching, TurnDelta)
        second = await d.send("2?")
        events = await whole_turn(watching)
        assert names(events) == ["message.accepted", "turn.cancelled"]
        assert getattr(events[-1], "turn", None) == first.turn_id
        done = await next_of(watching, TurnCompleted)
        assert (done.turn, done.message.content) == (second.turn_id, "Two.")


async def test_the_same_client_message_id_gives_the_same_answer_and_one_turn() -> None:
    async with world() as w:
        d = await w.open()
        one, two = await asyncio.gather(
            d.send("?", client_message_id="c1"), d.send("?", client_message_id="c1")
        )
        assert one == two == await d.send("?", client_message_id="c1")
        await until(lambda: w.models["m1"].calls == 1, "one call")
        assert [m.content for m in await d.history() if m.role is Role.USER] == ["?"]


async def test_the_same_client_message_id_with_another_content_is_a_conflict() -> None:
    async with world() as w:
        d = await w.open()
        await d.send("?", client_message_id="c1")
        with pytest.raises(Conflict):
            await d.send("!", client_message_id="c1")


@pytest.mark.parametrize(
    ("content", "error"),
    [("", BadRequest), ("  ", BadRequest), ("\ud800", BadRequest), ("x" * 32_769, MessageTooLarge)],
)
async def test_content_that_can_t_be_taken_is_refused_and_nothing_is_stored(
    content: str, error: type[Exception]
) -> None:
    async with world() as w:
        d = await w.open()
        with pytest.raises(error):
            await d.send(content)
        assert await d.history() == []
        assert w.models["m1"].calls == 0


async def test_unknown_dialogues_answer_not_found_to_everything_but_opening() -> None:
    async with world() as w:
        d = w.runtime.dialogue("nobody")
        for ask in (d.send("?"), d.snapshot(), d.history(), d.cancel(), d.regenerate(), d.delete()):
            with pytest.raises(NotFound):
                await ask
        with pytest.raises(NotFound):
            await anext(d.events())
        assert len(w.runtime.attachments) == 0


async def test_opening_twice_with_the_same_words_finds_it_and_with_others_is_a_conflict() -> None:
    async with world() as w:
        first = await w.runtime.create("d1", Open("student_dialogue"))  # type: ignore[arg-type]
        again = await w.runtime.create("d1", Open("student_dialogue"))  # type: ignore[arg-type]
        assert (first.created, again.created) == (True, False)
        assert (first.epoch, first.seq) == (again.epoch, again.seq)
        with pytest.raises(Conflict):
            await w.runtime.create("d1", Open("student_dialogue", section="other"))  # type: ignore[arg-type]


async def test_two_that_open_at_once_make_one_dialogue() -> None:
    async with world() as w:
        opened = await asyncio.gather(
            *(w.runtime.create("d1", Open("student_dialogue")) for _ in range(10))  # type: ignore[arg-type]
        )
        assert sum(o.created for o in opened) == 1
        assert len({o.epoch for o in opened}) == 1


async def test_a_feature_that_resolves_to_nothing_is_refused_by_name_and_nothing_is_made() -> None:
    async with world() as w:
        with pytest.raises(FeatureNotConfigured, match="no_such_feature"):
            await w.runtime.open("d1", feature="no_such_feature")
        with pytest.raises(NotFound):
            await w.runtime.dialogue("d1").snapshot()


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 129, "a/b"])
async def test_an_id_with_other_characters_is_refused(name: str) -> None:
    async with world() as w:
        with pytest.raises(BadRequest):
            await w.runtime.open(name, feature="student_dialogue")


async def test_two_viewers_get_the_very_same_events() -> None:
    async with world(ScriptedProvider(says("One two three."))) as w:
        d = await w.open()
        viewers = [attachment(), attachment()]
        for viewer, _ in viewers:
            viewer.dialogue = d.id
            await d.call(Attach(viewer))
        await whole_turn(d.ask("?"))
        (_, one), (_, two) = viewers
        assert names(one.events)[1:] == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        assert one.text == "One two three."
        assert all(first is second for first, second in zip(one.events[1:], two.events[1:], strict=True))


async def test_a_late_joiner_gets_a_snapshot_with_what_was_said_and_then_the_rest() -> None:
    go_on = asyncio.Event()
    async with world(ScriptedProvider([Say("One two "), WaitFor(go_on), Say("three"), End()])) as w:
        d = await w.open()
        stream = d.ask("?")
        while not isinstance(event := await anext(stream), TurnDelta) or event.text != "two ":
            pass
        late = d.events()
        snapshot = (await next_of(late, DialogueSnapshot)).snapshot
        assert snapshot.status is DialogueStatus.GENERATING
        assert snapshot.turn is not None
        assert (snapshot.turn.text, snapshot.turn.attempt, snapshot.turn.model) == ("One two ", 1, "m1")
        go_on.set()
        rest = await whole_turn(late)
        assert rest[0].first_seq == snapshot.seq + 1
        assert "".join(e.text for e in rest if isinstance(e, TurnDelta)) == "three"


async def test_a_viewer_that_comes_back_gets_exactly_what_it_missed() -> None:
    go_on = asyncio.Event()
    async with world(ScriptedProvider([Say("One two "), WaitFor(go_on), Say("three"), End()])) as w:
        d = await w.open()
        stream = d.ask("?")
        while not isinstance(event := await anext(stream), TurnDelta):
            pass
        known = Position(event.epoch, event.seq)
        stream.close()
        go_on.set()
        back = d.events(after=known)
        missed = await whole_turn(back)
        assert missed[0].first_seq == known.seq + 1
        assert event.text + "".join(e.text for e in missed if isinstance(e, TurnDelta)) == "One two three"


@pytest.mark.parametrize("seq", [99, -1])
async def test_a_position_that_can_t_be_filled_gets_a_snapshot(seq: int) -> None:
    async with world() as w:
        d = await w.open()
        events = await whole_turn(d.ask("?"))
        assert isinstance(await anext(d.events(after=Position(events[-1].epoch, seq))), DialogueSnapshot)


async def test_a_position_of_another_epoch_gets_a_snapshot() -> None:
    async with world() as w:
        d = await w.open()
        assert isinstance(await anext(d.events(after=Position("other", 0))), DialogueSnapshot)  # type: ignore[arg-type]


async def test_history_is_paged_from_the_newest_without_a_hole() -> None:
    async with world(ScriptedProvider(says("A."))) as w:
        d = await w.open()
        for index in range(7):
            await whole_turn(d.ask(f"{index}?"))
        pages, before = [], None
        while True:
            page = await d.messages(before=before, limit=4)
            pages.append([m.content for m in page.messages])
            before = page.before
            if before is None:
                break
        assert [len(page) for page in pages] == [4, 4, 4, 2]
        assert [text for page in reversed(pages) for text in page] == [m.content for m in await d.history()]


@pytest.mark.parametrize(("before", "limit"), [("x", 10), ("-1", 10), ("1" * 30, 10), (None, 0), (None, 201)])
async def test_a_wrong_page_is_refused(before: str | None, limit: int) -> None:
    async with world() as w:
        d = await w.open()
        with pytest.raises(BadRequest):
            await d.call(GetMessages(before, limit))


async def test_a_snapshot_holds_the_last_50_messages_and_a_cursor() -> None:
    async with world() as w:
        d = await w.open()
        for index in range(26):
            await whole_turn(d.ask(f"{index}?"))
        snapshot = await d.snapshot()
        assert len(snapshot.messages) == 50
        older = await d.messages(before=snapshot.before)
        assert [m.content for m in older.messages] == ["0?", "Hi."]


async def test_regenerate_supersedes_the_answer_and_keeps_it() -> None:
    async with world(ScriptedProvider(says("First."), says("Second."))) as w:
        d = await w.open()
        await whole_turn(d.ask("?"))
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        again = await d.regenerate()
        events = await whole_turn(watching)
        assert names(events)[:2] == ["message.superseded", "turn.started"]
        assert events[0].seq == again.seq
        assert [m.content for m in await d.history()] == ["?", "Second."]
        kept = (await d.snapshot()).messages
        assert [(m.content, m.status.value) for m in kept] == [
            ("?", "complete"),
            ("First.", "superseded"),
            ("Second.", "complete"),
        ]


async def test_regenerate_without_a_question_is_a_conflict() -> None:
    async with world() as w:
        with pytest.raises(Conflict):
            await (await w.open()).regenerate()


async def test_an_edit_supersedes_the_message_and_all_that_follows() -> None:
    async with world(ScriptedProvider(says("A."), says("B."), says("C."))) as w:
        d = await w.open()
        await whole_turn(d.ask("1?"))
        await whole_turn(d.ask("2?"))
        first = (await d.history())[0]
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        edited = await d.edit(first.id, "1!")
        events = await whole_turn(watching)
        assert names(events)[:5] == ["message.superseded"] * 4 + ["message.accepted"]
        assert events[4].seq == edited.seq
        assert [m.content for m in await d.history()] == ["1!", "C."]


async def test_only_a_user_s_standing_message_can_be_edited() -> None:
    async with world() as w:
        d = await w.open()
        await whole_turn(d.ask("?"))
        question, answer = await d.history()
        with pytest.raises(BadRequest):
            await d.edit(answer.id, "!")
        with pytest.raises(NotFound):
            await d.edit("m_nobody", "!")  # type: ignore[arg-type]
        await d.edit(question.id, "!")
        await until(lambda: not w.runtime._directory.environment.open_turns, "the turn ended")
        with pytest.raises(NotFound):
            await d.edit(question.id, "!!")


async def test_deleting_stops_the_turn_tells_the_viewers_and_leaves_nothing() -> None:
    async with world(ScriptedProvider([Say("One "), Hang()])) as w:
        d = await w.open()
        watching = d.events()
        await d.send("?")
        await next_of(watching, TurnDelta)
        assert await d.delete() is True
        closed = await next_of(watching, DialogueClosed)
        assert closed.reason == "deleted"
        with pytest.raises(NotFound):
            await d.snapshot()
        await until(lambda: w.models["m1"].open == 0, "the model's stream was closed")
        assert (await w.runtime.list_dialogues()).rows == []


async def test_a_deleted_dialogue_can_be_opened_anew_and_is_empty() -> None:
    async with world() as w:
        d = await w.open()
        await whole_turn(d.ask("?"))
        await d.delete()
        d = await w.open()
        assert await d.history() == []
        assert names(await whole_turn(d.ask("?")))[-1] == "turn.completed"


async def test_usage_is_summed_over_answers() -> None:
    script = [Say("A."), Report(Usage(3, 1)), Report(Usage(3, 2)), End()]
    async with world(ScriptedProvider(script)) as w:
        d = await w.open()
        completed = (await whole_turn(d.ask("?")))[-1]
        assert isinstance(completed, TurnCompleted)
        assert completed.usage == Usage(3, 2)
        await whole_turn(d.ask("?"))
        assert (await d.snapshot()).usage == Usage(6, 4)


async def test_a_viewer_with_a_window_reads_the_same_text_in_fewer_events() -> None:
    async with world(ScriptedProvider(says("a b c d e f g h"))) as w:
        d = await w.open()
        fast, slow = d.events(), d.events(coalesce_ms=40)
        await next_of(fast, DialogueSnapshot)
        await next_of(slow, DialogueSnapshot)
        await d.send("?")
        merged = [e for e in await whole_turn(slow) if isinstance(e, TurnDelta)]
        assert "".join(e.text for e in merged) == "a b c d e f g h"
        assert merged[0].merged_from is None
        assert merged[1].merged_from == merged[0].seq + 1


async def test_an_idle_dialogue_sleeps_under_its_viewer_and_wakes_unnoticed() -> None:
    async with world(ScriptedProvider(says("One."), says("Two.")), limits=limits(idle_after=0.02)) as w:
        d = await w.open()
        watching = d.events()
        await d.send("1?")
        last = (await whole_turn(watching))[-1]
        await until(lambda: w.asleep(d), "the dialogue sleeps")
        assert w.runtime.attachments.count(d.id) == 1
        await d.send("2?")
        events = await whole_turn(watching)
        assert names(events) == ["message.accepted", "turn.started", "turn.delta", "turn.completed"]
        assert (events[0].epoch, events[0].seq) == (last.epoch, last.seq + 1)


async def test_a_viewer_that_leaves_while_the_dialogue_sleeps_is_forgotten() -> None:
    async with world(limits=limits(idle_after=0.01)) as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        await until(lambda: w.asleep(d), "the dialogue sleeps")
        watching.close()
        assert len(w.runtime.attachments) == 0


async def test_a_running_turn_keeps_its_dialogue_awake() -> None:
    go_on = asyncio.Event()
    script = ScriptedProvider([Say("One "), WaitFor(go_on), Say("two"), End()])
    async with world(script, limits=limits(idle_after=0.01)) as w:
        d = await w.open()
        stream = d.ask("?")
        await next_of(stream, TurnDelta)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await until(lambda: loop.time() - begun > 0.05, "five times the idle time")
        assert not w.asleep(d)
        go_on.set()
        assert (await next_of(stream, TurnCompleted)).message.content == "One two"


async def test_the_list_shows_status_viewers_and_first_words() -> None:
    async with world(ScriptedProvider(says("Done.\nReally."), [Say("One "), Hang()])) as w:
        quiet, busy = await w.open("quiet"), await w.open("busy")
        await whole_turn(quiet.ask("?"))
        watching = busy.events()
        await busy.send("What is\n a monad?")
        await next_of(watching, TurnDelta)
        rows = sorted((await w.runtime.list_dialogues()).rows, key=lambda row: row.row.dialogue)
        assert [(r.row.dialogue, r.row.status.value, r.viewers, r.row.preview) for r in rows] == [
            ("busy", "generating", 1, "What is a monad?"),
            ("quiet", "idle", 0, "Done. Really."),
        ]
        only = (await w.runtime.list_dialogues(status=DialogueStatus.GENERATING)).rows
        assert [r.row.dialogue for r in only] == ["busy"]


async def test_many_dialogues_answer_at_once_and_none_hears_another() -> None:
    async with world(ScriptedProvider(says("One two three."))) as w:
        dialogues = [await w.open(f"d{index}") for index in range(100)]
        turns = await asyncio.gather(*(whole_turn(d.ask(f"{d.id}?")) for d in dialogues))
        for d, events in zip(dialogues, turns, strict=True):
            assert {event.dialogue for event in events} == {d.id}
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
