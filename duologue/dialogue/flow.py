"""The life of a turn: from the committed question over the model's words to the one terminal event.

Each step is a move of the turn's table (`turn.py`) with what it makes the feed say and the journal write.
Nothing here waits: generation runs in an owned task whose batches come back as messages.
"""

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

from duologue.dialogue.asking import open_queued
from duologue.dialogue.events import (
    ErrorInfo,
    MessageAccepted,
    MessageWasSuperseded,
    TurnCancelled,
    TurnCompleted,
    TurnDelta,
    TurnFailed,
    TurnInterrupted,
    TurnRestarted,
    TurnStarted,
)
from duologue.dialogue.journal import (
    AttemptIntent,
    CheckpointIntent,
    CloseIntent,
    Intent,
    MessageIntent,
    OpenTurnIntent,
    QueueIntent,
)
from duologue.dialogue.requests import Accepted
from duologue.dialogue.state import DialogueState
from duologue.dialogue.turn import Phase, Turn, TurnInput
from duologue.dialogue.writer import Writer
from duologue.errors import DuologueError, Interrupted, NotSaved, ProviderFailed, StoreUnavailable
from duologue.messages import Message, MessageId, MessageStatus, Position, Role
from duologue.providers.port import (
    AttemptFailed,
    AttemptStarted,
    CompletionService,
    Finished,
    ServiceEvent,
    TextDelta,
    TurnRequest,
    UsageReported,
)
from duologue.runtime import ActorContext, Ref, TaskDone
from duologue.store.port import AnswerExtended, AttemptBegan, TurnClosed, TurnOutcome

