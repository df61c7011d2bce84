"""The directory and the tree: who is found, started again, held back, recovered, and stopped in which order."""

import asyncio
from typing import Any

import pytest

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import DialogueClosed
from duologue.dialogue.requests import Ask, Attach, GetSnapshot
from duologue.errors import DuologueError, Quarantined
from duologue.messages import DialogueId
from duologue.providers.scripted import Hang, ScriptedProvider
from duologue.runtime import Actor, ActorSystem, ChildSpec, Outcome
from duologue.store.memory import MemoryState, MemoryStore
from duologue.supervisor import DialogueDirectory, DirectoryServer, RecoveryServer, RestartPolicy, start_tree
from tests.dialogue.builders import Recorder
from tests.dialogue.world import World, limits, says, until, whole_turn, world

D1 = DialogueId("d1")


def directory_of(w: World) -> DialogueDirectory:
    return w.runtime._directory


def the_only(w: World, actor: type[Actor]) -> Any:
    """The living actor of this class, `None` while there is none."""
    found = [process for process in w.runtime.system._processes.values() if process.kind is actor]
    assert len(found) <= 1
    return found[0] if found else None


async def break_down(w: World, actor: type[Actor]) -> None:
    """Crash one of the tree's own actors and wait until its supervisor has started it again."""
    old = the_only(w, actor)
    old.kill()
    await old.wait()
    await until(lambda: the_only(w, actor) not in (None, old), "it is back")


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dialogue_has_one_actor_however_often_it_is_looked_for() -> None:
    async with world() as w:
        await w.open()
        directory = directory_of(w)
        assert directory.find(D1) is directory.find(D1) is directory.awake(D1)
        assert [name for name, _ in directory] == [D1]
        assert len(directory) == 1


async def test_making_a_handle_starts_nothing() -> None:
    async with world() as w:
        w.runtime.dialogue("nobody")
        assert len(directory_of(w)) == 0


async def test_an_actor_that_left_is_forgotten() -> None:
    async with world(limits=limits(idle_after=0.01)) as w:
        await w.open()
        await until(lambda: len(directory_of(w)) == 0, "the directory forgot it")


# ── restarts and quarantine ─────────────────────────────────────────────────────────────────────────────────


async def test_each_dialogue_has_a_window_of_its_own() -> None:
    async with world(policy=RestartPolicy(intensity=1)) as w:
        dialogues = [await w.open(f"d{index}") for index in range(10)]
        for d in dialogues:
            await w.crash(d)
        await until(lambda: not any(w.asleep(d) for d in dialogues), "all are back")
        await w.crash(dialogues[0])
        await until(lambda: dialogues[0].id in directory_of(w)._quarantined, "held back")
        for d in dialogues[1:]:
            await d.snapshot()
        with pytest.raises(Quarantined):
            await dialogues[0].snapshot()


async def test_who_asks_again_at_once_does_not_get_round_the_window() -> None:
    async with world(policy=RestartPolicy(intensity=2)) as w:
        d = await w.open()
        directory, lives, held_back = directory_of(w), 0, False

        def live_again(_: object = None) -> None:
            """Called inside an end, before the directory's server can have heard of it."""
            nonlocal lives, held_back
            assert lives < 10
            try:
                ref = directory.find(d.id)
            except Quarantined:
                held_back = True
                return
            lives += 1
            ref.kill()
            ref.call_nowait(GetSnapshot(), live_again)

        live_again()
        await until(lambda: held_back, "held back")
        assert lives == 3
        with pytest.raises(Quarantined):
            await d.send("?")


async def test_a_quarantined_dialogue_s_viewers_are_told_once_and_forgotten() -> None:
    async with world(policy=RestartPolicy(intensity=0)) as w:
        d = await w.open()
        seen = Recorder()
        await d.call(Attach(Attachment(d.id, seen)))
        await w.crash(d)
        await until(lambda: any(isinstance(e, DialogueClosed) for e in seen.events), "told")
        assert [e.name for e in seen.events].count("dialogue.closed") == 1
        assert len(w.runtime.attachments) == 0
        assert "duologue_viewers 0" in w.metrics.render()


async def test_a_quarantine_that_is_over_is_not_kept_in_memory() -> None:
    async with world(policy=RestartPolicy(intensity=0, quarantine=0.01)) as w:
        one, two = await w.open("d1"), await w.open("d2")
        await w.crash(one)
        directory = directory_of(w)
        await until(lambda: list(directory._quarantined) == ["d1"], "held back")
        until_then = directory._quarantined[one.id]
        await until(lambda: w.runtime.system.clock() > until_then, "it is over")
        await w.crash(two)
        await until(lambda: list(directory._quarantined) == ["d2"], "only the other is")


