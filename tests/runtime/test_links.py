"""Exit signals, links, monitors and trapping."""

import asyncio
import itertools
from typing import Any

import pytest

from duologue.runtime import (
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    ActorSystem,
    Down,
    Exit,
    ExitReason,
    MonitorRef,
    Ref,
    Stop,
)
from tests.runtime.actors import Do, Echo, Probe, Trapper, boom, log_of, stop_with, turns


async def _watch(watcher: Ref[Any], target: Ref[Any]) -> MonitorRef:
    return await watcher.call(Do(lambda me, reply_to: me.ctx.monitor(target)))


async def test_a_monitor_gives_one_down_with_the_reason(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    mark = await _watch(watcher, target)
    target.cast(stop_with(ExitReason("quota")))
    await target.wait()
    assert (await log_of(watcher))[1:] == [Down(mark, target, ExitReason("quota"))]


async def test_monitors_stack_and_each_has_its_own_down(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    marks = [await _watch(watcher, target) for _ in range(3)]
    target.kill()
    await target.wait()
    downs = (await log_of(watcher))[1:]
    assert [down.monitor for down in downs] == marks
    assert len(set(marks)) == 3


async def test_a_monitor_on_a_dead_actor_gives_noproc_as_a_message(system: ActorSystem):
    watcher, target = system.spawn(Probe()), await system.start(Probe())
    await target.stop()
    mark = await _watch(watcher, target)
    assert (await log_of(watcher))[1:] == [Down(mark, target, NOPROC)]


async def test_demonitor_takes_back_a_down_that_waits_already(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    mark = await _watch(watcher, target)

    async def die_and_demonitor(me: Probe) -> None:
        target.kill()
        await target.wait()
        me.ctx.demonitor(mark)

    watcher.cast(die_and_demonitor)
    await turns()
    assert (await log_of(watcher))[1:] == []


async def test_demonitor_without_flush_leaves_a_down_that_waits(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    mark = await _watch(watcher, target)

    async def die_and_demonitor(me: Probe) -> None:
        target.kill()
        await target.wait()
        me.ctx.demonitor(mark, flush=False)

    watcher.cast(die_and_demonitor)
    await turns()
    assert (await log_of(watcher))[1:] == [Down(mark, target, KILLED)]


async def test_a_demonitored_actor_forgets_its_watcher(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    mark = await _watch(watcher, target)
    watcher.cast(lambda me: me.ctx.demonitor(mark))
    target.kill()
    await target.wait()
    assert (await log_of(watcher))[1:] == []


async def test_a_dead_watcher_is_forgotten_by_who_it_watched(system: ActorSystem):
    watcher, target = system.spawn(Probe()), system.spawn(Probe())
    await _watch(watcher, target)
    await watcher.stop()
    target.kill()
    assert await target.wait() == KILLED


async def test_a_linked_actor_dies_with_the_other_for_the_same_reason(system: ActorSystem):
    one, other = system.spawn(Probe()), system.spawn(Probe())
    one.cast(lambda me: me.ctx.link(other))
    other.cast(stop_with(ExitReason("quota")))
    assert await one.wait() == ExitReason("quota")


async def test_a_normal_end_does_not_take_a_linked_actor_along(system: ActorSystem):
    one, other = system.spawn(Probe()), system.spawn(Probe())
    one.cast(lambda me: me.ctx.link(other))
    await turns()
    await other.stop()
    assert await one.call(Echo("alive")) == "alive"


async def test_a_trapping_actor_gets_the_end_of_a_linked_one_as_a_message_even_a_normal_one(
    system: ActorSystem,
):
    trapper, other = system.spawn(Trapper()), system.spawn(Probe())
    trapper.cast(lambda me: me.ctx.link(other))
    await turns()
    await other.stop()
    assert (await log_of(trapper))[1:] == [Exit(other, NORMAL)]


async def test_trapping_may_be_switched_on_in_init(system: ActorSystem):
    def trap(me: Probe) -> None:
        me.ctx.trap_exits = True
        assert me.ctx.trap_exits

    trapper, other = await system.start(Probe(on_init=trap)), system.spawn(Probe())
    trapper.cast(lambda me: me.ctx.link(other))
    await turns()
    other.kill()
    await other.wait()
    assert (await log_of(trapper))[1:] == [Exit(other, KILLED)]


async def test_killed_is_seen_by_linked_actors_and_can_be_trapped(system: ActorSystem):
    trapper, victim, mortal = system.spawn(Trapper()), system.spawn(Trapper()), system.spawn(Probe())
    trapper.cast(lambda me: me.ctx.link(victim))
    mortal.cast(lambda me: me.ctx.link(victim))
    await turns()
    victim.kill()
    assert await mortal.wait() == KILLED
    assert (await log_of(trapper))[1:] == [Exit(victim, KILLED)]


async def test_a_link_is_made_once_however_often_and_from_both_ends(system: ActorSystem):
    one, other = system.spawn(Trapper()), system.spawn(Trapper())
    for _ in range(3):
        one.cast(lambda me: me.ctx.link(other))
        other.cast(lambda me: me.ctx.link(one))
    await turns()
    await other.stop()
    assert (await log_of(one))[1:] == [Exit(other, NORMAL)]


async def test_unlink_works_from_either_end_and_takes_back_what_waits(system: ActorSystem):
    one, other = system.spawn(Trapper()), system.spawn(Probe())
    one.cast(lambda me: me.ctx.link(other))

    async def die_and_unlink(me: Probe) -> None:
        other.kill()
        await other.wait()
        me.ctx.unlink(other)

    one.cast(die_and_unlink)
    one.cast("kept")
    await turns()
    assert (await log_of(one))[1:] == ["kept"]
    third = system.spawn(Probe())
    one.cast(lambda me: me.ctx.link(third))
    await turns()
    third.cast(lambda me: me.ctx.unlink(one))
    await turns()
    third.kill()
    await third.wait()
    assert (await log_of(one))[1:] == ["kept"]


async def test_a_link_to_a_dead_actor_is_an_exit_signal_noproc(system: ActorSystem):
    dead = await system.start(Probe())
    await dead.stop()
    trapper, mortal = system.spawn(Trapper()), system.spawn(Probe())
    for ref in (trapper, mortal):
        ref.cast(lambda me: me.ctx.link(dead))
    assert await mortal.wait() == NOPROC
    assert (await log_of(trapper))[1:] == [Exit(dead, NOPROC)]


async def test_exit_normal_from_another_is_ignored_or_trapped(system: ActorSystem):
    mortal, trapper = system.spawn(Probe()), system.spawn(Trapper())
    mortal.exit(NORMAL)
    trapper.exit(NORMAL)
    assert await mortal.call(Echo("alive")) == "alive"
    assert (await log_of(trapper))[1:] == [Exit(None, NORMAL)]


async def test_exit_normal_to_oneself_ends(system: ActorSystem):
    ref = system.spawn(Probe())
    ref.cast(lambda me: me.ctx.exit(me.ctx.ref, NORMAL))
    assert await ref.wait() == NORMAL


async def test_an_exit_signal_names_its_sender(system: ActorSystem):
    sender, trapper = system.spawn(Probe()), system.spawn(Trapper())
    trapper.exit(ExitReason("hint"), sender)
    assert (await log_of(trapper))[1:] == [Exit(sender, ExitReason("hint"))]


async def test_signals_and_messages_of_one_sender_keep_their_order_at_a_trapping_actor(system: ActorSystem):
    trapper = system.spawn(Trapper())
    trapper.cast(1)
    trapper.exit(ExitReason("a"))
    trapper.info(2)
    trapper.exit(ExitReason("b"))
    trapper.cast(3)
    log = (await log_of(trapper))[1:]
    assert log == [1, Exit(None, ExitReason("a")), 2, Exit(None, ExitReason("b")), 3]


async def test_the_parents_end_ends_a_trapping_child_with_the_same_reason(system: ActorSystem):
    parent = system.spawn(Probe())
    child = system.spawn(Trapper(), link_to=parent)
    parent.cast(boom)
    assert (await child.wait()).detail == "ValueError"


async def test_a_ring_of_links_ends_once_each(system: ActorSystem):
    refs = [system.spawn(Probe()) for _ in range(50)]
    for at, ref in enumerate(refs):
        ref.cast(lambda me, other=refs[at - 1]: me.ctx.link(other))
    await turns()
    refs[7].cast(lambda me: Stop(SHUTDOWN))
    assert {await ref.wait() for ref in refs} == {SHUTDOWN}


async def test_a_chain_of_ten_thousand_links_does_not_end_in_recursion(system: ActorSystem):
    refs = [system.spawn(Probe()) for _ in range(10_000)]
    for one, other in itertools.pairwise(refs):
        one.cast(lambda me, other=other: me.ctx.link(other))
    await turns()
    refs[0].exit(ExitReason("end"))
    assert await refs[-1].wait() == ExitReason("end")


async def test_sends_to_a_dead_actor_are_silent(system: ActorSystem):
    ref = await system.start(Probe())
    await ref.stop()
    ref.cast("x")
    ref.info("x")
    ref.exit(SHUTDOWN)
    ref.kill()
    await turns()
    assert ref.exit_reason == NORMAL
    assert repr(ref).endswith("normal>")


@pytest.mark.parametrize("kind", [Probe, Trapper])
async def test_kill_can_not_be_trapped(system: ActorSystem, kind: type[Probe]):
    ref = await system.start(kind())
    ref.kill()
    assert await ref.wait() == KILLED


async def test_of_two_signals_in_one_turn_the_first_counts_also_when_the_second_says_killed(
    system: ActorSystem,
):
    ref = await system.start(Probe())
    ref.cast(lambda me: asyncio.Event().wait())  # so that its end takes a turn
    await turns()
    ref.exit(ExitReason("first"))
    ref.exit(KILLED)  # an ordinary signal: only `kill` is more
    assert await ref.wait() == ExitReason("first")
