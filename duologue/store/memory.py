"""A store in the memory of this process: for tests, and for dialogues that nobody will miss.

It is a real implementation of the port and passes the same conformance suite as the one on Redis: the same
bytes, fences and orders, and every call gives way to other tasks once before it does anything. What it does
not do is outlive the process.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from duologue.errors import Conflict, LogConflict, Moved, RecordCorrupt, StoreUnavailable
from duologue.messages import DialogueId, DialogueMeta, DialogueStatus, Position
from duologue.store.codec import (
    build_head,
    decode_head,
    decode_meta,
    decode_record,
    encode_head,
    encode_meta,
    encode_record,
)
from duologue.store.listing import Place, build_row, milliseconds, parse_cursor
from duologue.store.port import Created, DialoguePage, DialogueRow, Head, HeadUpdate, LogEntry, Owner, Write

__all__ = ["MemoryStore", "MemoryState", "StoredDialogue"]


@dataclass(slots=True)
class StoredDialogue:
    """One dialogue as it is kept: encoded, so that a test may damage it."""

    owner: Owner
    state: bytes
    meta: bytes
    listed_at_ms: int
    write_id: str = ""
    log: list[bytes] = field(default_factory=list)
    message_ids: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryState:
    """What outlives a `MemoryStore`: the next one that is given it goes on where the first stopped."""

    dialogues: dict[DialogueId, StoredDialogue] = field(default_factory=dict)
    tombstones: dict[DialogueId, int] = field(default_factory=dict)
    """Terms of deleted dialogues."""


class MemoryStore:
    """See `duologue.store.port.Store`.

    Args:
        state: Shared by several stores of one process, such as two runtimes or one before and one after a
            restart. `None`: a new one.
    """

    __slots__ = ("_closed", "outage", "state")

    def __init__(self, state: MemoryState | None = None) -> None:
        self.state = MemoryState() if state is None else state
        self.outage: str | None = None
        """While this is set, every call raises `StoreUnavailable` with it, having done nothing."""
        self._closed = False

    async def open(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True

    async def ping(self) -> None:
        await self._reach()

    async def _reach(self) -> None:
        """Give way, as a call over a socket does, so that nobody comes to rely on not being interrupted."""
        await asyncio.sleep(0)
        if self._closed:
            raise StoreUnavailable("The store is closed.", applied="no")
        if self.outage is not None:
            raise StoreUnavailable(self.outage, applied="no")

    # ── one dialogue ────────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, dialogue: DialogueId, owner_nonce: str, meta: DialogueMeta, position: Position
    ) -> Created:
        state = encode_head(HeadUpdate(position, None, meta.created_at, ""))
        opening = encode_meta(meta)
        await self._reach()
        there = self._take(dialogue, owner_nonce)
        if there is not None:
            return Created(there, created=False)
        owner = Owner(self.state.tombstones.pop(dialogue, 0) + 1, owner_nonce)
        stored = StoredDialogue(owner, state, opening, milliseconds(meta.created_at))
        self.state.dialogues[dialogue] = stored
        return Created(_head(dialogue, stored), created=True)

    async def claim(self, dialogue: DialogueId, owner_nonce: str) -> Head | None:
        await self._reach()
        return self._take(dialogue, owner_nonce)

    def _take(self, dialogue: DialogueId, owner_nonce: str) -> Head | None:
        stored = self.state.dialogues.get(dialogue)
        if stored is None:
            return None
        stored.owner = Owner(stored.owner.term + 1, owner_nonce)
        return _head(dialogue, stored)

    async def append(self, write: Write) -> int:
        records = [encode_record(record) for record in write.records]
        state = encode_head(write.head)
        await self._reach()
        stored = self.state.dialogues.get(write.dialogue)
        if stored is None or stored.owner != write.owner:
            raise Moved("Somebody else owns this dialogue now.")
        if stored.write_id == write.write_id:
            return len(stored.log)
        if len(stored.log) != write.expected_log_index:
            raise LogConflict("The log is not where the writer thought.", actual=len(stored.log))
        if not stored.message_ids.keys().isdisjoint(write.message_ids):
            raise Conflict("A client_message_id was used before in this dialogue.")
        stored.log += records
        stored.message_ids.update(write.message_ids)
        stored.state = state
        stored.write_id = write.write_id
        if write.opens_turn or write.closes_turn:
            stored.listed_at_ms = milliseconds(write.head.updated_at)
        return len(stored.log)

    async def read_head(self, dialogue: DialogueId) -> Head | None:
        await self._reach()
        stored = self.state.dialogues.get(dialogue)
        return None if stored is None else _head(dialogue, stored)

    async def read(self, dialogue: DialogueId, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        await self._reach()
        stored = self.state.dialogues.get(dialogue)
        if stored is None or limit < 1:
            return ()
        page = stored.log[after : after + limit]
        return [LogEntry(after + i, decode_record(data)) for i, data in enumerate(page, 1)]

    async def delete(self, dialogue: DialogueId) -> bool:
        await self._reach()
        stored = self.state.dialogues.pop(dialogue, None)
        if stored is None:
            return False
        self.state.tombstones[dialogue] = stored.owner.term
        return True

    # ── many dialogues ──────────────────────────────────────────────────────────────────────────────────────

    async def list_dialogues(
        self, *, status: DialogueStatus | None = None, before: str | None = None, limit: int = 50
    ) -> DialoguePage:
        start = None if before is None else parse_cursor(before)
        await self._reach()
        rows: list[DialogueRow] = []
        last: Place | None = None
        for place, row in self._rows():
            if (start is not None and place >= start) or (status is not None and row.status is not status):
                continue
            if len(rows) == limit:
                return DialoguePage(rows, None if last is None else last.cursor())
            rows.append(row)
            last = place
        return DialoguePage(rows, None)

    def _rows(self) -> Iterator[tuple[Place, DialogueRow]]:
        stored = self.state.dialogues
        places = [Place(one.listed_at_ms, dialogue) for dialogue, one in stored.items()]
        for place in sorted(places, reverse=True):
            one = stored[place.dialogue]
            try:
                yield place, build_row(place.dialogue, decode_head(one.state), decode_meta(one.meta))
            except RecordCorrupt:
                continue

    async def open_turns(self) -> Sequence[DialogueId]:
        await self._reach()
        return [dialogue for dialogue, stored in self.state.dialogues.items() if _may_be_open(stored)]


def _may_be_open(stored: StoredDialogue) -> bool:
    try:
        return decode_head(stored.state).open_turn is not None
    except RecordCorrupt:
        return True


def _head(dialogue: DialogueId, stored: StoredDialogue) -> Head:
    return build_head(
        dialogue,
        stored.owner,
        log_index=len(stored.log),
        write_id=stored.write_id,
        state=stored.state,
        meta=stored.meta,
    )
