import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, Literal

import pytest
from redis.exceptions import NoScriptError, ResponseError

from duologue.errors import StoreUnavailable
from duologue.store.bundled import BundledServer
from duologue.store.connections import connector
from duologue.store.lane import BATCH_BYTES_MAX, Lane, pack_command
from tests.store.fault_proxy import FaultProxy


def _lane(url: str, *, timeout: float = 0.3, pause: float = 0.05) -> Lane:
    return Lane("test", connector(url, connect_timeout=timeout), timeout=timeout, pause=pause)


@pytest.fixture
async def lane(proxy: FaultProxy) -> AsyncIterator[Lane]:
    """A connected lane with the proxy in between."""
    lane = _lane(proxy.url)
    await lane.call(pack_command("PING"))
    yield lane
    await lane.close()
    assert asyncio.all_tasks() - proxy.tasks == {asyncio.current_task()}


async def _failure(call: Awaitable[Any]) -> tuple[str, Literal["no", "unknown"]]:
    with pytest.raises(StoreUnavailable) as caught:
        await call
    return str(caught.value), caught.value.applied


async def _until_tried_again(lane: Lane) -> None:
    """Ask until the lane's pause is over and the server answers."""
    async with asyncio.timeout(5):
        while True:
            try:
                await lane.call(pack_command("PING"))
            except StoreUnavailable:
                await asyncio.sleep(0)
            else:
                return


def test_a_command_is_packed_as_the_protocol_says() -> None:
    packed = pack_command("SET", b"\xff\r\n", "é", -12)
    assert packed == b"*4\r\n$3\r\nSET\r\n$3\r\n\xff\r\n\r\n$2\r\n\xc3\xa9\r\n$3\r\n-12\r\n"


async def test_replies_come_in_the_order_of_the_commands(lane: Lane, prefix: str) -> None:
    replies = await lane.call(
        pack_command("SET", prefix, "x"),
        pack_command("GET", prefix),
        pack_command("LRANGE", f"{prefix}l", 0, -1),
    )
    assert replies == [b"OK", b"x", []]


async def test_a_refused_command_is_a_value_and_does_not_disturb_its_neighbours(lane: Lane) -> None:
    first, second, third = await lane.call(
        pack_command("NO-SUCH-COMMAND"), pack_command("EVALSHA", "0" * 40, 0), pack_command("PING")
    )
    assert isinstance(first, ResponseError)
    assert isinstance(second, NoScriptError)
    assert third == b"PONG"


async def test_what_comes_while_a_batch_is_in_flight_goes_out_together(lane: Lane, proxy: FaultProxy) -> None:
    proxy.replies.clear()
    first = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    before = proxy.requests_seen
    calls = [asyncio.ensure_future(lane.call(pack_command("ECHO", i))) for i in range(100)]
    proxy.replies.set()
    assert await asyncio.gather(*calls) == [[str(i).encode()] for i in range(100)]
    assert proxy.requests_seen == before + 1
    await first


