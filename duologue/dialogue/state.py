"""What one dialogue's actor owns, in one place, so that its parts can share it and nothing else can."""

from collections.abc import Callable

from duologue.dialogue.environment import DialogueEnvironment, TurnPolicy
from duologue.dialogue.events import Event, LiveTurn, Snapshot
from duologue.dialogue.feed import Feed
from duologue.dialogue.history import History
from duologue.dialogue.journal import Journal
from duologue.dialogue.requests import GetMessages, MessagePage
from duologue.dialogue.turn import Turn
from duologue.errors import BadRequest, Busy
from duologue.messages import DialogueId, DialogueMeta, DialogueStatus, Message, MessageId, Role, TurnId

__all__ = ["DialogueState"]

_SNAPSHOT_MESSAGES = 50
_PAGE_MAX = 200
_CURSOR_DIGITS_MAX = 18


class DialogueState:
    """The state of one dialogue in memory.

    Args:
        dialogue: Whose state.
        environment: Ports, rules' numbers, sources of time and names.
        start_window: Called with a merge window in milliseconds when something begins to wait for it.
    """

    __slots__ = ("env", "feed", "history", "id", "journal", "merge_into", "meta", "turn")

    def __init__(
        self, dialogue: DialogueId, environment: DialogueEnvironment, start_window: Callable[[int], None]
    ) -> None:
        self.id = dialogue
        self.env = environment
        self.history = History()
        self.journal = Journal(dialogue)
        self.feed = Feed(dialogue, start_window)
        self.meta: DialogueMeta | None = None
        """What it was opened with; `None` while there is no such dialogue."""
        self.turn: Turn | None = None
        """The turn that is opening, open or closing."""
        self.merge_into: TurnId | None = None
        """The queued turn that takes further messages under the policy `merge`."""

    def take_turn(self, turn: Turn | None) -> None:
        """Make `turn` the dialogue's; `None`: it is free."""
        self.turn = turn
        if turn is None:
            self.env.open_turns.discard(self.id)
        else:
            self.env.open_turns.add(self.id)

    def emit(self, kind: Callable[..., Event], *fields: object) -> None:
        """Send the next numbered event."""
        feed = self.feed
        feed.emit(kind(self.id, feed.epoch, feed.seq + 1, *fields))

    def policy(self) -> TurnPolicy:
        """How to answer now, if anything can be kept at all.

        Raises:
            StoreUnavailable: The present write is in trouble, so a new one would only wait behind it.
            FeatureNotConfigured: The feature resolves to no service any more.
        """
        if self.journal.troubled is not None:
            raise self.journal.troubled
        assert self.meta is not None
        return self.env.resolve(self.meta)

    def must_be_free(self) -> None:
        """Raise `Busy` unless no turn is under way."""
        if self.turn is not None or self.journal.queueing():
            raise Busy("An answer is being made. Try again when it has ended, or stop it.")

    def new_turn_id(self) -> TurnId:
        """A name for a turn."""
        return TurnId("t_" + self.env.new_id())

    def new_message(
        self, content: str, turn_id: TurnId, role: Role = Role.USER, client_message_id: str | None = None
    ) -> Message:
        """A message that comes into being now."""
        return Message(
            MessageId("m_" + self.env.new_id()),
            role,
            content,
            turn_id,
            self.env.wall_clock(),
            client_message_id=client_message_id,
        )

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """The dialogue as it stands, with its last 50 messages."""
        assert self.meta is not None
        meta, turn = self.meta, self.turn
        messages, cursor = self.history.page(None, _SNAPSHOT_MESSAGES)
        live = None
        if turn is not None and turn.open:
            live = LiveTurn(turn.turn_id, turn.attempt or turn.last_attempt, turn.text, turn.model, turn.tier)
        return Snapshot(
            id=self.id,
            epoch=self.feed.epoch,
            seq=self.feed.seq,
            feature=meta.feature,
            section=meta.section,
            account=meta.account,
            status=DialogueStatus.IDLE
            if live is None and not self.history.queued
            else DialogueStatus.GENERATING,
            messages=messages,
            before=None if cursor is None else str(cursor),
            turn=live,
            usage=self.history.usage,
        )

    def page(self, request: GetMessages) -> MessagePage:
        """A page of history."""
        if not 1 <= request.limit <= _PAGE_MAX:
            raise BadRequest(f"limit is {request.limit}; it must be from 1 to {_PAGE_MAX}.")
        messages, cursor = self.history.page(_place(request.before), request.limit)
        return MessagePage(messages, None if cursor is None else str(cursor))


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _CURSOR_DIGITS_MAX):
        raise BadRequest("before is no cursor of ours; take it from an earlier answer.")
    return int(cursor)
