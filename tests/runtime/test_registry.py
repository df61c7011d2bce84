import asyncio
from typing import Any

import pytest

from duologue.runtime import (
    SHUTDOWN,
    ActorSystem,
    AlreadyRegistered,
    Down,
    NoProc,
    Ref,
    Registered,
    Registry,
    SharedRegistry,
    Unregistered,
)
from tests.runtime.actors import Do, Probe, boom, log_of, turns


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


# Values, listeners, locks.


async def test_a_name_may_have_a_value_that_goes_with_it(system: ActorSystem):
    registry: Registry[str] = Registry()
    ref = await system.start(Probe())
    registry.register("x", ref, value=1)
    registry.register("x", ref, value=2)
    assert registry.value("x") == 2
    registry.set_value("x", 3)
    assert registry.value("x") == 3
    registry.unregister("x")
    assert registry.value("x") is None
    registry.register("x", ref, value=5)
    await ref.stop()
    assert registry.value("x") is None
    with pytest.raises(NoProc):
        registry.set_value("x", 4)


async def test_listeners_hear_of_names_before_those_who_watch_the_actor(system: ActorSystem):
    listener, ref = await system.start(Probe()), await system.start(Probe())
    registry: Registry[str] = Registry([listener])
    registry.register("a", ref, value=7)
    registry.register("a", ref)
    registry.register("b", ref)
    registry.unregister("b")
    listener.cast(lambda me: me.ctx.monitor(ref) and None)
    await turns()
    ref.kill()
    await turns()
    log = (await log_of(listener))[1:]
    assert log[:4] == [
        Registered("a", ref, 7),
        Registered("b", ref),
        Unregistered("b", ref),
        Unregistered("a", ref),
    ]
    assert type(log[4]) is Down


async def test_a_lock_is_held_by_one_at_a_time_in_the_order_of_asking(system: ActorSystem):
    registry: Registry[str] = Registry()
    log: list[str] = []

    async def work(name: str, key: str) -> None:
        async with registry.lock(key):
            log.append(f"{name} in")
            await asyncio.sleep(1.0)
            log.append(f"{name} out")

    await asyncio.gather(work("a", "x"), work("b", "x"), work("c", "y"))
    assert [entry for entry in log if "c" not in entry] == ["a in", "a out", "b in", "b out"]
    assert log.index("c in") < log.index("a out")
    assert not registry._locks


async def test_a_lock_is_given_up_when_its_holder_raises_or_ends_and_when_a_waiter_does(system: ActorSystem):
    registry: Registry[str] = Registry()

    async def hold(me: Probe) -> None:
        async with registry.lock("x"):
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        async with registry.lock("x"):
            raise ZeroDivisionError
    holder, waiter = system.spawn(Probe()), system.spawn(Probe())
    holder.cast(hold)
    await turns()
    waiter.cast(lambda me: me.ctx.spawn(hold(me)) and None)
    await turns()
    waiter.kill()
    await waiter.wait()
    holder.kill()
    await holder.wait()
    async with registry.lock("x"):
        pass
    assert not registry._locks


# Names that many share.


async def test_many_actors_may_share_a_name_and_go_one_by_one(system: ActorSystem):
    registry: SharedRegistry[str] = SharedRegistry()
    one, two = await system.start(Probe()), await system.start(Probe())
    registry.register("room", one, value="first")
    registry.register("room", two)
    registry.register("room", one, value="changed")
    registry.register("other", one)
    assert registry.lookup("room") == [(one, "changed"), (two, None)]
    assert (len(registry), registry.names(), "room" in registry) == (3, ["room", "other"], True)
    await one.stop()
    assert registry.lookup("room") == [(two, None)]
    registry.unregister("room", two)
    registry.unregister("room", two)
    assert (len(registry), registry.names()) == (0, [])
    with pytest.raises(NoProc):
        registry.register("room", one)


async def test_dispatch_reaches_each_and_survives_a_failure(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
):
    registry: SharedRegistry[str] = SharedRegistry()
    refs = [await system.start(Probe()) for _ in range(3)]
    for number, ref in enumerate(refs):
        registry.register("room", ref, number)

    def each(ref: Ref[Any], number: int) -> None:
        if number == 1:
            raise ValueError("a private text")
        ref.cast(number)

    assert registry.dispatch("room", each) == 3
    assert [(await log_of(ref))[1:] for ref in refs] == [[0], [], [2]]
    assert "dispatch of" in caplog.text
    assert "private" not in caplog.text
    assert registry.dispatch("nobody", each) == 0


async def test_listeners_of_shared_names(system: ActorSystem):
    listener, ref = await system.start(Probe()), await system.start(Probe())
    registry: SharedRegistry[str] = SharedRegistry([listener])
    registry.register("room", ref, 1)
    registry.register("room", ref, 2)
    ref.kill()
    await ref.wait()
    assert (await log_of(listener))[1:] == [Registered("room", ref, 1), Unregistered("room", ref)]
