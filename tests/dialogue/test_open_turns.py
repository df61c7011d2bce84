"""Waiting for running turns."""

import asyncio

from duologue.dialogue.open_turns import OpenTurns
from duologue.messages import DialogueId

A, B = DialogueId("a"), DialogueId("b")


async def test_with_nothing_under_way_it_is_settled_at_once() -> None:
    assert await OpenTurns().settled(0) is True


async def test_it_is_settled_when_the_last_turn_ends() -> None:
    turns = OpenTurns()
    turns.add(A)
    turns.add(B)
    waiting = asyncio.create_task(turns.settled(5))
    await asyncio.sleep(0)
    turns.discard(A)
    await asyncio.sleep(0)
    assert not waiting.done()
    turns.discard(B)
    assert await waiting is True


async def test_a_turn_that_begins_meanwhile_is_waited_for_too() -> None:
    turns = OpenTurns()
    turns.add(A)
    waiting = asyncio.create_task(turns.settled(5))
    await asyncio.sleep(0)
    turns.discard(A)
    turns.add(B)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    turns.discard(B)
    assert await waiting is True


async def test_it_gives_up_after_its_time() -> None:
    turns = OpenTurns()
    turns.add(A)
    assert await turns.settled(0.001) is False
    assert len(turns) == 1
