"""Two things at once: each test holds the store at the moment that matters."""

import asyncio

import pytest

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import DialogueClosed, DialogueSnapshot, TurnDelta, TurnStarted
from duologue.dialogue.requests import Ask, Attach, Delete
from duologue.errors import BadRequest, Busy, NotFound, StoreUnavailable
from duologue.providers.scripted import End, Hang, Say, Script, ScriptedProvider, WaitFor
from duologue.runtime import Outcome
from duologue.store.memory import MemoryState, MemoryStore
from duologue.store.port import TurnClosed, Write
from tests.dialogue.builders import Recorder
from tests.dialogue.world import limits, names, next_of, says, until, whole_turn, world


class HeldStore(MemoryStore):
    """Writes wait from `hold` on until `released` is set; `waiting` is what waits."""

    def __init__(self, state: MemoryState | None = None) -> None:
        super().__init__(state)
        self.released = asyncio.Event()
        self.released.set()
        self.waiting: Write | None = None

    def hold(self) -> None:
        self.released.clear()

    async def append(self, write: Write) -> int:
        self.waiting = write
        await self.released.wait()
        return await super().append(write)

    def holds(self, kind: type) -> bool:
        waiting = self.waiting
        return not self.released.is_set() and waiting is not None and isinstance(waiting.records[-1], kind)


async def test_a_queue_whose_turn_was_not_opened_yet_is_found_at_the_next_start() -> None:
    state = MemoryState()
    store = HeldStore(state)
    async with world(ScriptedProvider([Hang()]), store=store, on_busy="queue") as w:
        d = await w.open()
        await d.send("1?")
        await d.send("2?")
        store.hold()
        await d.cancel()
        await until(lambda: store.holds(TurnClosed), "the end is being written")
        assert store.waiting is not None
        await MemoryStore.append(store, store.waiting)  # it happened, and then the process was killed
    async with world(ScriptedProvider(says("Two.")), state=state) as w:
        await until(lambda: w.models["m1"].calls == 1, "the queued message is asked, unasked")
        await until(lambda: not w.runtime._directory.environment.open_turns, "its turn ended")
        assert [m.content for m in await w.runtime.dialogue("d1").history()] == ["1?", "2?", "Two."]


async def test_a_message_that_merges_while_the_turn_closes_is_of_the_turn_that_it_was_told() -> None:
    store = HeldStore()
    go_on = asyncio.Event()
    async with world(
        ScriptedProvider([Say("One."), WaitFor(go_on), End()], says("Both.")), store=store, on_busy="merge"
    ) as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        await d.send("1?")
        two = await d.send("2?")
        await next_of(watching, TurnStarted)
        store.hold()
        go_on.set()
        await until(lambda: store.holds(TurnClosed), "the end is being written")
        late = asyncio.ensure_future(d.send("3?"))
        await asyncio.sleep(0)
        store.released.set()
        three = await late
        assert three.turn_id == two.turn_id
        started = await next_of(watching, TurnStarted)
        assert list(started.message_ids) == [two.message_id, three.message_id]


async def test_nobody_overtakes_a_message_that_is_under_way_to_the_queue() -> None:
    store = HeldStore()
    go_on = asyncio.Event()
    scripts: list[Script] = [[Say("One."), WaitFor(go_on), End()], says("Two."), says("Three.")]
    async with world(ScriptedProvider(*scripts), store=store, on_busy="queue") as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        one = await d.send("1?")
        await next_of(watching, TurnStarted)
        store.hold()
        go_on.set()
        await until(lambda: store.holds(TurnClosed), "the end is being written")
        order = [asyncio.ensure_future(d.send("2?"))]
        await asyncio.sleep(0)
        assert store.waiting is not None
        # The end is written, the queued message is not.
        closing = store.waiting
        store.released.set()
        store.hold()
        await until(lambda: store.waiting is not closing, "the queued message is being written")
        with pytest.raises(Busy):
            await d.send("me first!", on_busy="reject")
        order.append(asyncio.ensure_future(d.send("3?")))
        await asyncio.sleep(0)
        store.released.set()
        two, three = await asyncio.gather(*order)
        turns = [one.turn_id]
        for _ in range(2):
            turns.append((await next_of(watching, TurnStarted)).turn)
        assert turns == [one.turn_id, two.turn_id, three.turn_id]


