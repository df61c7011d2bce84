import pytest

from duologue.errors import RecordCorrupt, StoreUnavailable
from duologue.store.memory import MemoryState, MemoryStore
from tests.store.builders import Writer


async def test_a_second_store_on_the_same_state_goes_on_where_the_first_stopped() -> None:
    state = MemoryState()
    first = MemoryStore(state)
    writer = await Writer.create(first)
    await writer.say("before the restart")
    await writer.open_turn()
    await first.close()
    second = MemoryStore(state)
    await second.open()
    assert await second.open_turns() == [writer.dialogue]
    head = await second.claim(writer.dialogue, "second")
    assert head is not None
    assert await Writer(second, head).say("after it") == 3


async def test_stores_of_different_states_share_nothing() -> None:
    writer = await Writer.create(MemoryStore())
    assert await MemoryStore().read_head(writer.dialogue) is None


async def test_an_outage_refuses_everything_until_it_is_over() -> None:
    store = MemoryStore()
    writer = await Writer.create(store)
    store.outage = "The store is having a nap."
    with pytest.raises(StoreUnavailable, match="nap") as caught:
        await writer.say("lost")
    assert caught.value.applied == "no"
    with pytest.raises(StoreUnavailable):
        await store.ping()
    store.outage = None
    assert await writer.say("kept") == 1


async def test_damage_is_found_when_it_is_read_and_left_as_it_is() -> None:
    store = MemoryStore()
    fine, damaged = await Writer.create(store), await Writer.create(store)
    await damaged.open_turn()
    stored = store.state.dialogues[damaged.dialogue]
    stored.log[0] = stored.log[0][:-1]
    with pytest.raises(RecordCorrupt):
        await damaged.texts()
    stored.state = b"\x02"
    with pytest.raises(RecordCorrupt):
        await store.claim(damaged.dialogue, "n")
    assert [row.dialogue for row in (await store.list_dialogues()).rows] == [fine.dialogue]
    assert await store.open_turns() == [damaged.dialogue]
    assert stored.state == b"\x02"