async def test_a_batch_takes_no_more_than_its_bytes(lane: Lane, proxy: FaultProxy) -> None:
    value = "x" * (BATCH_BYTES_MAX // 2)
    calls = [lane.call(pack_command("ECHO", value)) for _ in range(6)]
    assert [len(reply[0]) for reply in await asyncio.gather(*calls)] == [len(value)] * 6


async def test_there_is_no_task_while_nothing_waits(lane: Lane, proxy: FaultProxy) -> None:
    await lane.call(pack_command("PING"))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - proxy.tasks == {asyncio.current_task()}


async def test_an_answer_that_does_not_come_is_unknown_after_the_timeout(
    lane: Lane, proxy: FaultProxy
) -> None:
    proxy.replies.clear()
    began = time.monotonic()
    reason, applied = await _failure(lane.call(pack_command("PING")))
    assert 0.25 < time.monotonic() - began < 1.0
    assert applied == "unknown"
    assert "0.3 s" in reason
    proxy.replies.set()
    await _until_tried_again(lane)
    assert proxy.connections == 2


async def test_what_waited_behind_a_lost_batch_was_certainly_not_sent(lane: Lane, proxy: FaultProxy) -> None:
    proxy.replies.clear()
    sent = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    waiting = asyncio.ensure_future(lane.call(pack_command("PING")))
    await asyncio.sleep(0)
    await proxy.cut()
    assert (await _failure(sent))[1] == "unknown"
    assert (await _failure(waiting))[1] == "no"
    assert proxy.connections == 1


async def test_a_reply_that_comes_after_its_timeout_is_nobodys(lane: Lane, proxy: FaultProxy) -> None:
    proxy.replies.clear()
    assert (await _failure(lane.call(pack_command("ECHO", "late"))))[1] == "unknown"
    async with asyncio.timeout(5):
        while True:
            call = asyncio.ensure_future(lane.call(pack_command("ECHO", "mine")))
            await asyncio.wait({call}, timeout=0.02)
            if not call.done():  # it is on its way, and the late reply is not
                break
            assert (await _failure(call))[1] == "no"  # still in its pause
        proxy.replies.set()
        assert await call == [b"mine"]
    assert proxy.connections == 2


async def test_a_lost_reply_is_unknown_and_nothing_is_sent_twice(
    lane: Lane, proxy: FaultProxy, prefix: str
) -> None:
    proxy.lose_next_reply = True
    assert (await _failure(lane.call(pack_command("INCR", prefix))))[1] == "unknown"
    await _until_tried_again(lane)
    assert await lane.call(pack_command("GET", prefix)) == [b"1"]


async def test_replies_before_the_connection_broke_count(lane: Lane, proxy: FaultProxy) -> None:
    proxy.replies.clear()
    first = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    small = asyncio.ensure_future(lane.call(pack_command("ECHO", "small")))
    large = asyncio.ensure_future(lane.call(pack_command("ECHO", "x" * 300_000)))
    proxy.cut_after_bytes = 200_000
    proxy.replies.set()
    await first
    assert await small == [b"small"]
    assert (await _failure(large))[1] == "unknown"


async def test_while_it_is_known_to_be_down_it_fails_at_once_and_then_tries_again(
    lane: Lane, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    await proxy.refuse()
    with caplog.at_level(logging.INFO, "duologue.store.lane"):
        outcomes = [await _failure(lane.call(pack_command("PING"))) for _ in range(200)]
        assert {applied for _, applied in outcomes} == {"no"}
        await proxy.listen()
        await _until_tried_again(lane)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert str(proxy.url) not in caplog.text


async def test_it_does_not_knock_while_it_pauses(proxy: FaultProxy) -> None:
    lane = _lane(proxy.url, pause=60.0)
    await lane.call(pack_command("PING"))
    proxy.lose_next_reply = True
    assert (await _failure(lane.call(pack_command("PING"))))[1] == "unknown"
    for _ in range(100):
        assert (await _failure(lane.call(pack_command("PING"))))[1] == "no"
    assert proxy.connections == 1
    await lane.close()


async def test_a_connection_that_ended_while_idle_is_replaced_before_anything_is_sent(
    lane: Lane, proxy: FaultProxy
) -> None:
    await proxy.cut()
    assert await lane.call(pack_command("PING")) == [b"PONG"]
    assert proxy.connections == 2


async def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(
    valkey: BundledServer, tmp_path: Path
) -> None:
    async with FaultProxy(valkey.url, tmp_path / "mute.sock") as mute:
        mute.requests.clear()
        lane = _lane(mute.url)
        began = time.monotonic()
        outcomes = await asyncio.gather(*(_failure(lane.call(pack_command("PING"))) for _ in range(50)))
        assert time.monotonic() - began < 1.0
        assert {applied for _, applied in outcomes} == {"no"}
        mute.requests.set()
        await _until_tried_again(lane)
        await lane.close()


async def test_garbage_ends_the_connection_and_not_the_lane(lane: Lane, proxy: FaultProxy) -> None:
    proxy.garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert (await _failure(lane.call(pack_command("PING"))))[1] == "unknown"
    await _until_tried_again(lane)


async def test_cancelled_callers_never_get_or_cause_a_wrong_reply(lane: Lane, proxy: FaultProxy) -> None:
    """Replies come in small pieces; callers are cancelled before, while and after theirs is in flight."""
    chance = random.Random(42)
    proxy.reply_chunk = 7
    cancelled = right = 0

    async def echo(number: int) -> None:
        nonlocal right
        assert await lane.call(pack_command("ECHO", number)) == [str(number).encode()]
        right += 1

    for first in range(0, 2_000, 50):
        calls = [asyncio.ensure_future(echo(first + i)) for i in range(50)]
        for call in chance.sample(calls, 25):
            for _ in range(chance.choice((0, 0, 0, 1, 5))):
                await asyncio.sleep(0)
            cancelled += call.cancel()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert cancelled > 400
    assert right >= 1_000
    assert proxy.connections == 1


async def test_a_caller_that_was_cancelled_while_it_waited_is_not_sent(
    lane: Lane, proxy: FaultProxy, prefix: str
) -> None:
    proxy.replies.clear()
    first = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    given_up = asyncio.ensure_future(lane.call(pack_command("INCR", prefix)))
    await asyncio.sleep(0)
    given_up.cancel()
    proxy.replies.set()
    await first
    assert await lane.call(pack_command("GET", prefix)) == [None]


async def test_what_has_waited_for_longer_than_the_timeout_is_not_sent(lane: Lane) -> None:
    call = asyncio.ensure_future(lane.call(pack_command("PING")))
    asyncio.get_running_loop().call_soon(lane._take, asyncio.get_running_loop().time() + 0.5)
    reason, applied = await _failure(call)
    assert "not sent" in reason
    assert applied == "no"


async def test_more_than_may_wait_is_refused(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.store.lane.WAITING_MAX", 3)
    lane = _lane(proxy.url)
    calls = [asyncio.ensure_future(lane.call(pack_command("PING"))) for _ in range(4)]
    assert (await _failure(calls[3]))[1] == "no"
    assert await asyncio.gather(*calls[:3]) == [[b"PONG"]] * 3
    await lane.close()


async def test_closing_refuses_what_waits_and_lets_what_is_in_flight_end(
    lane: Lane, proxy: FaultProxy
) -> None:
    proxy.replies.clear()
    sent = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    waiting = asyncio.ensure_future(lane.call(pack_command("PING")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(lane.close())
    assert (await _failure(waiting))[1] == "no"
    proxy.replies.set()
    assert await sent == [b"PONG"]
    await closing
    assert (await _failure(lane.call(pack_command("PING"))))[1] == "no"


async def test_a_lane_whose_task_is_cancelled_from_outside_leaves_nobody_waiting(
    lane: Lane, proxy: FaultProxy
) -> None:
    proxy.replies.clear()
    sent = asyncio.ensure_future(lane.call(pack_command("PING")))
    await proxy.reply_held.wait()
    waiting = asyncio.ensure_future(lane.call(pack_command("PING")))
    await asyncio.sleep(0)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "duologue-store-test")
    task.cancel()
    assert (await _failure(sent))[1] == "unknown"
    assert (await _failure(waiting))[1] == "no"
    proxy.replies.set()


async def test_a_cast_is_sent_and_its_failure_is_nobodys(lane: Lane, proxy: FaultProxy, prefix: str) -> None:
    lane.cast(pack_command("SET", prefix, "cast"))
    assert await lane.call(pack_command("GET", prefix)) == [b"cast"]
    await proxy.refuse()
    lane.cast(pack_command("SET", prefix, "lost"))
    await _failure(lane.call(pack_command("PING")))
