"""A dialogue's durable state, made from its log: one function applies a record, at loading and when it is new."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from duologue.messages import Message, MessageId, MessageStatus, Position, Role, Tier, TurnId, Usage
from duologue.providers.port import PromptMessage
from duologue.store.port import (
    AnswerExtended,
    AttemptBegan,
    MessageQueued,
    MessageSuperseded,
    Record,
    TurnClosed,
    TurnOpened,
)

__all__ = ["OpenTurn", "QueuedTurn", "History", "PREVIEW_LENGTH", "preview_of"]

PREVIEW_LENGTH = 120
"""Code points of a message that a list of dialogues shows."""


@dataclass(slots=True)
class OpenTurn:
    """A turn that the log opened and did not close, as far as its checkpoints tell."""

    turn_id: TurnId
    message_ids: tuple[MessageId, ...]
    attempt: int = 1
    """Number of the last attempt that the log knows of; opening the turn implies the first."""
    text: str = ""
    model: str | None = None
    tier: Tier | None = None


@dataclass(slots=True)
class QueuedTurn:
    """Accepted messages that one later turn will answer."""

    turn_id: TurnId
    message_ids: list[MessageId] = field(default_factory=list)


class History:
    """Messages in the order of the log, superseded ones among them, and what is open."""

    __slots__ = (
        "_accepted",
        "_by_client_id",
        "_index",
        "_standing",
        "_usage",
        "log_index",
        "messages",
        "open_turn",
        "queued",
    )

    def __init__(self) -> None:
        self.messages: list[Message] = []
        """Grows only; a message's place never changes, so it serves as a cursor."""
        self._index: dict[MessageId, int] = {}
        self._by_client_id: dict[str, MessageId] = {}
        self._accepted: dict[MessageId, Position] = {}
        """Where messages with a name of their sender's were announced."""
        self._standing: dict[MessageId, PromptMessage] = {}
        """The conversation as a model reads it: what stands, a queued question in the place where its turn came.
        Kept up record by record, so that a turn does not make ten thousand objects anew."""
        self.open_turn: OpenTurn | None = None
        self.queued: list[QueuedTurn] = []
        """Turns to come, in the order that their first messages came."""
        self.log_index = 0
        """Index of the last record that was applied."""
        self._usage = Usage(0, 0)

    # ── applying records ────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: Record) -> None:
        """Take the next record of the log."""
        self.log_index += 1
        match record:
            case TurnOpened():
                for message in record.messages:
                    self._add(message, record.position)
                self.queued = [turn for turn in self.queued if turn.turn_id != record.turn_id]
                self.open_turn = OpenTurn(record.turn_id, record.message_ids)
                for message_id in record.message_ids:
                    self._stand(self.messages[self._index[message_id]])
            case MessageQueued():
                self._add(record.message, record.position)
                self._enqueue(record.message)
            case MessageSuperseded():
                self._supersede(record.message_id)
            case AttemptBegan():
                self._open(record.turn_id).attempt = record.attempt
            case AnswerExtended():
                self._extend(record)
            case TurnClosed():
                self._close(record)

    def _add(self, message: Message, position: Position | None = None) -> None:
        self._index[message.id] = len(self.messages)
        self.messages.append(message)
        if message.client_message_id is not None:
            self._by_client_id[message.client_message_id] = message.id
            if position is not None:
                self._accepted[message.id] = position

    def _stand(self, message: Message) -> None:
        if message.id not in self._standing:
            self._standing[message.id] = PromptMessage(message.role, message.content)

    def _enqueue(self, message: Message) -> None:
        for turn in self.queued:
            if turn.turn_id == message.turn_id:
                turn.message_ids.append(message.id)
                return
        self.queued.append(QueuedTurn(message.turn_id, [message.id]))

    def _supersede(self, message_id: MessageId) -> None:
        place = self._index[message_id]
        self.messages[place] = replace(self.messages[place], status=MessageStatus.SUPERSEDED)
        self._standing.pop(message_id, None)

    def _open(self, turn_id: TurnId) -> OpenTurn:
        assert self.open_turn is not None and self.open_turn.turn_id == turn_id, (
            "a record for a turn not open"
        )
        return self.open_turn

    def _extend(self, record: AnswerExtended) -> None:
        turn = self._open(record.turn_id)
        turn.text = turn.text[: record.offset] + record.text
        turn.attempt = max(turn.attempt, record.attempt)
        turn.model, turn.tier = record.model, record.tier

    def _close(self, record: TurnClosed) -> None:
        self._open(record.turn_id)
        self.open_turn = None
        answer = record.answer
        if answer is None:
            return
        self._add(answer)
        self._stand(answer)
        if answer.usage is not None:
            self._usage = Usage(
                (self._usage.input_tokens or 0) + (answer.usage.input_tokens or 0),
                (self._usage.output_tokens or 0) + (answer.usage.output_tokens or 0),
            )

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, message_id: MessageId) -> Message | None:
        """The message of this name, whatever its status."""
        place = self._index.get(message_id)
        return None if place is None else self.messages[place]

    def find_by_client_id(self, client_message_id: str) -> Message | None:
        """The message that was accepted under the sender's own name for it."""
        message_id = self._by_client_id.get(client_message_id)
        return None if message_id is None else self.find(message_id)

    def accepted_at(self, message_id: MessageId) -> Position | None:
        """Where a message was announced that its sender has named; `None` for any other."""
        return self._accepted.get(message_id)

    @property
    def usage(self) -> Usage:
        """Sum of what the providers told for the answers in the log, superseded ones too: they were paid for."""
        return self._usage

    def last_questions(self) -> Sequence[Message]:
        """The last user message that stands, with those that were asked together with it, in order."""
        questions: list[Message] = []
        for message_id in reversed(self._standing):
            message = self.messages[self._index[message_id]]
            if message.role is Role.USER and (not questions or message.turn_id == questions[0].turn_id):
                questions.append(message)
            elif questions:
                break
        return questions[::-1]

    def standing_after(self, message_id: MessageId) -> Sequence[MessageId]:
        """The messages of the conversation that stand after this one, in its order."""
        assert message_id in self._standing
        following: list[MessageId] = []
        for later in reversed(self._standing):
            if later == message_id:
                break
            following.append(later)
        return following[::-1]

    def page(self, before: int | None, limit: int) -> tuple[Sequence[Message], int | None]:
        """At most `limit` messages in order that come before place `before` (`None`: the end), and the next cursor."""
        end = len(self.messages) if before is None else min(before, len(self.messages))
        start = max(0, end - limit)
        return self.messages[start:end], start or None

    def prompt(self, system_prompt: str | None) -> list[PromptMessage]:
        """What a model is to read: the system prompt and the conversation, without what waits in the queue."""
        system = [] if system_prompt is None else [PromptMessage(Role.SYSTEM, system_prompt)]
        return [*system, *self._standing.values()]

    def preview(self) -> str:
        """First words of the last message, on one line."""
        return preview_of(self.messages[-1].content) if self.messages else ""


def preview_of(content: str) -> str:
    """First words of a message on one line, at most `PREVIEW_LENGTH` code points."""
    return " ".join(content[: 2 * PREVIEW_LENGTH].split())[:PREVIEW_LENGTH]