async def test_restart_windows_that_are_calm_are_forgotten() -> None:
    async with world(policy=RestartPolicy(period=0.01)) as w:
        for index in range(5):
            d = await w.open(f"d{index}")
            await w.crash(d)
            await until(lambda d=d: not w.asleep(d), "it is back")  # type: ignore[misc]
            calm_at = w.runtime.system.clock() + 0.02
            await until(lambda at=calm_at: w.runtime.system.clock() > at, "calm")  # type: ignore[misc]
        assert len(directory_of(w)._windows) == 1


async def test_a_restart_is_counted() -> None:
    async with world() as w:
        d = await w.open()
        await w.crash(d)
        await until(lambda: not w.asleep(d), "it is back")
        assert 'duologue_actor_restarts_total{actor="DialogueServer"} 1' in w.metrics.render()


# ── the tree's own actors ───────────────────────────────────────────────────────────────────────────────────


async def test_dialogues_are_restarted_though_the_directory_s_server_crashed_before() -> None:
    async with world() as w:
        d = await w.open()
        await break_down(w, DirectoryServer)
        await w.crash(d)
        await until(lambda: not w.asleep(d), "it is back")


async def test_what_crashed_while_the_directory_s_server_was_down_is_woken_by_the_next_one() -> None:
    async with world(ScriptedProvider([Hang()], says("Whole."))) as w:
        d = await w.open()
        await d.send("?")
        await until(lambda: w.models["m1"].calls == 1, "the model is asked")
        server = the_only(w, DirectoryServer)
        ref = directory_of(w).awake(d.id)
        assert ref is not None
        server.kill()
        ref.kill()
        await until(lambda: w.models["m1"].calls == 2, "the turn is asked again, unasked")


async def test_a_quarantined_dialogue_with_an_open_turn_does_not_take_the_tree_down() -> None:
    policy = RestartPolicy(intensity=0)
    async with world(ScriptedProvider([Hang()]), policy=policy) as w:
        d, other = await w.open(), await w.open("other")
        await d.send("?")
        await w.crash(d)
        await until(lambda: d.id in directory_of(w)._quarantined, "held back")
        await break_down(w, RecoveryServer)
        for _ in range(20):
            await other.snapshot()
        assert [r.row.dialogue for r in (await w.runtime.list_dialogues()).rows if r.row.dialogue == "other"]


async def test_recovery_waits_for_a_store_that_is_down_at_the_start() -> None:
    state = MemoryState()
    async with world(ScriptedProvider([Hang()]), state=state) as w:
        await (await w.open()).send("?")
    store = MemoryStore(state)
    store.outage = "down"
    async with world(ScriptedProvider(says("Whole.")), store=store) as w:
        await until(lambda: not w.models["m1"].calls, "nothing can be asked")
        store.outage = None
        await until(lambda: w.models["m1"].calls == 1, "the turn is asked again")


class Early(Actor):
    """Notes when it ends, and who was there then."""

    traps_exits = True

    def __init__(self, ended: list[str], w: DialogueDirectory) -> None:
        self._ended = ended
        self._directory = w

    def terminate(self, reason: object) -> None:
        self._ended += [f"{name}: {ref.alive}" for name, ref in self._directory] + ["early"]


async def test_what_comes_first_in_the_tree_outlives_every_dialogue() -> None:
    ended: list[str] = []
    async with world() as w:
        system = ActorSystem()
        directory = DialogueDirectory(system, directory_of(w).environment)
        first = ChildSpec(id="early", start=lambda: Early(ended, directory))
        await start_tree(system, directory, first=[first])
        directory.find(DialogueId("mine"))
        await asyncio.sleep(0)
        await system.shutdown()
    assert ended == ["mine: False", "early"]


async def test_those_who_wait_when_the_tree_is_stopped_are_answered() -> None:
    outcomes: list[Outcome[object]] = []
    async with world() as w:
        d = await w.open()
        await whole_turn(d.ask("?"))
        w.store.outage = "down"
        for index in range(3):
            d.request(Ask(f"{index}?"), outcomes.append)
    assert len(outcomes) == 3
    assert all(isinstance(outcome.error, DuologueError) for outcome in outcomes)


async def test_the_count_of_open_turns_survives_crashes_and_deletions() -> None:
    async with world(ScriptedProvider([Hang()])) as w:
        d = await w.open()
        await d.send("?")
        ref = directory_of(w).awake(d.id)
        assert ref is not None
        ref.cast(object())
        await until(lambda: w.models["m1"].calls == 2, "the turn is asked again")
        assert "duologue_turns_open 1" in w.metrics.render()
        await d.delete()
        await until(lambda: w.asleep(d), "it is gone")
        assert "duologue_turns_open 0" in w.metrics.render()
