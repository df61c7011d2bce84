"""The store on Redis or Valkey: one server, reached by TCP, TLS or a unix socket.

Keys, with `p` the prefix. A dialogue's three share a hash tag, so that one script may touch them all:

    p{id}:head  p{id}:log  p{id}:ids     see scripts.py
    p:dialogues                          sorted set: dialogues by when a turn last opened or closed, in ms
    p:open                               set: dialogues that may have an open turn
    p:ping                               written by `ping`

The two indexes live in slots of their own, so no script can write them together with a dialogue. They are
written so that what is missing can't happen and what is left over does no harm: a dialogue enters `p:open`
before its turn is written and leaves it after, and readers check every member against its head.
"""

import logging
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError

from duologue.errors import (
    Conflict,
    LogConflict,
    Moved,
    RecordCorrupt,
    StoreUnavailable,
)
from duologue.messages import DialogueId, DialogueMeta, DialogueStatus, Position
from duologue.store import scripts
from duologue.store.codec import (
    build_head,
    decode_head,
    decode_meta,
    decode_record,
    encode_head,
    encode_meta,
    encode_record,
)
from duologue.store.connections import connector
from duologue.store.lane import Lane, Reply, pack_command, read_reply
from duologue.store.listing import Place, build_row, milliseconds, parse_cursor
from duologue.store.port import (
    Created,
    DialoguePage,
    DialogueRow,
    Head,
    HeadUpdate,
    LogEntry,
    Owner,
    Write,
)
from duologue.store.refusals import refusal
from duologue.store.scripts import Script

__all__ = ["RedisStore", "TOMBSTONE_KEPT"]

TOMBSTONE_KEPT: Final = 7 * 86_400.0
"""Seconds for which a deleted dialogue's term is remembered; much longer than any late write may be late."""

_DAY_MS: Final = 86_400_000
_PAGE_MIN: Final = 100
_HeadFound = tuple[HeadUpdate, DialogueMeta] | RecordCorrupt
_HeadRead = _HeadFound | None
_logger = logging.getLogger(__name__)


