from typing import Any

import pytest

from duologue.runtime import SHUTDOWN, ActorSystem, AlreadyRegistered, NoProc, Registry
from tests.runtime.actors import Do, Probe, boom, turns


async def test_a_name_finds_its_actor_until_that_ends(system: ActorSystem):
    ref = system.spawn(Probe(), name="mine")
    assert system.whereis("mine") is ref
    assert (ref.name, list(system.registry), "mine" in system.registry) == ("mine", ["mine"], True)
    await ref.stop()
    assert system.whereis("mine") is None
    assert len(system.registry) == 0


async def test_a_taken_name_is_refused_and_says_by_whom(system: ActorSystem):
    ref = system.spawn(Probe(), name="mine")
    with pytest.raises(AlreadyRegistered, match="mine") as refused:
        system.spawn(Probe(), name="mine")
    assert refused.value.ref is ref
    assert system.statistics().actors == 1


async def test_who_hears_of_the_end_can_take_the_name_at_once(system: ActorSystem):
    first = system.spawn(Probe(), name="mine")
    taken: list[Any] = []
    watcher = system.spawn(Probe(on_info=lambda me, down: taken.append(system.spawn(Probe(), name="mine"))))
    watcher.cast(lambda me: me.ctx.monitor(first) and None)
    await turns()
    first.cast(boom)
    await turns()
    assert system.whereis("mine") is taken[0]


async def test_a_registry_of_ones_own_takes_any_key_and_many_names_of_one_actor(system: ActorSystem):
    registry: Registry[tuple[str, int]] = Registry()
    ref = system.spawn(Probe())
    registry.register(("room", 1), ref)
    registry.register(("room", 2), ref)
    registry.register(("room", 2), ref)
    assert registry.names() == [("room", 1), ("room", 2)]
    registry.unregister(("room", 1))
    registry.unregister(("room", 1))
    assert registry.whereis(("room", 1)) is None
    ref.exit(SHUTDOWN)
    await ref.wait()
    assert registry.names() == []


async def test_a_name_that_was_given_up_is_not_taken_away_from_the_next_holder(system: ActorSystem):
    registry: Registry[str] = Registry()
    one, other = system.spawn(Probe()), system.spawn(Probe())
    registry.register("x", one)
    registry.unregister("x")
    registry.register("x", other)
    await one.stop()
    assert registry.whereis("x") is other


async def test_the_dead_get_no_names(system: ActorSystem):
    ref = await system.start(Probe())
    await ref.stop()
    with pytest.raises(NoProc):
        Registry[str]().register("late", ref)


async def test_an_actor_that_is_terminating_still_has_its_name(system: ActorSystem):
    seen: list[Any] = []
    ref = system.spawn(
        Probe(on_terminate=lambda me, reason: seen.append(system.whereis("mine"))), name="mine"
    )
    await ref.stop()
    assert seen == [ref]


async def test_a_thousand_names_go_with_their_owner(system: ActorSystem):
    registry: Registry[int] = Registry()
    ref = system.spawn(Probe())
    for number in range(1000):
        registry.register(number, ref)
    await ref.call(Do(lambda me, _: None))
    ref.kill()
    await ref.wait()
    assert len(registry) == 0
