import asyncio

from duologue.runtime import ActorSystem, ChildSpec, ChildType, DynamicSupervisor, Supervisor
from duologue.runtime.tree import draw
from tests.runtime.actors import Probe, boom, turns, worker


async def test_the_tree_is_drawn_with_mailboxes_restarts_and_the_last_crash(system: ActorSystem):
    dynamic = DynamicSupervisor()
    sup = Supervisor(
        [worker("a", name="store"), ChildSpec("d", lambda: dynamic, name="rooms", type=ChildType.SUPERVISOR)]
    )
    await system.start(sup, name="root")
    dynamic.start_child_nowait(worker("r", name="room 1"))
    store = sup.child("a")
    assert store is not None
    store.cast(boom)
    await turns()
    store = sup.child("a")
    assert store is not None
    store.cast(lambda me: asyncio.sleep(60.0))
    await turns()
    store.cast("waits")
    assert system.draw_tree().splitlines() == [
        "root (Supervisor) running, mailbox 0, handled 1, restarts 0",
        "├─ rooms (DynamicSupervisor) running, mailbox 0, handled 0, restarts 0",
        "│  └─ room 1 (Probe) running, mailbox 0, handled 0, restarts 0",
        "└─ store (Probe) waiting, mailbox 1, handled 1, restarts 1, last error: ValueError",
    ]


async def test_of_many_children_the_first_are_drawn_and_the_others_counted(system: ActorSystem):
    root = system.spawn(Probe(), name="root")
    first = system.spawn(Probe(), name="first", link_to=root)
    for parent in (root, root, first, first):
        system.spawn(Probe(), link_to=parent)
    await turns()
    drawn = [line.partition(" (")[0] for line in draw(system.tree(), children_max=1).splitlines()]
    assert drawn[:2] == ["root", "├─ first"]
    assert drawn[2].startswith("│  ├─ Probe-")
    assert drawn[3:] == ["│  └─ … and 1 more", "└─ … and 2 more"]
    assert draw(system.tree(), children_max=0).splitlines()[1:] == ["└─ … and 3 more"]
    assert draw(system.tree(), children_max=3) == system.draw_tree()


async def test_the_tree_is_made_of_values(system: ActorSystem):
    root = system.spawn(Probe())
    system.spawn(Probe(), link_to=root)
    (before,) = system.tree()
    assert (before.kind, before.state, len(before.children)) == ("Probe", "starting", 1)
    await turns()
    (after,) = system.tree()
    assert after.state == "running"
    assert before.state == "starting"


async def test_an_actor_whose_parent_ended_is_shown_as_a_root(system: ActorSystem):
    root = system.spawn(Probe())
    child = system.spawn(Probe(), link_to=root)
    await root.stop()
    assert [node.name for node in system.tree()] == [child.name]
