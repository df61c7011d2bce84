import pytest

from duologue.runtime import (
    ActorSystem,
    ChildType,
    DynamicSupervisor,
    NoProc,
    PartitionSupervisor,
    Restart,
    StartFailed,
)
from tests.runtime.actors import Do, Echo, Flaky, Probe, boom, turns, worker


def _numbered(number: int) -> Probe:
    probe = Probe()
    probe.state = number
    return probe


WHICH = Do(lambda me, _: me.state)


async def test_a_key_has_one_partition_and_keys_are_spread(system: ActorSystem):
    sup = PartitionSupervisor(_numbered, partitions=4)
    await system.start(sup)
    assert [await sup.via(key).call(WHICH) for key in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert {sup.number(f"dialogue-{number}") for number in range(100)} == {0, 1, 2, 3}
    assert sup.number("dialogue-1") == 1  # the same in each process
    assert sup.number(b"dialogue-1") == 1
    assert 0 <= sup.number(("a", 1)) < 4
    assert sup.partition(2).state == 2


async def test_a_partition_that_crashes_is_restarted_alone_and_found_again(system: ActorSystem):
    sup = PartitionSupervisor(_numbered, partitions=2)
    await system.start(sup)
    via, before, other = sup.via(1), sup.partition(1), sup.partition(0)
    via.cast(boom)
    await turns(100)
    assert await via.call(WHICH) == 1
    assert sup.partition(1) is not before
    assert sup.partition(0) is other


async def test_dynamic_supervisors_behind_it_start_children_apart(system: ActorSystem):
    sup = PartitionSupervisor(
        lambda number: DynamicSupervisor(max_children=1), partitions=2, type=ChildType.SUPERVISOR
    )
    await system.start(sup)
    for key in (0, 1):
        ref = sup.partition(key).start_child_nowait(worker("x", restart=Restart.TEMPORARY))
        assert await ref.call(Echo()) == "hello"
    assert [len(sup.partition(key)) for key in (0, 1)] == [1, 1]


async def test_it_can_be_resized_down_to_nothing_and_up_to_what_it_was(system: ActorSystem):
    sup = PartitionSupervisor(_numbered, partitions=4)
    await system.start(sup)
    assert await sup.resize(2) == 4
    assert [await sup.via(key).call(WHICH) for key in range(4)] == [0, 1, 0, 1]
    assert sup.count_children().active == sup.partitions == 2
    assert await sup.resize(0) == 2
    with pytest.raises(NoProc):
        await sup.via(1).call(Echo())
    with pytest.raises(NoProc):
        sup.partition(1)
    assert await sup.resize(4) == 0
    assert [await sup.via(key).call(WHICH) for key in range(4)] == [0, 1, 2, 3]
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match="0 to 4"):
            await sup.resize(wrong)


async def test_a_partition_that_does_not_start_again_leaves_the_keys_with_those_before_it(
    system: ActorSystem,
):
    flaky = Flaky()
    sup = PartitionSupervisor(lambda number: Probe(on_init=flaky), partitions=3)
    await system.start(sup)
    await sup.resize(1)
    flaky.failures = 1
    with pytest.raises(StartFailed):
        await sup.resize(3)
    assert sup.partitions == 1
    assert await sup.via(2).call(Echo()) == "hello"


async def test_without_a_supervisor_there_is_nobody(system: ActorSystem):
    sup = PartitionSupervisor(_numbered, partitions=2)
    for _ in range(2):
        with pytest.raises(NoProc):
            sup.partition("x")
        with pytest.raises(NoProc):
            await sup.via("x").call(Echo())
        ref = await system.start(sup) if not hasattr(sup, "ctx") else None
        if ref is not None:
            await ref.stop()


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="partitions must be 1 or more"):
        PartitionSupervisor(_numbered, partitions=0)
