import asyncio

import pytest

from duologue.client.stream import Stream
from duologue.errors import Conflict


def event(seq):
    return {"event": "turn.delta", "dialogue": "d1", "epoch": "e", "seq": seq}


async def test_a_full_stream_refuses_and_is_no_longer_attached():
    stream = Stream(2)
    stream.attach()
    assert [stream.push(event(n)) for n in (1, 2, 3)] == [True, True, False]
    assert not stream.attached
    assert [(await stream.next())["seq"] for _ in range(2)] == [1, 2]
    assert await stream.next() is None


async def test_what_was_taken_is_read_before_the_error_that_ends_it():
    stream = Stream(2)
    stream.attach()
    stream.push(event(1))
    stream.end(Conflict("taken over"))
    assert (await stream.next())["seq"] == 1
    with pytest.raises(Conflict):
        await stream.next()


async def test_a_waiting_reader_wakes_for_an_event_and_for_the_loss_of_the_link():
    stream = Stream(2)
    stream.attach()
    reader = asyncio.create_task(stream.next())
    await asyncio.sleep(0)
    stream.push(event(1))
    assert (await reader)["seq"] == 1
    reader = asyncio.create_task(stream.next())
    await asyncio.sleep(0)
    stream.detach()
    assert await reader is None
