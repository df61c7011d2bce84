import asyncio

import orjson
import pytest

from benchmarks.processes import read_http
from benchmarks.sockets import DirectCall, read_chunked
from benchmarks.upstream import Schedule, Script, parse_path
from benchmarks.workload import answer, build_prompt, rotation_of
from tests.benchmarks.streams import running_upstream


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 500])
def test_a_flood_says_the_same_as_single_tokens(tokens):
    by_block, by_token = Script(5, tokens), Script(5, tokens)
    blocks, single = by_block.start(), by_token.start()
    while by_block.left:
        blocks += by_block.next_block()
    while by_token.left:
        single += by_token.next_token()
    assert blocks == single
    assert read_chunked(blocks) == answer(5, tokens)


def test_paths_name_the_mode():
    assert parse_path("/flood/100/v1/chat/completions") == (None, 100)
    assert parse_path("/paced/50/400/v1/chat/completions") == (50.0, 400)
    for wrong in ("/", "/v1/chat/completions", "/flood/many", "/paced/50"):
        with pytest.raises(ValueError):
            parse_path(wrong)


class Stream:
    active = True


def test_lateness_does_not_add_up():
    schedule, stream = Schedule(), Stream()
    schedule.add(stream, now=0.0, interval=0.02)
    written = sum(len(list(schedule.take_due(now))) for now in (0.0213, 0.0447, 0.0619, 0.2, 1.001))
    assert written == 50, "all that were due within a second, however late the ticks came"
    assert schedule.next_due() == pytest.approx(1.02)


def test_streams_that_start_together_are_spread_over_the_interval():
    schedule = Schedule()
    for _ in range(200):
        schedule.add(Stream(), now=0.0, interval=0.02)
    per_millisecond = [len(list(schedule.take_due(0.02 + 0.001 * tick - 1e-6))) for tick in range(1, 21)]
    assert sum(per_millisecond) == 200
    assert max(per_millisecond) <= 15, per_millisecond


def test_tokens_that_come_late_are_counted():
    schedule = Schedule()
    schedule.add(Stream(), now=0.0, interval=0.02)
    list(schedule.take_due(0.03))
    assert schedule.late == 0
    list(schedule.take_due(0.09))
    assert schedule.late == 2, "those due at 40 and 60 ms; those of the last interval are in time"
    assert schedule.worst == pytest.approx(0.05)


def test_a_stream_that_ended_drops_out():
    schedule, stream = Schedule(), Stream()
    schedule.add(stream, now=0.0, interval=0.02)
    for taken in schedule.take_due(0.02):
        taken.active = False
    assert schedule.next_due() is None


@pytest.mark.parametrize("path", ["/flood/1000", "/paced/5000/40"])
async def test_a_call_gets_the_whole_answer_and_the_upstream_counts_it(path):
    tokens = int(path.rsplit("/", 1)[1])
    async with running_upstream() as port:
        loop = asyncio.get_running_loop()
        _, call = await loop.create_connection(lambda: DirectCall("test"), "127.0.0.1", port)
        for number in (3, 130):  # the connection is used again
            assert await call.ask(path, build_prompt(number)) == answer(rotation_of(number), tokens)
            assert call.first_token is not None
        status, body = await read_http(port, "/stats")
        call.close()
    assert status == 200
    assert orjson.loads(body)["tokens"] == 2 * tokens


async def test_an_unknown_path_is_refused():
    async with running_upstream() as port:
        status, _ = await read_http(port, "/v1/chat/completions")
    assert status == 404


def test_a_stream_that_was_cut_is_no_answer():
    script = Script(0, 10)
    cut = script.start() + script.next_token() + b"0\r\n\r\n"
    with pytest.raises(AssertionError, match="cut"):
        read_chunked(cut)