__all__ = ["Batch", "CheckpointDue", "NotSavedDue", "TurnFlow"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one network read of the provider gave."""

    generation: int
    events: Sequence[ServiceEvent]


@dataclass(frozen=True, slots=True)
class CheckpointDue:
    """Time to keep what the answer has said so far."""


@dataclass(frozen=True, slots=True)
class NotSavedDue:
    """The end of a turn has waited for the store long enough."""

    intent: CloseIntent


async def _generate(
    services: CompletionService, request: TurnRequest, ref: Ref[Any], generation: int
) -> None:
    """Read the service's stream to its end; every network read is one message to the actor."""
    async with aclosing(services.stream(request)) as stream:
        async for events in stream:
            ref.info(Batch(generation, events))


class TurnFlow:
    """Moves the dialogue's turn.

    Args:
        state: The dialogue.
        ctx: Owns the generation task and the timers.
    """

    __slots__ = ("_ctx", "_generation", "_state", "_writer")

    def __init__(self, state: DialogueState, ctx: ActorContext) -> None:
        self._state = state
        self._ctx = ctx
        self._writer = Writer(state, ctx, applied=self._applied, withdrawn=self._withdrawn)
        self._generation = 0
        """Number of the latest generation task; batches of earlier ones are dropped."""

    @property
    def writer(self) -> Writer:
        """Where intents go."""
        return self._writer

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, intent: MessageIntent) -> None:
        """Write a question; its turn, where it opens one, is the dialogue's from now on."""
        if isinstance(intent, OpenTurnIntent):
            self._state.take_turn(intent.turn)
        self._writer.submit(intent)

    def begin_next(self) -> None:
        """Answer what waits in the queue, if the dialogue is free."""
        intent = open_queued(self._state, now=self._ctx.now())
        if intent is not None:
            self.begin(intent)

    def _applied(self, intent: Intent, position: Position) -> None:
        if isinstance(intent, OpenTurnIntent):
            self._opened(intent, position)
        elif isinstance(intent, QueueIntent):
            self._queued(intent, position)
        elif isinstance(intent, CloseIntent):
            self._closed(intent)
        elif isinstance(intent, AttemptIntent) and intent.generates:
            self._counted(intent)

    def _withdrawn(self, intent: Intent, error: StoreUnavailable) -> None:  # noqa: ARG002 - the writer told it
        if isinstance(intent, CheckpointIntent):
            intent.turn.checkpointed = min(intent.turn.checkpointed, intent.offset)
        elif isinstance(intent, OpenTurnIntent):
            intent.turn.advance(TurnInput.REFUSED)
            self._state.take_turn(None)
            self.begin_next()
        elif isinstance(intent, QueueIntent):
            self.begin_next()

    def _opened(self, intent: OpenTurnIntent, position: Position) -> None:
        state, turn = self._state, intent.turn
        state.feed.begin_turn()
        question = intent.message.id if intent.message is not None else turn.message_ids[-1]
        intent.reply(Accepted(question, turn.turn_id, position.epoch, position.seq))
        for message_id in intent.superseded:
            state.emit(MessageWasSuperseded, message_id)
        if intent.message is not None:
            state.emit(MessageAccepted, intent.message, turn.turn_id)
        if turn.advance(TurnInput.COMMITTED) is Phase.DOOMED:
            state.env.telemetry.turn_started(service=turn.service)
            self._close(TurnOutcome.CANCELLED)
        else:
            self._generate(turn, first_attempt=1)

    def _queued(self, intent: QueueIntent, position: Position) -> None:
        message = intent.queued
        intent.reply(Accepted(message.id, message.turn_id, position.epoch, position.seq))
        self._state.emit(MessageAccepted, message, message.turn_id)
        if intent.interrupt and self._state.turn is intent.turn:
            self.cancel()
        self.begin_next()

    # ── generating ──────────────────────────────────────────────────────────────────────────────────────────

    def _generate(self, turn: Turn, *, first_attempt: int, reason: str | None = None) -> None:
        state = self._state
        try:
            policy = state.policy()
        except DuologueError as error:
            self._fail(error)
            return
        turn.service = policy.service
        if reason is None:
            state.env.telemetry.turn_started(service=turn.service)
        self._generation += 1
        request = TurnRequest(
            service=policy.service,
            messages=state.history.prompt(policy.system_prompt),
            first_attempt=first_attempt,
            reason=reason,
            dialogue=state.id,
        )
        self._ctx.spawn(
            _generate(state.env.services, request, self._ctx.ref, self._generation),
            name=f"generation-{self._generation}",
        )

    def stop_generating(self) -> None:
        """End the generation task; what it has sent already belongs to nobody from now on."""
        self._ctx.cancel_task(f"generation-{self._generation}")
        self._generation += 1

    def on_batch(self, batch: Batch) -> None:
        """The provider said something."""
        if batch.generation != self._generation:
            return
        turn = self._state.turn
        assert turn is not None
        for event in batch.events:
            if type(event) is TextDelta:
                self._on_text(turn, event.text)
            elif type(event) is AttemptStarted:
                self._on_attempt_started(turn, event)
            elif type(event) is UsageReported:
                turn.count(event.usage)
            elif type(event) is AttemptFailed:
                turn.advance(TurnInput.ATTEMPT_FAILED)
                turn.reason = event.category
            elif type(event) is Finished:
                turn.finish_reason = event.reason
                self._close(TurnOutcome.COMPLETED)
                return

    def _on_attempt_started(self, turn: Turn, event: AttemptStarted) -> None:
        turn.begin_attempt(event.attempt, event.model, event.tier, event.reason)
        if event.attempt > turn.counted:
            turn.counted = event.attempt
            began = AttemptBegan(turn.turn_id, event.attempt)
            self._writer.submit(AttemptIntent(turn, (began,), generates=False))

    def _on_text(self, turn: Turn, text: str) -> None:
        if turn.next_attempt is not None:
            self._on_first_text(turn)
        feed = self._state.feed
        offset = turn.extend(text)
        feed.emit(
            TurnDelta(feed.dialogue, feed.epoch, feed.seq + 1, turn.turn_id, turn.attempt, offset, text)
        )

    def _on_first_text(self, turn: Turn) -> None:
        """An attempt speaks for the first time: its text stands from now on."""
        state = self._state
        left = turn.advance(TurnInput.CONTENT)
        turn.adopt_attempt()
        assert turn.model is not None and turn.tier is not None
        turn_id, attempt, model, tier = turn.turn_id, turn.attempt, turn.model, turn.tier
        if left is Phase.WAITING:
            state.emit(TurnStarted, turn_id, attempt, turn.message_ids, model, turn.service, tier)
            seconds = self._ctx.now() - turn.opened_at
            state.env.telemetry.first_token(service=turn.service, tier=tier.value, seconds=seconds)
        else:
            state.emit(TurnRestarted, turn_id, attempt, model, tier, turn.reason or Interrupted.code)
        self._ctx.start_timer("checkpoint", state.env.limits.checkpoint_interval, CheckpointDue())

    def on_generation_done(self, done: TaskDone) -> None:
        """The generation task ended: by `Finished` long ago, or without an answer now."""
        turn = self._state.turn
        if done.name != f"generation-{self._generation}" or turn is None:
            return
        error = done.exception
        if not isinstance(error, DuologueError):
            _log.error("generation ended by %s", type(error).__name__, extra={"dialogue": self._state.id})
            error = ProviderFailed("The service ended without an answer.", category="internal")
        self._fail(error)

    def on_checkpoint_due(self) -> None:
        """Keep what the answer has said since the last checkpoint, unless the store has enough to do."""
        turn = self._state.turn
        if turn is None or turn.phase not in (Phase.STREAMING, Phase.RECOVERING):
            return
        self._ctx.start_timer("checkpoint", self._state.env.limits.checkpoint_interval, CheckpointDue())
        offset = turn.checkpointed
        if offset == turn.text_length or self._state.journal:
            return
        assert turn.model is not None and turn.tier is not None
        record = AnswerExtended(
            turn.turn_id, turn.attempt, offset, turn.text[offset:], turn.model, turn.tier, turn.service
        )
        turn.checkpointed = turn.text_length
        self._writer.submit(CheckpointIntent(turn, (record,), offset))

    # ── ending ──────────────────────────────────────────────────────────────────────────────────────────────

    def cancel(self) -> None:
        """Stop the turn that is under way, unless its end is on its way already."""
        turn = self._state.turn
        assert turn is not None
        if turn.phase in (Phase.OPENING, Phase.DOOMED):
            # The message may be in the store by now, so the turn ends when that is known.
            turn.advance(TurnInput.CANCEL)
        elif turn.open and turn.phase is not Phase.CLOSING:
            self._close(TurnOutcome.CANCELLED)

    def _fail(self, error: DuologueError) -> None:
        self._close(TurnOutcome.FAILED, ErrorInfo.of(error))

    _ENDINGS: ClassVar = {
        TurnOutcome.COMPLETED: TurnInput.FINISHED,
        TurnOutcome.FAILED: TurnInput.EXHAUSTED,
        TurnOutcome.CANCELLED: TurnInput.CANCEL,
    }

    def _close(self, outcome: TurnOutcome, error: ErrorInfo | None = None) -> None:
        """Stop generating and write down how the turn ended; the terminal event follows the commit."""
        turn = self._state.turn
        assert turn is not None
        if turn.phase is not Phase.CLOSING:
            turn.advance(self._ENDINGS[outcome])
        self.stop_generating()
        self._ctx.cancel_timer("checkpoint")
        record = TurnClosed(
            turn.turn_id,
            turn.last_attempt,
            outcome,
            self._answer(turn, outcome),
            turn.finish_reason if outcome is TurnOutcome.COMPLETED else None,
            None if error is None else error.code,
        )
        intent = CloseIntent(turn, (record,), record, error)
        self._ctx.start_timer("not_saved", self._state.env.limits.not_saved_after, NotSavedDue(intent))
        self._writer.submit(intent)

    def _answer(self, turn: Turn, outcome: TurnOutcome) -> Message | None:
        text = turn.text
        if not text:
            return None
        env = self._state.env
        return Message(
            MessageId("m_" + env.new_id()),
            Role.ASSISTANT,
            text,
            turn.turn_id,
            env.wall_clock(),
            MessageStatus.COMPLETE if outcome is TurnOutcome.COMPLETED else MessageStatus.PARTIAL,
            turn.model,
            turn.usage,
        )

    def _closed(self, intent: CloseIntent) -> None:
        self._ctx.cancel_timer("not_saved")
        if not intent.abandoned:
            intent.turn.advance(TurnInput.COMMITTED)
            self._announce_end(intent)
        self._state.take_turn(None)
        if intent.abandoned:
            # The end was announced as `not_saved`; that it was saved after all has no event, so show it.
            self._state.feed.announce(self._state.snapshot)
        self.begin_next()

    def _announce_end(self, intent: CloseIntent) -> None:
        state, turn, closing = self._state, intent.turn, intent.closing
        if closing.outcome is TurnOutcome.COMPLETED:
            answer, reason, model = closing.answer, closing.finish_reason, turn.model
            assert answer is not None and reason is not None and model is not None
            state.emit(TurnCompleted, turn.turn_id, turn.attempt, answer, reason, model, turn.usage)
        elif closing.outcome is TurnOutcome.CANCELLED:
            state.emit(TurnCancelled, turn.turn_id, turn.text)
        else:
            assert intent.error is not None
            state.emit(TurnFailed, turn.turn_id, intent.error, turn.text)
        self._count_end(turn, closing.outcome.value)

    def on_not_saved(self, intent: CloseIntent) -> None:
        """The store stayed ill: say so now. The write goes on being tried; nothing new is taken meanwhile."""
        if intent.turn is not self._state.turn or intent.abandoned:
            return
        intent.abandoned = True
        intent.turn.advance(TurnInput.GAVE_UP)
        error = ErrorInfo.of(NotSaved("The store did not take the answer in time."))
        self._state.emit(TurnFailed, intent.turn.turn_id, error, intent.turn.text)
        self._count_end(intent.turn, NotSaved.code)

    def leave(self) -> None:
        """The actor ends: what it counted as open is so no longer, until another one finds it."""
        turn = self._state.turn
        if turn is not None and turn.open:
            self._count_end(turn, Interrupted.code)

    def _count_end(self, turn: Turn, outcome: str) -> None:
        seconds = self._ctx.now() - turn.opened_at
        self._state.env.telemetry.turn_ended(service=turn.service, outcome=outcome, seconds=seconds)

    # ── recovering ──────────────────────────────────────────────────────────────────────────────────────────

    def put_up(self) -> None:
        """Put the turn that the log left open on its feet, so that a snapshot shows it."""
        found = self._state.history.open_turn
        assert found is not None
        turn = Turn(
            found.turn_id, found.message_ids, service="", phase=Phase.RECOVERING, opened_at=self._ctx.now()
        )
        turn.attempt = turn.counted = found.attempt
        turn.model, turn.tier = found.model, found.tier
        turn.reason = Interrupted.code
        if found.text:
            turn.extend(found.text)
            turn.checkpointed = turn.text_length
        self._state.take_turn(turn)

    def recover(self) -> None:
        """Say that the turn was interrupted, then have it answered anew or keep what there is."""
        state, turn = self._state, self._state.turn
        assert turn is not None
        state.feed.begin_turn()
        state.emit(TurnInterrupted, turn.turn_id, turn.text)
        try:
            policy = state.policy()
        except DuologueError as error:
            state.env.telemetry.turn_started(service=turn.service)
            self._fail(error)
            return
        turn.service = policy.service
        state.env.telemetry.turn_started(service=turn.service)
        if policy.retry_interrupted:
            turn.counted += 1
            began = AttemptBegan(turn.turn_id, turn.counted)
            self._writer.submit(AttemptIntent(turn, (began,), generates=True))
        else:
            self._fail(Interrupted("The server restarted while the answer was being made."))

    def _counted(self, intent: AttemptIntent) -> None:
        turn = intent.turn
        if turn is self._state.turn and turn.phase is Phase.RECOVERING:
            self._generate(turn, first_attempt=turn.counted, reason=Interrupted.code)
