"""Short ways to make what the store is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from duologue.messages import (
    DialogueId,
    DialogueMeta,
    Epoch,
    Message,
    MessageId,
    Position,
    Role,
    TurnId,
)
from duologue.store.port import Head, HeadUpdate, MessageQueued, Record, Store, Write

_numbers = count(1)

META = DialogueMeta(
    feature="student_dialogue",
    section="real-chem",
    account=None,
    system_prompt=None,
    metadata={"course": "101"},
    created_at=1_700_000_000.0,
)
START = Position(Epoch("e"), 0)


def new_id() -> DialogueId:
    return DialogueId(f"d{next(_numbers)}")


def message(text: str = "Hi", *, name: str = "m1", turn: str = "t1") -> Message:
    return Message(MessageId(name), Role.USER, text, TurnId(turn), 1_700_000_001.0)


def queued(text: str = "Hi") -> MessageQueued:
    return MessageQueued(message(text))


def state(
    *, seq: int = 1, open_turn: str | None = None, at: float = 1_700_000_002.0, preview: str = "Hi"
) -> HeadUpdate:
    return HeadUpdate(
        Position(Epoch("e"), seq), None if open_turn is None else TurnId(open_turn), at, preview
    )


@dataclass
class Writer:
    """Somebody who owns a dialogue and keeps count of its log."""

    store: Store
    head: Head

    @classmethod
    async def create(
        cls, store: Store, dialogue: DialogueId | None = None, *, at: float | None = None
    ) -> "Writer":
        meta = META if at is None else replace(META, created_at=at)
        created = await store.create(dialogue or new_id(), f"nonce-{next(_numbers)}", meta, START)
        return cls(store, created.head)

    @property
    def dialogue(self) -> DialogueId:
        return self.head.dialogue

    def write(
        self,
        *records: Record,
        head: HeadUpdate | None = None,
        write_id: str | None = None,
        expected: int | None = None,
        message_ids: Mapping[str, MessageId] | None = None,
        opens: bool = False,
        closes: bool = False,
    ) -> Write:
        return Write(
            dialogue=self.dialogue,
            owner=self.head.owner,
            write_id=write_id or f"w{next(_numbers)}",
            expected_log_index=self.head.log_index if expected is None else expected,
            records=records or (queued(),),
            head=head or state(),
            message_ids=message_ids or {},
            opens_turn=opens,
            closes_turn=closes,
        )

    async def append(self, write: Write) -> int:
        index = await self.store.append(write)
        self.head = replace(self.head, log_index=index)
        return index

    async def say(self, *texts: str) -> int:
        return await self.append(self.write(*map(queued, texts)))

    async def open_turn(self, turn: str = "t1", *, at: float = 1_700_000_002.0) -> int:
        return await self.append(self.write(head=state(open_turn=turn, at=at), opens=True))

    async def close_turn(self, *, at: float = 1_700_000_003.0) -> int:
        return await self.append(self.write(head=state(at=at), closes=True))

    async def texts(self) -> list[str]:
        return texts_of([entry.record for entry in await self.store.read(self.dialogue)])


def texts_of(records: Sequence[Record]) -> list[str]:
    return [record.message.content for record in records if isinstance(record, MessageQueued)]
