import asyncio
import os
import random
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from duologue.errors import DuologueError, LogConflict, Moved, RecordCorrupt, StoreUnavailable
from duologue.messages import DialogueStatus, MessageId
from duologue.store.bundled import BundledServer
from duologue.store.connections import connector
from duologue.store.lane import Lane, pack_command
from duologue.store.redis import RedisStore
from tests.store.builders import META, START, Writer, new_id, queued, state
from tests.store.fault_proxy import FaultProxy

_DAY_MS = 86_400_000


async def _ask(url: str, *words: str | bytes | int) -> Any:
    """One command, past the store."""
    lane = Lane("test", connector(url, connect_timeout=5.0), timeout=5.0)
    try:
        (reply,) = await lane.call(pack_command(*words))
        assert not isinstance(reply, Exception), str(reply)
        return reply
    finally:
        await lane.close()


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledServer]:
    """A server that tests may reconfigure, stop and confuse; each puts it right again."""
    server = BundledServer(tmp_path_factory.mktemp("spare"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def spare_store(spare: BundledServer, prefix: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(spare.url, prefix=prefix)
    await store.open()
    yield store
    await store.close()


async def _until_it_serves(store: RedisStore, *, within: float = 2.0) -> None:
    async with asyncio.timeout(within):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.001)


# ── replies that are lost, late or cancelled ────────────────────────────────────────────────────────────────


async def test_an_append_whose_reply_was_lost_is_repeated_without_a_double(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    writer = await Writer.create(proxied)
    for number in range(25):
        write = writer.write(queued(str(number)), message_ids={f"c{number}": MessageId("m")}, opens=True)
        proxy.lose_next_reply = True
        with pytest.raises(StoreUnavailable) as caught:
            await writer.append(write)
        assert caught.value.applied == "unknown"
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await writer.append(write) == number + 1
                    break
                except StoreUnavailable as error:
                    assert error.applied == "no"
                    await asyncio.sleep(0.001)
    assert proxy.replies_lost == 25
    assert await writer.texts() == [str(number) for number in range(25)]


async def test_an_append_that_never_arrived_is_repeated_and_written_once(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    writer = await Writer.create(proxied)
    write = writer.write(queued("once"))
    proxy.requests.clear()
    with pytest.raises(StoreUnavailable) as caught:
        await writer.append(write)
    assert caught.value.applied == "unknown"
    await proxy.cut()
    proxy.requests.set()
    await _until_it_serves(proxied)
    assert await writer.append(write) == 1
    assert await writer.texts() == ["once"]


async def test_a_write_that_arrives_after_its_repetition_changes_nothing(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    """What was given up on may still be on its way; the fence of the log's index holds it back."""
    writer = await Writer.create(proxied)
    write = writer.write(queued("mine"))
    await writer.append(write)
    await writer.say("next")
    with pytest.raises(LogConflict):
        await proxied.append(write)
    assert await writer.texts() == ["mine", "next"]


async def test_hundreds_of_cancelled_calls_cause_no_wrong_answer(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    chance = random.Random(7)
    proxy.reply_chunk = 11
    writers = [await Writer.create(proxied) for _ in range(20)]
    cancelled = 0

    async def turn(writer: Writer, number: int) -> None:
        await writer.append(writer.write(queued(f"{writer.dialogue} {number}")))
        head = await proxied.read_head(writer.dialogue)
        assert head is not None
        assert (head.dialogue, head.owner) == (writer.dialogue, writer.head.owner)
        assert head.log_index == writer.head.log_index

    for number in range(40):
        turns = [asyncio.ensure_future(turn(writer, number)) for writer in writers]
        for one in chance.sample(turns, 10):
            for _ in range(chance.choice((0, 1, 5, 25))):
                await asyncio.sleep(0)
            cancelled += one.cancel()
        for outcome in await asyncio.gather(*turns, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        for writer in writers:  # whether a cancelled write happened is unknown, so ask
            head = await proxied.read_head(writer.dialogue)
            assert head is not None
            writer.head = replace(writer.head, log_index=head.log_index)
    assert cancelled > 300
    assert proxy.connections == 2
    for writer in writers:
        numbers = [text.split() for text in await writer.texts()]
        assert {name for name, _ in numbers} <= {writer.dialogue}
        order = [int(number) for _, number in numbers]
        assert order == sorted(set(order))


# ── scripts ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_forgot_the_scripts_is_taught_them_again(
    spare_store: RedisStore, spare: BundledServer
) -> None:
    writer = await Writer.create(spare_store)
    await _ask(spare.url, "SCRIPT", "FLUSH")
    assert (
        await asyncio.gather(*(writer.append(writer.write(write_id="same")) for _ in range(30))) == [1] * 30
    )
    await _ask(spare.url, "SCRIPT", "FLUSH")
    assert await spare_store.claim(writer.dialogue, "n") is not None
    await _ask(spare.url, "SCRIPT", "FLUSH")
    assert await spare_store.read_head(writer.dialogue) is not None
    await _ask(spare.url, "SCRIPT", "FLUSH")
    assert await spare_store.delete(writer.dialogue) is True
    await _ask(spare.url, "SCRIPT", "FLUSH")
    assert (await spare_store.create(writer.dialogue, "n", META, START)).created


async def test_all_keys_of_a_dialogue_share_one_slot(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await writer.append(writer.write(message_ids={"c1": MessageId("m1")}, opens=True))
    keys = sorted(await _ask(valkey.url, "KEYS", f"{prefix}*"))
    own = [key for key in keys if b"{" in key]
    stem = f"{prefix}{{{writer.dialogue}}}".encode()
    assert own == [stem + b":head", stem + b":ids", stem + b":log"]
    assert sorted(set(keys) - set(own)) == [f"{prefix}dialogues".encode(), f"{prefix}open".encode()]


# ── indexes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dialogue_is_in_the_index_before_its_turn_is_written_and_leaves_after(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    with pytest.raises(LogConflict):
        await redis_store.append(writer.write(head=state(open_turn="t"), opens=True, expected=3))
    assert await _ask(valkey.url, "SMEMBERS", f"{prefix}open") == [writer.dialogue.encode()]
    await writer.open_turn()
    with pytest.raises(Moved):
        zombie = replace(writer, head=replace(writer.head, owner=replace(writer.head.owner, nonce="old")))
        await zombie.close_turn()
    assert await redis_store.open_turns() == [writer.dialogue]
    await writer.close_turn()
    await redis_store.ping()  # the same lane, so behind the removal
    assert await _ask(valkey.url, "SMEMBERS", f"{prefix}open") == []


async def test_the_index_is_sent_ahead_of_the_turn_in_the_same_batch(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    writer = await Writer.create(proxied)
    seen = proxy.requests_seen
    await writer.open_turn()
    assert proxy.requests_seen == seen + 1
    assert 0 <= proxy.last_request.index(b"SADD") < proxy.last_request.index(b"EVALSHA")


async def test_a_write_whose_index_could_not_be_written_is_not_called_done(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await _ask(valkey.url, "SET", f"{prefix}open", "not a set")
    write = writer.write(head=state(open_turn="t"), opens=True)
    with pytest.raises(StoreUnavailable) as caught:
        await redis_store.append(write)
    assert caught.value.applied == "unknown"
    await _ask(valkey.url, "DEL", f"{prefix}open")
    assert await redis_store.append(write) == 1
    assert await redis_store.open_turns() == [writer.dialogue]


async def test_lists_drop_what_has_expired(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    kept, gone = await Writer.create(redis_store), await Writer.create(redis_store)
    await gone.open_turn()
    await _ask(valkey.url, "DEL", f"{prefix}{{{gone.dialogue}}}:head")
    for status in (None, DialogueStatus.IDLE):
        rows = (await redis_store.list_dialogues(status=status)).rows
        assert [row.dialogue for row in rows] == [kept.dialogue]
    assert (await redis_store.list_dialogues(status=DialogueStatus.GENERATING)).rows == []
    assert await redis_store.open_turns() == []
    await redis_store.ping()  # behind the pruning
    assert await _ask(valkey.url, "ZRANGE", f"{prefix}dialogues", 0, -1) == [kept.dialogue.encode()]


async def test_a_damaged_head_is_left_out_of_lists_but_its_turn_is_reported_open(
    redis_store: RedisStore, valkey: BundledServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    fine, damaged = await Writer.create(redis_store), await Writer.create(redis_store)
    await damaged.open_turn()
    await _ask(valkey.url, "HSET", f"{prefix}{{{damaged.dialogue}}}:head", "state", b"\x01garbage")
    rows = (await redis_store.list_dialogues()).rows
    assert [row.dialogue for row in rows] == [fine.dialogue]
    assert "left out" in caplog.text
    assert await redis_store.open_turns() == [damaged.dialogue]
    with pytest.raises(RecordCorrupt):
        await redis_store.claim(damaged.dialogue, "n")


async def test_a_damaged_record_is_refused_and_left_as_it_is(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await writer.say("one", "two", "three")
    log = f"{prefix}{{{writer.dialogue}}}:log"
    await _ask(valkey.url, "LSET", log, 1, b"\x02from the future")
    with pytest.raises(RecordCorrupt):
        await redis_store.read(writer.dialogue)
    assert len(await redis_store.read(writer.dialogue, limit=1)) == 1
    assert len(await redis_store.read(writer.dialogue, after=2)) == 1
    assert await _ask(valkey.url, "LINDEX", log, 1) == b"\x02from the future"


async def test_a_log_that_vanished_under_its_head_is_a_conflict_and_no_silent_hole(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await writer.say("one", "two")
    await _ask(valkey.url, "DEL", f"{prefix}{{{writer.dialogue}}}:log")
    with pytest.raises(LogConflict) as caught:
        await writer.say("three")
    assert caught.value.actual == 0


# ── how long things are kept ────────────────────────────────────────────────────────────────────────────────


async def test_without_retention_nothing_expires(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await writer.append(writer.write(message_ids={"c1": MessageId("m1")}))
    for key in await _ask(valkey.url, "KEYS", f"{prefix}*{{*"):
        assert await _ask(valkey.url, "PTTL", key) == -1


async def test_with_retention_every_write_puts_the_end_off(valkey: BundledServer, prefix: str) -> None:
    store = RedisStore(valkey.url, prefix=prefix, retention_days=3)
    writer = await Writer.create(store)
    head = f"{prefix}{{{writer.dialogue}}}:head"
    assert 2.9 * _DAY_MS < await _ask(valkey.url, "PTTL", head) <= 3 * _DAY_MS
    await _ask(valkey.url, "PEXPIRE", head, _DAY_MS)
    await writer.append(writer.write(message_ids={"c1": MessageId("m1")}))
    keys = await _ask(valkey.url, "KEYS", f"{prefix}*{{*")
    assert len(keys) == 3
    for key in keys:
        assert 2.9 * _DAY_MS < await _ask(valkey.url, "PTTL", key) <= 3 * _DAY_MS
    await store.close()


async def test_with_retention_the_list_forgets_what_must_have_expired(
    valkey: BundledServer, prefix: str
) -> None:
    store = RedisStore(valkey.url, prefix=prefix, retention_days=3)
    await Writer.create(store, at=1_700_000_000.0)
    young = await Writer.create(store, at=1_700_000_000.0 + 3 * 86_400)
    newest = await Writer.create(store, at=1_700_000_000.0 + 5 * 86_400)
    listed = await _ask(valkey.url, "ZRANGE", f"{prefix}dialogues", 0, -1)
    assert listed == [young.dialogue.encode(), newest.dialogue.encode()]
    await store.close()


async def test_a_tombstone_is_kept_for_a_week_and_then_expires(
    redis_store: RedisStore, valkey: BundledServer, prefix: str
) -> None:
    writer = await Writer.create(redis_store)
    await writer.say("x")
    await redis_store.delete(writer.dialogue)
    assert await _ask(valkey.url, "KEYS", f"{prefix}*{{*") == [f"{prefix}{{{writer.dialogue}}}:head".encode()]
    left = await _ask(valkey.url, "PTTL", f"{prefix}{{{writer.dialogue}}}:head")
    assert 6.9 * _DAY_MS < left <= 7 * _DAY_MS
    await Writer.create(redis_store, writer.dialogue)
    assert await _ask(valkey.url, "PTTL", f"{prefix}{{{writer.dialogue}}}:head") == -1


# ── servers that can't serve ────────────────────────────────────────────────────────────────────────────────


async def _refusal(store: RedisStore, call: Any) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await call
    assert caught.value.applied == "no"
    return str(caught.value)


async def test_a_full_server_refuses_writes_whole_and_lets_dialogues_be_deleted(
    spare_store: RedisStore, spare: BundledServer
) -> None:
    writer = await Writer.create(spare_store)
    await writer.say("kept")
    await _ask(spare.url, "CONFIG", "SET", "maxmemory", 1)
    try:
        assert "full" in await _refusal(spare_store, writer.open_turn())
        assert "full" in await _refusal(spare_store, spare_store.ping())
        assert await writer.texts() == ["kept"]
        assert await spare_store.delete(writer.dialogue) is True
    finally:
        await _ask(spare.url, "CONFIG", "SET", "maxmemory", 0)
    await spare_store.ping()


async def test_a_replica_refuses_writes_until_it_is_promoted(
    spare_store: RedisStore, spare: BundledServer
) -> None:
    writer = await Writer.create(spare_store)
    await _ask(spare.url, "REPLICAOF", "127.0.0.1", 1)
    try:
        assert "replica" in await _refusal(spare_store, writer.say("lost"))
        assert await writer.texts() == []
    finally:
        await _ask(spare.url, "REPLICAOF", "NO", "ONE")
    assert await writer.say("kept") == 1


async def test_a_server_without_its_replicas_refuses_writes(
    spare_store: RedisStore, spare: BundledServer
) -> None:
    writer = await Writer.create(spare_store)
    await _ask(spare.url, "CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        assert "replicas" in await _refusal(spare_store, writer.say("lost"))
    finally:
        await _ask(spare.url, "CONFIG", "SET", "min-replicas-to-write", 0)
    assert await writer.say("kept") == 1


async def test_a_server_that_hangs_in_a_script_says_so(spare_store: RedisStore, spare: BundledServer) -> None:
    writer = await Writer.create(spare_store)
    await _ask(spare.url, "CONFIG", "SET", "busy-reply-threshold", 20)
    endless = asyncio.ensure_future(_ask(spare.url, "EVAL", "while true do end", 0))
    try:
        async with asyncio.timeout(5):  # until the endless script has begun
            while (reason := await _said(spare_store)) is None:
                await asyncio.sleep(0)
        assert "script" in reason
        assert "script" in await _refusal(spare_store, writer.say("lost"))
    finally:
        await _ask(spare.url, "SCRIPT", "KILL")
        with pytest.raises(AssertionError, match="killed"):
            await endless
    assert await writer.say("kept") == 1


async def _said(store: RedisStore) -> str | None:
    try:
        await store.ping()
    except StoreUnavailable as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"-LOADING Valkey is loading the dataset in memory\r\n", "loading"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", "disk"),
        (b"-NOPERM User u has no permissions to run the 'evalsha' command\r\n", "ACL"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "cluster"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "primary"),
    ],
    ids=["LOADING", "MISCONF", "NOPERM", "CLUSTERDOWN", "MASTERDOWN"],
)
async def test_a_refusal_is_told_in_words_and_the_connection_stays(
    proxied: RedisStore, proxy: FaultProxy, said: bytes, word: str
) -> None:
    writer = await Writer.create(proxied)
    connections = proxy.connections
    proxy.garbage = said
    assert word in await _refusal(proxied, writer.say("lost"))
    await proxied.ping()
    assert proxy.connections == connections


async def test_a_demoted_server_is_connected_to_anew_since_its_address_may_lead_elsewhere(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    connections = proxy.connections
    proxy.garbage = b"-READONLY You can't write against a read only replica.\r\n"
    assert "replica" in await _refusal(proxied, proxied.ping())
    await proxied.ping()
    assert proxy.connections == connections + 1


async def test_a_stopped_server_is_unavailable_within_2_s_and_serves_again_when_it_goes_on(
    spare_store: RedisStore, spare: BundledServer
) -> None:
    writers = [await Writer.create(spare_store) for _ in range(50)]
    assert spare.pid is not None
    os.kill(spare.pid, signal.SIGSTOP)
    try:
        writes = [writer.write(queued("once")) for writer in writers]
        began = time.monotonic()
        calls = [*map(spare_store.append, writes), spare_store.ping(), spare_store.list_dialogues()]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 2.0
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await spare_store.read_head(writers[0].dialogue)
        assert time.monotonic() - began < 2.0
    finally:
        os.kill(spare.pid, signal.SIGCONT)
    await _until_it_serves(spare_store)
    assert await asyncio.gather(*map(spare_store.append, writes)) == [1] * 50
    for writer in writers:
        assert await writer.texts() == ["once"]


async def test_a_server_that_comes_and_goes_is_found_again_within_2_s(
    proxied: RedisStore, proxy: FaultProxy
) -> None:
    for _ in range(8):
        await proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await proxied.ping()
        await proxy.listen()
        await _until_it_serves(proxied)


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_eviction_is_warned_of(
    spare: BundledServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(spare.url, prefix=prefix)
    await _ask(spare.url, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        await store.open()
        await store.ping()
        assert "allkeys-lru" in caplog.text
    finally:
        await _ask(spare.url, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await store.close()


async def test_a_server_that_hides_its_configuration_is_used_without_a_word(
    spare: BundledServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await _ask(spare.url, "ACL", "SETUSER", "hosted", "on", ">pass", "~*", "+@all", "-config")
    store = RedisStore(spare.url.replace("unix://", "unix://hosted:pass@"), prefix=prefix)
    await store.ping()
    assert caplog.records == []
    await store.close()


async def test_user_password_and_database_of_the_url_are_used(spare: BundledServer, prefix: str) -> None:
    await _ask(spare.url, "ACL", "SETUSER", "tutor", "on", ">p@ss/w:rd", "~*", "+@all")
    url = spare.url.replace("unix://", "unix://tutor:p%40ss%2Fw%3Ard@") + "?db=5"
    store = RedisStore(url, prefix=prefix)
    await Writer.create(store)
    assert await _ask(spare.url, "KEYS", f"{prefix}*") == []
    assert len(await _ask(f"{spare.url}?db=5", "KEYS", f"{prefix}*")) == 2
    await store.close()


async def test_a_wrong_password_is_told_and_not_repeated(
    spare: BundledServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(spare.url.replace("unix://", "unix://nobody:hunter2@"), prefix=prefix)
    reason = await _refusal(store, store.ping())
    assert "password" in reason
    assert "hunter2" not in reason + caplog.text + repr(store)
    await store.close()


async def test_a_missing_password_is_told(spare: BundledServer, prefix: str) -> None:
    await _ask(spare.url, "ACL", "SETUSER", "admin", "on", "nopass", "~*", "+@all")
    store = RedisStore(spare.url, prefix=prefix)
    await _ask(spare.url, "CONFIG", "SET", "requirepass", "secret")
    try:
        assert "wants a password" in await _refusal(store, store.ping())
    finally:
        await _ask(spare.url.replace("unix://", "unix://admin:x@"), "CONFIG", "SET", "requirepass", "")
        await store.close()
    await _ask(spare.url, "PING")


async def test_tcp_urls_are_served(spare: BundledServer, prefix: str, unused_tcp_port: int) -> None:
    await _ask(spare.url, "CONFIG", "SET", "port", unused_tcp_port)
    try:
        store = RedisStore(f"redis://127.0.0.1:{unused_tcp_port}/2", prefix=prefix)
        writer = await Writer.create(store)
        await writer.say("by TCP")
        assert await writer.texts() == ["by TCP"]
        assert len(await _ask(f"{spare.url}?db=2", "KEYS", f"{prefix}*{{*")) == 2
        await store.close()
    finally:
        await _ask(spare.url, "CONFIG", "SET", "port", 0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls_urls_are_served_and_an_unknown_certificate_is_not_trusted(
    valkey: BundledServer, prefix: str, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", *request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with FaultProxy(valkey.url, tls=context) as proxy:
        untrusting = RedisStore(proxy.url, prefix=prefix)
        assert "reached" in await _refusal(untrusting, untrusting.ping())
        await untrusting.close()
        store = RedisStore(f"{proxy.url}?ssl_ca_certs={certificate}", prefix=prefix)
        writer = await Writer.create(store)
        await writer.say("by TLS")
        assert await writer.texts() == ["by TLS"]
        await store.close()


async def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    store = RedisStore(f"unix://{tmp_path}/nobody.sock")
    await store.open()
    began = time.monotonic()
    with pytest.raises(DuologueError, match="can't be reached"):
        await store.claim(new_id(), "n")
    assert time.monotonic() - began < 0.5
    await store.close()


async def test_a_store_of_another_prefix_sees_nothing(redis_store: RedisStore, valkey: BundledServer) -> None:
    writer = await Writer.create(redis_store)
    await writer.open_turn()
    other = RedisStore(valkey.url, prefix="other:")
    assert await other.read_head(writer.dialogue) is None
    assert await other.open_turns() == []
    assert (await other.list_dialogues()).rows == []
    await other.close()
