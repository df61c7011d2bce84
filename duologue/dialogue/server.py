"""One dialogue, one actor: it owns the history, the turn and the one task that generates.

Nothing here waits but loading, which comes before any message. The store and the models are waited for in
owned tasks that report back as messages, so a stop button works mid-token. What may happen when is the
turn's table (`turn.py`) and its life (`flow.py`); what a question becomes is `asking.py`; what is written
in which order is the journal's (`journal.py`, `writer.py`); who is told what is the feed's (`feed.py`).
"""

import logging
from dataclasses import dataclass
from typing import Any

from duologue.dialogue.asking import ask, edit, regenerate
from duologue.dialogue.commit import Troubled
from duologue.dialogue.environment import DialogueEnvironment
from duologue.dialogue.flow import Batch, CheckpointDue, NotSavedDue, TurnFlow
from duologue.dialogue.journal import MessageIntent
from duologue.dialogue.requests import (
    Ask,
    Attach,
    Attached,
    CancelTurn,
    Delete,
    Detach,
    Edit,
    GetMessages,
    GetSnapshot,
    Open,
    Opened,
    Regenerate,
)
from duologue.dialogue.state import DialogueState
from duologue.dialogue.turn import Phase
from duologue.dialogue.writer import WRITE
from duologue.errors import (
    BadRequest,
    Conflict,
    DuologueError,
    Interrupted,
    Moved,
    NotFound,
    RecordCorrupt,
    StoreUnavailable,
)
from duologue.messages import DialogueId, DialogueMeta, Epoch, Position
from duologue.runtime import (
    NO_REPLY,
    NORMAL,
    SHUTDOWN,
    Actor,
    Continue,
    ExitReason,
    ReplyTo,
    Request,
    Stop,
    TaskDone,
)
from duologue.store.port import Created, Head

__all__ = ["DialogueServer", "STORE_LOST"]

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 1000
_METADATA_MAX = 32
_INTERNAL = DuologueError("Something went wrong on our side; the log says what.")

STORE_LOST = ExitReason.shutdown("store_unavailable")
"""How an actor leaves that could not load: not a crash, but whoever needs the dialogue should try again."""


@dataclass(frozen=True, slots=True)
class _WindowOver:
    """A merge window has passed."""

    window: int


@dataclass(frozen=True, slots=True)
class _IdleDue:
    """Time to look whether anybody still wants the dialogue awake."""


@dataclass(frozen=True, slots=True)
class _Leave:
    """The actor has said long enough that it has nothing to show."""

    reason: ExitReason