class RedisStore:
    """See `duologue.store.port.Store`. Writes have one connection and reads another.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database where needed.
        timeout: Seconds for one command, connecting included.
        retention_days: Days after its last write for which a dialogue is kept; 0 for ever.
        prefix: Of every key; several installations may share a server.

    Raises:
        ConfigurationError: `url` can't be understood. The message does not repeat it.
    """

    def __init__(
        self, url: str, *, timeout: float = 1.0, retention_days: int = 0, prefix: str = "duologue:"
    ) -> None:
        self._connect = connector(url, connect_timeout=timeout)
        self._timeout = timeout
        self._ttl_ms = retention_days * _DAY_MS
        self._prefix = prefix
        self._index = f"{prefix}dialogues"
        self._open_turns = f"{prefix}open"
        self._writes, self._reads = self._lanes()

    def __repr__(self) -> str:
        return f"<RedisStore prefix={self._prefix!r}>"  # the address may hold a password

    # ── connections ─────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        # Nothing is connected here: lanes do that with their first command, and again whenever they must.
        if self._writes.closed:
            self._writes, self._reads = self._lanes()

    def _lanes(self) -> tuple[Lane, Lane]:
        return (
            Lane("writes", self._connect, timeout=self._timeout),
            Lane("reads", self._connect, timeout=self._timeout, greet=_warn_of_eviction),
        )

    async def close(self) -> None:
        await self._writes.close()
        await self._reads.close()

    async def ping(self) -> None:
        # A write, since a server that is full, a replica or without its disk still answers PING.
        for reply in await self._writes.call(pack_command("SET", f"{self._prefix}ping", 1, "PX", 60_000)):
            _check(reply)
        for reply in await self._reads.call(pack_command("PING")):
            _check(reply)

    # ── one dialogue ────────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, dialogue: DialogueId, owner_nonce: str, meta: DialogueMeta, position: Position
    ) -> Created:
        state = HeadUpdate(position, None, meta.created_at, "")
        at_ms = milliseconds(meta.created_at)
        # NX: a dialogue that exists keeps its place.
        listing = [pack_command("ZADD", self._index, "NX", at_ms, dialogue)]
        if self._ttl_ms:
            # What expired without being deleted leaves the list here; a day late, since clocks differ.
            horizon = at_ms - self._ttl_ms - _DAY_MS
            listing.append(pack_command("ZREMRANGEBYSCORE", self._index, "-inf", horizon))
        args = (owner_nonce, self._ttl_ms, encode_head(state), encode_meta(meta))
        new, fields = await self._write(scripts.CREATE, dialogue, args, after=listing)
        return Created(_head(dialogue, fields), created=new == 1)

    async def claim(self, dialogue: DialogueId, owner_nonce: str) -> Head | None:
        fields = await self._write(scripts.CLAIM, dialogue, (owner_nonce,))
        return None if fields is None else _head(dialogue, fields)

    async def append(self, write: Write) -> int:
        args: tuple[str | bytes | int, ...] = (
            write.owner.term,
            write.owner.nonce,
            write.write_id,
            write.expected_log_index,
            self._ttl_ms,
            encode_head(write.head),
            len(write.records),
            *map(encode_record, write.records),
            *(word for pair in write.message_ids.items() for word in pair),
        )
        before: list[bytes] = []
        after: list[bytes] = []
        if write.opens_turn:
            before.append(pack_command("SADD", self._open_turns, write.dialogue))
        if write.opens_turn or write.closes_turn:
            # Also when the write is refused; then the dialogue moves up in the list for nothing.
            at_ms = milliseconds(write.head.updated_at)
            after.append(pack_command("ZADD", self._index, at_ms, write.dialogue))
        outcome = await self._write(scripts.APPEND, write.dialogue, args, before=before, after=after)
        if type(outcome) is not int:
            raise _refused(outcome)
        if write.closes_turn:
            self._writes.cast(pack_command("SREM", self._open_turns, write.dialogue))
        return outcome

    async def read_head(self, dialogue: DialogueId) -> Head | None:
        fields = await self._run(self._reads, scripts.HEAD, dialogue, ())
        return None if fields is None else _head(dialogue, fields)

    async def read(self, dialogue: DialogueId, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        if limit < 1:
            return ()
        log = self._keys(dialogue)[1]
        (reply,) = await self._reads.call(pack_command("LRANGE", log, after, after + limit - 1))
        return [LogEntry(after + i, decode_record(data)) for i, data in enumerate(_check(reply), 1)]

    async def delete(self, dialogue: DialogueId) -> bool:
        forget = [
            pack_command("SREM", self._open_turns, dialogue),
            pack_command("ZREM", self._index, dialogue),
        ]
        tombstone = (int(TOMBSTONE_KEPT * 1000),)
        there = await self._write(scripts.DELETE, dialogue, tombstone, after=forget)
        return bool(there == 1)

    # ── many dialogues ──────────────────────────────────────────────────────────────────────────────────────

    async def list_dialogues(
        self, *, status: DialogueStatus | None = None, before: str | None = None, limit: int = 50
    ) -> DialoguePage:
        start = None if before is None else parse_cursor(before)
        if status is DialogueStatus.GENERATING:
            found = await self._generating(start)
        else:
            found = await self._listed(start, status, limit + 1)
        page = found[:limit]
        cursor = page[-1][0].cursor() if page and len(found) > limit else None
        return DialoguePage([row for _, row in page], cursor)

    async def open_turns(self) -> Sequence[DialogueId]:
        members = await self._members()
        heads = await self._heads(members)
        # One that can't be read may have an open turn, so it is kept: who loads it will say what is wrong.
        return [
            dialogue
            for dialogue, head in zip(members, heads, strict=True)
            if isinstance(head, RecordCorrupt) or (head is not None and head[0].open_turn is not None)
        ]

    async def _members(self) -> list[DialogueId]:
        (reply,) = await self._reads.call(pack_command("SMEMBERS", self._open_turns))
        return [_dialogue(member) for member in _check(reply)]

    async def _heads(self, dialogues: Sequence[DialogueId]) -> list[_HeadRead]:
        """Heads of these dialogues, in their order, with none of the scripts: they may be many."""
        if not dialogues:
            return []
        commands = (pack_command("HMGET", self._keys(one)[0], "state", "meta") for one in dialogues)
        return [_read(_check(reply)) for reply in await self._reads.call(*commands)]

    async def _listed(
        self, start: Place | None, status: DialogueStatus | None, wanted: int
    ) -> list[tuple[Place, DialogueRow]]:
        """Rows from `start` on (itself excluded) until there are enough or no more."""
        highest = "+inf" if start is None else start.at_ms
        found: list[tuple[Place, DialogueRow]] = []
        gone: list[DialogueId] = []
        offset = 0
        while len(found) < wanted:
            command = pack_command(
                *("ZREVRANGEBYSCORE", self._index, highest, "-inf", "WITHSCORES"),
                *("LIMIT", offset, max(wanted, _PAGE_MIN)),
            )
            (reply,) = await self._reads.call(command)
            flat = _check(reply)
            if not flat:
                break
            offset += len(flat) // 2
            places = [Place(int(float(flat[i + 1])), _dialogue(flat[i])) for i in range(0, len(flat), 2)]
            places = [place for place in places if start is None or place < start]
            heads = await self._heads([place.dialogue for place in places])
            for place, head in zip(places, heads, strict=True):
                if head is None:
                    gone.append(place.dialogue)
                else:
                    found += _row_if(place, head, status)
        if gone:
            # Expired, or revived by a late write. One created again meanwhile is listed at its next turn.
            self._writes.cast(pack_command("ZREM", self._index, *gone))
        return found

    async def _generating(self, start: Place | None) -> list[tuple[Place, DialogueRow]]:
        """Few of many: found by the set of open turns instead of by going through all dialogues."""
        members = await self._members()
        if not members:
            return []
        (reply,) = await self._reads.call(pack_command("ZMSCORE", self._index, *members))
        scores = _check(reply)
        heads = await self._heads(members)
        found: list[tuple[Place, DialogueRow]] = []
        for dialogue, score, head in zip(members, scores, heads, strict=True):
            place = Place(0 if score is None else int(float(score)), dialogue)
            if head is not None and (start is None or place < start):
                found += _row_if(place, head, DialogueStatus.GENERATING)
        return sorted(found, key=itemgetter(0), reverse=True)

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    def _keys(self, dialogue: DialogueId) -> tuple[str, str, str]:
        stem = f"{self._prefix}{{{dialogue}}}"
        return f"{stem}:head", f"{stem}:log", f"{stem}:ids"

    async def _write(
        self,
        script: Script,
        dialogue: DialogueId,
        args: Sequence[str | bytes | int],
        *,
        before: Sequence[bytes] = (),
        after: Sequence[bytes] = (),
    ) -> Reply:
        return await self._run(self._writes, script, dialogue, args, before=before, after=after)

    async def _run(
        self,
        lane: Lane,
        script: Script,
        dialogue: DialogueId,
        args: Sequence[str | bytes | int],
        *,
        before: Sequence[bytes] = (),
        after: Sequence[bytes] = (),
    ) -> Reply:
        """Run a script, with commands right before and after it, and return what it returned.

        Raises:
            StoreUnavailable: One of them was refused. `applied` is of the script.
        """
        words = (3, *self._keys(dialogue), *args)
        replies = await lane.call(*before, pack_command("EVALSHA", script.sha, *words), *after)
        reply = replies[len(before)]
        if type(reply) is NoScriptError:  # the server was restarted, or is another one: nothing was done
            (reply,) = await lane.call(pack_command("EVAL", script.source, *words))
        _check(reply)
        for i, beside in enumerate(replies):
            if isinstance(beside, Exception) and i != len(before):
                # An index was not written. Repeating the whole is safe, and writes it.
                raise StoreUnavailable(str(refusal(beside)), applied="unknown") from beside
        return reply


async def _warn_of_eviction(connection: AbstractConnection) -> None:
    await connection.send_packed_command(
        pack_command("CONFIG", "GET", "maxmemory-policy"), check_health=False
    )
    reply = await read_reply(connection)
    # A hosted server may hide its configuration; then there is nothing to say.
    if isinstance(reply, list) and len(reply) == 2 and reply[1] != b"noeviction":
        policy = reply[1].decode("ascii", "replace")
        _logger.warning(
            "store: maxmemory-policy is %s: when full, dialogues are lost. Use noeviction.", policy
        )


def _check(reply: Reply) -> Reply:
    if isinstance(reply, Exception):
        raise refusal(reply) from reply
    return reply


def _refused(outcome: list[Any]) -> Moved | LogConflict | Conflict:
    """What the append script found instead of writing."""
    match outcome:
        case [b"log", int() as actual]:
            return LogConflict("The log is not where the writer thought.", actual=actual)
        case [b"id"]:
            return Conflict("A client_message_id was used before in this dialogue.")
        case _:
            return Moved("Somebody else owns this dialogue now.")


def _dialogue(member: bytes) -> DialogueId:
    return DialogueId(member.decode("utf-8", "replace"))


def _head(dialogue: DialogueId, fields: list[Any]) -> Head:
    term, nonce, write_id, state, meta, log_index = fields
    owner = Owner(int(term), nonce.decode())
    return build_head(
        dialogue, owner, log_index=log_index, write_id=write_id.decode(), state=state, meta=meta
    )


def _read(fields: list[bytes | None]) -> _HeadRead:
    state, meta = fields
    if state is None or meta is None:
        return None
    try:
        return decode_head(state), decode_meta(meta)
    except RecordCorrupt as error:
        return error


def _row_if(place: Place, head: _HeadFound, status: DialogueStatus | None) -> list[tuple[Place, DialogueRow]]:
    """The row if it can be read and has this status; `None` for any."""
    if isinstance(head, RecordCorrupt):
        _logger.error("store: a dialogue is left out of a list: %s", head)
        return []
    row = build_row(place.dialogue, *head)
    return [(place, row)] if status is None or row.status is status else []