async def test_a_queued_message_sent_again_gets_the_same_answer_though_the_answer_streamed_on() -> None:
    store = HeldStore()
    go_on = asyncio.Event()
    async with world(ScriptedProvider([Say("One "), WaitFor(go_on), Say("two "), Hang()]), store=store) as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        await d.send("1?")
        await next_of(watching, TurnDelta)
        store.hold()
        sent = asyncio.ensure_future(d.send("2?", client_message_id="c", on_busy="queue"))
        await asyncio.sleep(0)
        go_on.set()
        await next_of(watching, TurnDelta)
        store.released.set()
        assert await sent == await d.send("2?", client_message_id="c")


async def test_a_deletion_that_fails_leaves_the_turn_to_be_answered_though_nobody_watches() -> None:
    async with world(ScriptedProvider([Hang()], says("Whole."))) as w:
        d = await w.open()
        await d.send("?")
        await until(lambda: w.models["m1"].calls == 1, "the model is asked")
        w.store.outage = "down"
        with pytest.raises(StoreUnavailable):
            await d.call(Delete())
        w.store.outage = None
        await until(lambda: w.models["m1"].calls == 2, "the turn is asked again, unasked")
        await until(lambda: not w.runtime._directory.environment.open_turns, "the turn ended")
        assert [m.content for m in await d.history()] == ["?", "Whole."]


async def test_viewers_of_a_dialogue_that_was_deleted_elsewhere_are_told_when_it_wakes() -> None:
    async with world(limits=limits(idle_after=0.01)) as w:
        d = await w.open()
        watching = d.events()
        await next_of(watching, DialogueSnapshot)
        await until(lambda: w.asleep(d), "it sleeps")
        await w.store.delete(d.id)
        with pytest.raises(NotFound):
            await d.snapshot()
        assert (await next_of(watching, DialogueClosed)).reason == "deleted"
        assert len(w.runtime.attachments) == 0


async def test_a_viewer_that_leaves_while_its_attaching_is_under_way_is_not_kept() -> None:
    async with world(limits=limits(idle_after=0.01)) as w:
        d = await w.open()
        viewer = Attachment(d.id, Recorder())
        outcomes: list[Outcome[object]] = []
        ref = w.runtime._directory.awake(d.id)
        assert ref is not None
        d.request(Attach(viewer), outcomes.append)
        d.detach(viewer)
        await until(lambda: outcomes, "an answer")
        assert len(w.runtime.attachments) == 0
        assert not outcomes[0].ok


async def test_nothing_is_delivered_to_a_viewer_that_has_left() -> None:
    async with world(ScriptedProvider([Say("a b c d "), Hang()])) as w:
        d = await w.open()
        seen = Recorder()
        viewer = Attachment(d.id, seen)
        await d.call(Attach(viewer))
        d.request(Ask("?"), lambda _: d.detach(viewer))  # before any event that the request causes
        await until(lambda: w.models["m1"].open == 1, "it streams")
        assert names(seen.events) == ["dialogue.snapshot"]


async def test_a_name_that_can_t_be_stored_is_refused_and_harms_nobody() -> None:
    async with world() as w:
        d = await w.open()
        with pytest.raises(BadRequest):
            await d.send("?", client_message_id="\ud800")
        assert not w.asleep(d)
        assert await d.history() == []


async def test_a_kill_before_the_commit_leaves_no_turn_to_wait_for() -> None:
    store = HeldStore()
    async with world(store=store) as w:
        d = await w.open()
        store.hold()
        sent = asyncio.ensure_future(d.send("?"))
        await until(lambda: store.waiting is not None, "the message is being written")
        await w.crash(d)
        with pytest.raises(Exception, match="try again"):
            await sent
        store.released.set()
        await d.snapshot()
        assert await w.runtime.settle(0.05)


async def test_an_interrupted_ask_sent_again_by_its_name_ends_when_its_turn_has() -> None:
    async with world() as w:
        d = await w.open()
        await whole_turn(d.ask("?", client_message_id="c"))
        async with asyncio.timeout(2):
            again = [event async for event in d.ask("?", client_message_id="c")]
        (snapshot,) = again
        assert isinstance(snapshot, DialogueSnapshot)
        assert [m.content for m in snapshot.snapshot.messages] == ["?", "Hi."]
