"""A write seen through: confirmed, settled, or told to be in trouble."""

import asyncio
from typing import Any

import pytest

from duologue.dialogue.commit import Applied, Troubled, Withdrawn, commit, commit_or_settle
from duologue.errors import Moved, StoreUnavailable
from duologue.messages import DialogueId, DialogueMeta, Position, TurnId
from duologue.store.memory import MemoryStore
from duologue.store.port import AttemptBegan, Created, HeadUpdate, Write
from tests.dialogue.builders import DIALOGUE, EPOCH

META = DialogueMeta("f", None, None, None, {}, 1.0)


class LosesReplies(MemoryStore):
    """A store whose next reply to an append is lost, after or before it was carried out."""

    __slots__ = ("carried_out", "lost")

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self.carried_out = True

    async def append(self, write: Write) -> int:
        if not self.lost:
            return await super().append(write)
        self.lost -= 1
        if self.carried_out:
            await super().append(write)
        raise StoreUnavailable("the reply was lost")


async def made(store: MemoryStore) -> tuple[Created, Write]:
    created = await store.create(DIALOGUE, "n1", META, Position(EPOCH, 0))
    head = HeadUpdate(Position(EPOCH, 0), None, 1.0, "")
    return created, Write(DIALOGUE, created.head.owner, "w1", 0, (AttemptBegan(TurnId("t"), 2),), head)


async def log_length(store: MemoryStore) -> int:
    return len(await store.read(DIALOGUE))


def settle(store: MemoryStore, write: Write, told: list[Any]) -> Any:
    return commit_or_settle(store, write, new_nonce=lambda: "n2", tell=told.append)


async def test_a_write_that_must_be_is_repeated_until_it_is_confirmed_once() -> None:
    store = LosesReplies()
    _, write = await made(store)
    store.lost = 2
    told: list[Troubled] = []
    assert await commit(store, write, tell=told.append) == Applied(write, write.owner)
    assert await log_length(store) == 1
    assert [trouble.write for trouble in told] == [write]


async def test_a_lost_reply_to_a_write_that_happened_is_found_out() -> None:
    store = LosesReplies()
    _, write = await made(store)
    store.lost = 1
    told: list[Troubled] = []
    result = await settle(store, write, told)
    assert isinstance(result, Applied)
    assert (result.owner.term, result.owner.nonce) == (2, "n2")
    assert len(told) == 1


async def test_a_lost_request_is_fenced_out_for_ever() -> None:
    store = LosesReplies()
    _, write = await made(store)
    store.lost, store.carried_out = 1, False
    result = await settle(store, write, [])
    assert isinstance(result, Withdrawn)
    with pytest.raises(Moved):
        await store.append(write)
    assert await log_length(store) == 0


async def test_a_write_that_was_never_sent_is_withdrawn_without_another_look() -> None:
    store = MemoryStore()
    created, write = await made(store)
    store.outage = "down"
    told: list[Troubled] = []
    result = await settle(store, write, told)
    assert isinstance(result, Withdrawn)
    assert result.owner == created.head.owner
    assert told == []


async def test_settling_waits_for_the_store_to_come_back() -> None:
    store = LosesReplies()
    _, write = await made(store)
    store.lost = 1
    told: list[Troubled] = []

    def cut(trouble: Troubled) -> None:
        told.append(trouble)
        store.outage = "down"

    waiting = asyncio.create_task(commit_or_settle(store, write, new_nonce=lambda: "n2", tell=cut))
    while not told:
        await asyncio.sleep(0)
    store.outage = None
    assert isinstance(await waiting, Applied)


async def test_a_deleted_or_stolen_dialogue_is_somebody_else_s() -> None:
    store = LosesReplies()
    _, write = await made(store)
    await store.delete(DialogueId(DIALOGUE))
    with pytest.raises(Moved):
        await settle(store, write, [])
    store.lost, store.carried_out = 1, False
    with pytest.raises(Moved, match="deleted"):
        await settle(store, write, [])