class DialogueServer(Actor):
    """The actor of one dialogue. Callers use `duologue.dialogue.handle.Dialogue`.

    Args:
        dialogue: Whose actor this is.
        environment: Ports, rules' numbers, sources of time and names.
    """

    traps_exits = True
    """So that `terminate` runs, and answers those who wait, when the tree is stopped."""

    __slots__ = ("_creating", "_deleting", "_env", "_flow", "_last_request_at", "_refusal", "_state", "id")

    def __init__(self, dialogue: DialogueId, environment: DialogueEnvironment) -> None:
        self.id = dialogue
        self._env = environment
        self._state = DialogueState(dialogue, environment, self._start_window)
        self._flow: TurnFlow
        self._refusal: DuologueError | None = None
        """What every request is answered with when the dialogue could not be loaded."""
        self._creating: list[tuple[DialogueMeta, ReplyTo[Opened]]] = []
        """Who waits for the creation that is under way, and with which values."""
        self._deleting: list[ReplyTo[bool]] = []
        """Who waits for the deletion that is under way."""
        self._last_request_at = 0.0

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────

    def init(self) -> Continue:
        self._flow = TurnFlow(self._state, self.ctx)
        self._last_request_at = self.ctx.now()
        return Continue()

    async def handle_continue(self, argument: object) -> None:  # noqa: ARG002 - the callback's signature
        """Load: the one wait for the store that holds the mailbox up."""
        try:
            head = await self._env.store.claim(self.id, self._env.new_id())
            if head is not None:
                await self._read_log(head)
        except StoreUnavailable as error:
            self._refuse_all(error, STORE_LOST)
        else:
            if head is None:
                self._refuse_all(NotFound("There is no such dialogue."), NORMAL)
                self._dismiss_viewers("deleted")
            else:
                self._take_up(head)

    async def _read_log(self, head: Head) -> None:
        history = self._state.history
        while history.log_index < head.log_index:
            entries = await self._env.store.read(self.id, after=history.log_index, limit=_READ_AT_ONCE)
            if not entries:
                raise RecordCorrupt("The log is shorter than its head says.")
            for entry in entries:
                history.apply(entry.record)

    def _refuse_all(self, error: DuologueError, reason: ExitReason) -> None:
        # It stays a moment so that a flood of requests for a dialogue that is not there costs one look.
        self._refusal = error
        self.ctx.start_timer("leave", self._env.limits.linger, _Leave(reason))

    def _take_up(self, head: Head) -> None:
        """Go on where the log stops."""
        state, found = self._state, self._state.history.open_turn
        state.meta = head.meta
        state.journal.owner = head.owner
        state.journal.in_index = found is not None or bool(state.history.queued)
        position = head.position if found is None else Position(Epoch(self._env.new_id()), 0)
        state.feed.start_at(position)
        self._env.telemetry.dialogue_started()
        if found is not None:
            self._flow.put_up()
        state.feed.adopt(self._env.attachments.of(self.id), state.snapshot)
        if found is not None:
            self._flow.recover()
        else:
            state.take_turn(None)  # whatever an earlier actor was about to do
            self._flow.begin_next()
        self.ctx.start_timer("idle", self._env.limits.idle_after, _IdleDue())

    def terminate(self, reason: ExitReason) -> None:
        if self._state.meta is not None:
            self._env.telemetry.dialogue_retired()
            self._flow.leave()
        self._fail_waiting(Interrupted("The dialogue stopped before this was kept; send it again."))
        if not reason.clean:
            _log.error("dialogue ended unasked: %s", reason, extra={"dialogue": self.id})

    def _fail_waiting(self, error: DuologueError) -> None:
        for intent in self._state.journal:
            if isinstance(intent, MessageIntent):
                intent.fail(error)

    def describe(self) -> dict[str, object]:
        state = self._state
        return {
            "messages": len(state.history.messages),
            "phase": None if state.turn is None else state.turn.phase.name,
            "viewers": state.feed.viewers,
            "log_index": state.history.log_index,
        }

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────

    def handle_call(self, request: Request[Any], reply_to: ReplyTo[Any]) -> Any:
        self._last_request_at = self.ctx.now()
        try:
            return self._answer(request, reply_to)
        except DuologueError as error:
            reply_to.fail(error)
            return NO_REPLY

    def _answer(self, request: Request[Any], reply_to: ReplyTo[Any]) -> Any:
        self._must_be_there(request)
        match request:
            case Attach():
                return self._attach(request, reply_to)
            case Ask() | Regenerate() | Edit():
                return self._question(request, reply_to)
            case CancelTurn():
                return self._cancel(request, reply_to)
            case GetSnapshot():
                return self._state.snapshot()
            case GetMessages():
                return self._state.page(request)
            case Open():
                return self._open(request, reply_to)
            case Delete():
                return self._delete(reply_to)
            case _:
                return super().handle_call(request, reply_to)

    def _must_be_there(self, request: Request[Any]) -> None:
        if self._deleting and not isinstance(request, Delete):
            raise NotFound("There is no such dialogue.")
        creates = isinstance(request, Open) and isinstance(self._refusal, NotFound)
        if self._refusal is not None and not creates:
            raise self._refusal

    def _question(self, request: Ask | Regenerate | Edit, reply_to: ReplyTo[Any]) -> Any:
        state, now = self._state, self.ctx.now()
        intent: MessageIntent | None
        if isinstance(request, Ask):
            intent = ask(state, request, reply_to, now=now)
        elif isinstance(request, Edit):
            intent = edit(state, request, reply_to, now=now)
        else:
            intent = regenerate(state, reply_to, now=now)
        if intent is not None:
            self._flow.begin(intent)
        return NO_REPLY

    def _cancel(self, request: CancelTurn, reply_to: ReplyTo[bool]) -> Any:
        turn = self._state.turn
        if turn is None or request.turn_id not in (None, turn.turn_id):
            return False
        if turn.phase in (Phase.CLOSING, Phase.CLOSED):
            return False
        reply_to.reply(True)  # noqa: FBT003 - the answer is a boolean
        self._flow.cancel()
        return NO_REPLY

    def _attach(self, request: Attach, reply_to: ReplyTo[Attached]) -> Any:
        feed, attachment = self._state.feed, request.attachment
        if attachment.left:
            raise NotFound("The viewer has left.")
        resumed, deliver = feed.attach(attachment, request.after)
        if self._env.attachments.add(attachment):
            self._env.telemetry.viewer_attached()
        reply_to.reply(Attached(resumed, feed.epoch, feed.seq))
        if not resumed:
            attachment.deliver(feed.snapshot_event(self._state.snapshot()))
        deliver()
        return NO_REPLY

    def handle_cast(self, message: object) -> None:
        if isinstance(message, Detach):
            self._state.feed.detach(message.attachment)
        else:
            super().handle_cast(message)

    # ── creation ────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, request: Open, reply_to: ReplyTo[Opened]) -> Any:
        state = self._state
        meta = DialogueMeta(
            request.feature,
            request.section,
            request.account,
            request.system_prompt,
            dict(request.metadata),
            self._env.wall_clock(),
        )
        known = state.meta if state.meta is not None or not self._creating else self._creating[0][0]
        if known is not None and not known.same_opening(meta):
            raise Conflict("The dialogue exists and was opened with other values.")
        if state.meta is not None:
            return Opened(self.id, state.feed.epoch, state.feed.seq, created=False)
        if not self._creating:
            self._create(meta)
        self._creating.append((meta, reply_to))
        return NO_REPLY

    def _create(self, meta: DialogueMeta) -> None:
        if len(meta.metadata) > _METADATA_MAX:
            raise BadRequest(f"metadata has {len(meta.metadata)} entries; at most {_METADATA_MAX} are kept.")
        self._env.resolve(meta)
        self.ctx.cancel_timer("leave")
        position = Position(Epoch(self._env.new_id()), 0)
        nonce = self._env.new_id()
        self.ctx.spawn(self._env.store.create(self.id, nonce, meta, position), name="create")

    def _on_create_done(self, done: TaskDone) -> Stop | None:
        waiting, self._creating = self._creating, []
        error = done.exception
        if error is not None:
            for _, reply_to in waiting:
                reply_to.fail(error if isinstance(error, DuologueError) else _INTERNAL)
            return Stop(STORE_LOST)
        created = done.result
        assert isinstance(created, Created)
        if not created.created:
            return self._found_instead(created.head, waiting)
        self._refusal = None
        self._take_up(created.head)
        feed = self._state.feed
        for index, (_, reply_to) in enumerate(waiting):
            reply_to.reply(Opened(self.id, feed.epoch, feed.seq, created=index == 0))
        return None

    def _found_instead(self, head: Head, waiting: list[tuple[DialogueMeta, ReplyTo[Opened]]]) -> Stop:
        """Somebody else made it a moment ago: answer for what it is; the next request loads it."""
        for meta, reply_to in waiting:
            if head.meta.same_opening(meta):
                position = head.position
                reply_to.reply(Opened(self.id, position.epoch, position.seq, created=False))
            else:
                reply_to.fail(Conflict("The dialogue exists and was opened with other values."))
        return Stop(NORMAL)

    # ── deletion ────────────────────────────────────────────────────────────────────────────────────────────

    def _delete(self, reply_to: ReplyTo[bool]) -> Any:
        if not self._deleting:
            self._flow.stop_generating()
            self.ctx.spawn(self._env.store.delete(self.id), name="delete")
        self._deleting.append(reply_to)
        return NO_REPLY

    def _on_delete_done(self, done: TaskDone) -> Stop:
        waiting, self._deleting = self._deleting, []
        error = done.exception
        if error is not None:
            for reply_to in waiting:
                reply_to.fail(error if isinstance(error, DuologueError) else _INTERNAL)
            # What was stopped for it must go on: the next actor reads the log and recovers.
            return Stop(STORE_LOST)
        for reply_to in waiting:
            reply_to.reply(bool(done.result))
        self._say_goodbye("deleted")
        return Stop(NORMAL)

    def _say_goodbye(self, reason: str) -> None:
        self._state.feed.flush_all()
        self._dismiss_viewers(reason)

    def _dismiss_viewers(self, reason: str) -> None:
        for _ in range(self._env.attachments.close(self.id, reason)):
            self._env.telemetry.viewer_detached()

    # ── messages to itself ──────────────────────────────────────────────────────────────────────────────────

    def handle_info(self, message: object) -> Stop | None:
        match message:
            case Batch():
                self._flow.on_batch(message)
            case TaskDone():
                return self._on_task_done(message)
            case _WindowOver():
                self._state.feed.flush(message.window)
            case CheckpointDue():
                self._flow.on_checkpoint_due()
            case Troubled():
                self._flow.writer.on_trouble(message)
            case NotSavedDue():
                self._flow.on_not_saved(message.intent)
            case _IdleDue():
                return self._on_idle_due()
            case _Leave():
                return Stop(message.reason)
            case _:
                super().handle_info(message)
        return None

    def _on_task_done(self, done: TaskDone) -> Stop | None:
        if done.name == "delete":
            return self._on_delete_done(done)
        if self._deleting:
            return None
        if done.name == "create":
            return self._on_create_done(done)
        if done.name != WRITE:
            self._flow.on_generation_done(done)
            return None
        try:
            self._flow.writer.on_done(done)
        except Moved as error:
            # Nothing of ours can be written any more: tell those who wait and those who watch, and leave.
            self._fail_waiting(error)
            self._say_goodbye("moved")
            return Stop(SHUTDOWN)
        return None

    def _start_window(self, window: int) -> None:
        self.ctx.start_timer(f"window-{window}", window / 1000, _WindowOver(window))

    def _on_idle_due(self) -> Stop | None:
        """Go to sleep when nothing is under way. Viewers stay attached; the next request wakes the dialogue."""
        state, idle_after = self._state, self._env.limits.idle_after
        busy = state.turn is not None or bool(state.journal) or bool(self._deleting)
        remaining = idle_after if busy else self._last_request_at + idle_after - self.ctx.now()
        if remaining <= 0:
            return Stop(NORMAL)
        self.ctx.start_timer("idle", remaining, _IdleDue())
        return None
