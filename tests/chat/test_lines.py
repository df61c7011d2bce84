import asyncio
import os
import threading

import pytest

from duologue.chat.lines import Lines, PipeLines


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)


async def test_lines_of_a_pipe_come_one_by_one_and_the_last_needs_no_end(pipe):
    read, write = pipe
    os.write(write, "eins\r\nzwei ü\n\nvier".encode())
    os.close(write)
    lines = PipeLines(read)
    assert [await lines.next() for _ in range(6)] == ["eins", "zwei ü", "", "vier", None, None]


async def test_bytes_that_are_no_text_are_replaced_and_not_fatal(pipe):
    read, write = pipe
    os.write(write, b"a\xffb\n")
    os.close(write)
    assert await PipeLines(read).next() == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_line_that_comes_in_pieces_is_one_line(pipe):
    read, write = pipe
    line = asyncio.create_task(PipeLines(read).next())
    await asyncio.sleep(0)
    os.write(write, b"half ")
    os.write(write, b"a line\n")
    assert await line == "half a line"
    os.close(write)


async def test_a_read_that_is_left_behind_hurts_nobody(pipe):
    read, write = pipe
    lines = PipeLines(read)
    waiting = asyncio.create_task(lines.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(write)
    # The thread still reads; the fixture must not close the other end under it.
    for thread in threading.enumerate():
        if thread.name == "duologue-chat-input":
            thread.join(5)


async def test_the_loop_is_free_while_a_line_is_waited_for(pipe):
    read, write = pipe
    ticks = 0
    line = asyncio.create_task(Lines(lambda: os.read(read, 10).decode()).next())
    while not line.done():
        ticks += 1
        if ticks == 5:
            os.write(write, b"now")
        await asyncio.sleep(0)
    assert await line == "now"
    assert ticks >= 5
    os.close(write)
