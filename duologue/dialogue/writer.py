"""Carries the journal's intents to the store, one at a time, and tells what became of each."""

from collections.abc import Callable

from duologue.dialogue.commit import Applied, Troubled, Withdrawn, commit, commit_or_settle
from duologue.dialogue.history import preview_of
from duologue.dialogue.journal import CloseIntent, Intent, MessageIntent, OpenTurnIntent, QueueIntent
from duologue.dialogue.state import DialogueState
from duologue.errors import StoreUnavailable
from duologue.messages import Position, TurnId
from duologue.runtime import ActorContext, TaskDone
from duologue.store.port import HeadUpdate

__all__ = ["Writer", "WRITE"]

WRITE = "write"
"""Name of the owned task that waits for the store."""


class Writer:
    """The shell of the journal.

    Args:
        state: The dialogue.
        ctx: Runs the task, and gets its end as a message.
        applied: Told of each intent that is in the log now, with the position that was written with it; the
            history has it already.
        withdrawn: Told of each intent that is not in the log and never will be.
    """

    __slots__ = ("_applied", "_began_at", "_ctx", "_state", "_withdrawn")

    def __init__(
        self,
        state: DialogueState,
        ctx: ActorContext,
        *,
        applied: Callable[[Intent, Position], None],
        withdrawn: Callable[[Intent, StoreUnavailable], None],
    ) -> None:
        self._state = state
        self._ctx = ctx
        self._applied = applied
        self._withdrawn = withdrawn
        self._began_at = 0.0

    def submit(self, intent: Intent) -> None:
        """Write it after everything that was submitted before."""
        self._state.journal.submit(intent)
        self._next()

    def _next(self) -> None:
        state = self._state
        write = state.journal.begin(
            write_id=state.env.new_id(), log_index=state.history.log_index, make_head=self._head_after
        )
        if write is None:
            return
        assert state.journal.flying is not None
        self._began_at = self._ctx.now()
        tell: Callable[[Troubled], None] = self._ctx.ref.info
        if state.journal.flying.must:
            self._ctx.spawn(commit(state.env.store, write, tell=tell), name=WRITE)
        else:
            shell = commit_or_settle(state.env.store, write, new_nonce=state.env.new_id, tell=tell)
            self._ctx.spawn(shell, name=WRITE)

    def on_done(self, done: TaskDone) -> None:
        """The write has ended.

        Raises:
            Moved: The dialogue is somebody else's.
            StoreError: The log is not what this actor thinks it is: whoever comes next reads it again.
        """
        if done.exception is not None:
            raise done.exception
        result = done.result
        assert isinstance(result, Applied | Withdrawn)
        state = self._state
        intent = state.journal.settle(result.owner, applied=isinstance(result, Applied))
        if isinstance(result, Withdrawn):
            self._withdraw(intent, result.error)
        else:
            state.env.telemetry.committed(seconds=self._ctx.now() - self._began_at)
            for record in result.write.records:
                state.history.apply(record)
            self._applied(intent, result.write.head.position)
        self._next()

    def on_trouble(self, trouble: Troubled) -> None:
        """No answer from the store: whoever waits is told now, while the write itself goes on."""
        journal = self._state.journal
        if trouble.write is not journal.write:
            return
        journal.troubled = trouble.error
        self._state.env.telemetry.commit_failed(code=trouble.error.code)
        if isinstance(journal.flying, MessageIntent):
            journal.flying.fail(trouble.error)
        for intent in journal.withdraw_messages():
            self._withdraw(intent, trouble.error)

    def _withdraw(self, intent: Intent, error: StoreUnavailable) -> None:
        self._state.env.telemetry.commit_failed(code=error.code)
        if isinstance(intent, MessageIntent):
            intent.fail(error)
        self._withdrawn(intent, error)

    # ── heads ───────────────────────────────────────────────────────────────────────────────────────────────

    def _head_after(self, intent: Intent) -> tuple[HeadUpdate, bool]:
        """The head after this intent, and whether anything is open or queued then."""
        state = self._state
        open_turn = self._open_turn_after(intent)
        position = Position(state.feed.epoch, state.feed.seq + intent.events())
        head = HeadUpdate(position, open_turn, state.env.wall_clock(), self._preview_after(intent))
        return head, open_turn is not None

    def _open_turn_after(self, intent: Intent) -> TurnId | None:
        """Of the turns that wait the first counts as open: a server that finds it so has to answer it."""
        history = self._state.history
        if isinstance(intent, OpenTurnIntent):
            return intent.turn.turn_id
        if history.open_turn is not None and not isinstance(intent, CloseIntent):
            return history.open_turn.turn_id
        if history.queued:
            return history.queued[0].turn_id
        return intent.queued.turn_id if isinstance(intent, QueueIntent) else None

    def _preview_after(self, intent: Intent) -> str:
        if isinstance(intent, MessageIntent) and intent.message is not None:
            return preview_of(intent.message.content)
        if isinstance(intent, CloseIntent) and intent.closing.answer is not None:
            return preview_of(intent.closing.answer.content)
        return self._state.history.preview()
