"""The running side of an actor: takes messages from the queue and gives them to the callbacks."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from duologue.runtime.actor import Actor
from duologue.runtime.context import ActorContext
from duologue.runtime.ending import Ending
from duologue.runtime.exits import IGNORED, KILLED, NORMAL, ExitReason
from duologue.runtime.failures import Ignore, StartFailed, StartIgnored
from duologue.runtime.links import Exit, Ties, link
from duologue.runtime.mailbox import CALL, CAST, CONTINUE, DRAIN_MESSAGES, EXIT, INFO, STOP, Mailbox
from duologue.runtime.ref import Ref
from duologue.runtime.requests import ReplyTo
from duologue.runtime.results import Continue, NoReply, Refuse, Reply, Stop
from duologue.runtime.tasks import OwnedTask, Raised, start_contained
from duologue.runtime.waiters import StartDeadline

if TYPE_CHECKING:
    from duologue.runtime.system import ActorSystem
    from duologue.runtime.timers import NamedTimer

__all__ = ["Process", "local"]

DRAIN_SECONDS = 0.002
"""Seconds after which it takes no further one."""


_AWAITED = frozenset({CoroutineType, asyncio.Future, asyncio.Task})
_NOT_A_VALUE = _AWAITED | {NoReply, Reply, Refuse, Stop, Continue}
INIT = 6
_CALLBACKS = ("handle_call", "handle_cast", "handle_info", "handle_continue", "handle_info", "stop", "init")


class Process(Mailbox):
    """One life of an actor in the kernel. Users see it as a `Ref`.

    States: starting (`starters` is there), running, ending (`ending` is there), ended (`actor` is gone).
    """

    __slots__ = (
        "_name",
        "_reason",
        "_step_kind",
        "_step_reply",
        "ending",
        "handled",
        "kind",
        "parent",
        "past",
        "start_timeout",
        "starters",
        "tasks",
        "ties",
        "timers",
        "trap_exits",
    )

    def __init__(
        self,
        system: "ActorSystem",
        actor: Actor,
        number: int,
        name: str | None,
        parent: "Process | None",
    ) -> None:
        super().__init__(system, actor)
        self.id = number
        self.kind = type(actor)
        self.parent = parent
        self.trap_exits = actor.traps_exits
        self.handled = 0  # messages given to callbacks
        self.past: tuple[int, ExitReason] | None = None  # restarts of this child so far, and the last reason
        self.starters: list[Callable[[StartFailed | None], None]] | None = []  # None once init has succeeded
        self.ties: Ties | None = None
        self.timers: dict[str, NamedTimer] | None = None
        self.tasks: dict[OwnedTask, None] | None = None
        self.ending: Ending | None = None
        self._name = name
        self.start_timeout: float | None = None  # seconds that an async init has; set before it runs
        self._reason: ExitReason | None = None
        self._step_kind = INIT
        self._step_reply: ReplyTo[Any] | None = None
        actor.ctx = ActorContext(self)
        self._queue = deque()
        system.call_soon(self._begin, context=self.context)

    # What a Ref promises.

    @property
    def name(self) -> str:
        return self._name or f"{self.kind.__name__}-{self.id}"

    @property
    def exit_reason(self) -> ExitReason | None:
        return self._reason

    def exit(self, reason: ExitReason, sender: Ref[Any] | None = None) -> None:
        self.signal(reason, local(sender) if sender is not None else None)

    def kill(self) -> None:
        if self.actor is not None:
            self.system.call_soon(self._end, KILLED)

    async def wait_started(self) -> None:
        if self.starters is None:
            return
        if self.actor is None:
            raise self.start_failure()
        future: asyncio.Future[None] = self.system.loop.create_future()

        def started(failure: StartFailed | None) -> None:
            if future.done():
                return
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

        self.starters.append(started)
        await future

    # The turn on the loop.

    def _begin(self) -> None:
        actor = self.actor
        if actor is None or self.ending is not None:
            return
        try:
            carry_on = self._after_init(actor.init())
        except BaseException as error:  # noqa: BLE001 - whatever a callback raises is the actor's end, not the loop's
            self._crash(error, INIT)
            return
        if carry_on:
            self._drain()

    def _drain(self) -> None:  # noqa: C901, PLR0912 - the hot path, with its calls written out
        actor = self.actor
        queue = self._queue
        if actor is None or queue is None or self.ending is not None:
            return
        system = self.system
        stopwatch = system.stopwatch
        started = before = stopwatch()
        left = DRAIN_MESSAGES
        kind = CAST
        extra: Any = None
        try:
            while queue:
                kind, message, extra = queue.popleft()
                left -= 1
                if kind == CALL:
                    result = actor.handle_call(message, extra)
                    if result.__class__ not in _NOT_A_VALUE:
                        extra.reply(result)
                    elif not self._after_call(result, extra):
                        break
                elif kind == CAST:
                    result = actor.handle_cast(message)
                    if result is not None and not self._after(result, CAST):
                        break
                elif not self._handle_rare(actor, kind, message, extra):
                    break
                now = stopwatch()
                if now - before > system.hold_limit:
                    system.loop_held(self, message, now - before)
                before = now
                if not left or now - started > DRAIN_SECONDS:
                    break
        except BaseException as error:  # noqa: BLE001 - whatever a callback raises is the actor's end, not the loop's
            self._crash(error, kind, extra if kind == CALL else None)
        self.handled += DRAIN_MESSAGES - left
        if self._step is not None or self._queue is None or self.ending is not None:
            return  # a callback's task goes on from here, or the end has come
        if queue:
            self._keep_deadlines()
            system.call_soon(self._drain, context=self.context)
        else:
            self._queue = None
            system.spare_queue = queue

    def _handle_rare(self, actor: Actor, kind: int, message: Any, extra: Any) -> bool:
        """Everything but calls and casts. False: this turn is over."""
        if kind == INFO:
            if extra is not None and not extra.claim():
                return True
            return self._after(actor.handle_info(message), INFO)
        if kind == CONTINUE:
            return self._after(actor.handle_continue(message), CONTINUE)
        if kind == EXIT:
            return self._after(actor.handle_info(Exit(extra, message)), EXIT)
        self._end(message, terminate=True)
        return False

    # What comes back from a callback. False: this turn is over.

    def _after_call(self, result: Any, reply_to: ReplyTo[Any]) -> bool:
        cls = result.__class__
        if cls in _AWAITED:
            return self._await(result, CALL, reply_to)
        if cls is Reply:
            reply_to.reply(result.value)
            return self._after(result.then, CALL)
        if cls is Refuse:
            reply_to.fail(result.error)
            return True
        if cls is Stop and not isinstance(result.reply, NoReply):
            self._end(result.reason, terminate=True, answer=(reply_to, result.reply))
            return False
        self._owe(reply_to)
        return cls is NoReply or self._after(result, CALL)

    def _after(self, result: Any, kind: int) -> bool:
        if result is None:
            return True
        cls = result.__class__
        if cls in _AWAITED:
            return self._await(result, kind, None)
        if cls is Continue:
            self.post_first(CONTINUE, result.argument)
            return True
        if cls is Stop:
            self._end(result.reason, terminate=True)
            return False
        reason = ExitReason("bad_return", f"{_CALLBACKS[kind]} returned {cls.__qualname__}")
        self._end(reason, terminate=kind != INIT, during=_CALLBACKS[kind])
        return False

    def _after_init(self, result: Any) -> bool:
        cls = result.__class__
        if cls in _AWAITED:
            return self._await(result, INIT, None)
        if cls is Refuse:
            self._end(ExitReason.of(result.error))
            return False
        if cls is Stop:
            self._end(result.reason, during="init")
            return False
        if not self._after(result, INIT):
            return False
        starters, self.starters = self.starters, None
        for started in starters or ():
            started(None)
        return True

    def _await(self, work: Awaitable[Any], kind: int, reply_to: ReplyTo[Any] | None) -> bool:
        """Let the mailbox wait for an async callback."""
        if reply_to is not None:
            self._owe(reply_to)
        self._keep_deadlines()
        self._step_kind = kind
        self._step_reply = reply_to
        self._step = start_contained(
            self.system.loop, work, name=f"{self.name}/{_CALLBACKS[kind]}", context=self.context
        )
        self._step.add_done_callback(self._stepped, context=self.context)
        if kind == INIT and self.start_timeout is not None:
            StartDeadline(self, self.start_timeout)
        return False

    def _stepped(self, task: "asyncio.Task[Any]") -> None:
        if self._step is not task or self.ending is not None:
            return
        kind, reply_to = self._step_kind, self._step_reply
        self._step = self._step_reply = None
        try:
            result = task.result()  # raises when the callback was cancelled by somebody else
            if result.__class__ is Raised:
                raise result.error  # noqa: TRY301 - one way for what a callback raised
            if kind == INIT:
                carry_on = self._after_init(result)
            elif reply_to is None:
                carry_on = self._after(result, kind)
            elif result.__class__ in _NOT_A_VALUE:
                carry_on = self._after_call(result, reply_to)
            else:
                reply_to.reply(result)
                carry_on = True
        except BaseException as error:  # noqa: BLE001 - as in _drain
            self._crash(error, kind)
            return
        if carry_on:
            self._drain()

    def _owe(self, reply_to: ReplyTo[Any]) -> None:
        if self.owed is None:
            self.owed = set()
        reply_to.put_off(self.owed)

    # The end.

    def signal(self, reason: ExitReason, sender: "Process | None", *, from_parent: bool = False) -> None:
        """An exit signal arrives. `from_parent`: as if the parent had sent it; the system is every root's."""
        if self.actor is None or self.ending is not None:
            return
        if self.trap_exits:
            if from_parent or (sender is not None and sender is self.parent):
                self.post(STOP, reason, None)  # in its turn, after what was sent before
            else:
                self.post(EXIT, reason, sender)
        elif reason != NORMAL or sender is self:
            self.exit_with(reason)

    def exit_with(self, reason: ExitReason, during: str | None = None) -> None:
        self.system.call_soon(partial(self._end, reason, during=during))

    def _crash(self, error: BaseException, kind: int, reply_to: ReplyTo[Any] | None = None) -> None:
        if reply_to is not None:
            self._owe(reply_to)
        if kind == INIT and isinstance(error, Ignore):
            self._end(IGNORED)
        else:
            self._end(ExitReason.of(error), terminate=kind != INIT, during=_CALLBACKS[kind])

    def _end(
        self,
        reason: ExitReason,
        *,
        terminate: bool = False,
        answer: tuple[ReplyTo[Any], Any] | None = None,
        during: str | None = None,
    ) -> None:
        """Begin to end. `during`: the callback whose fault it is, for the report."""
        if self.actor is None:
            return
        if self.ending is not None:
            if reason is KILLED:
                self.ending.kill()
            return
        if terminate and during is None:
            during = "stop"
        step, self._step = self._step, None
        self.ending = Ending(self, reason, terminate=terminate, answer=answer, during=during)
        self.ending.begin(step)
        self._keep_deadlines()  # if it takes its time to end

    def ended(self, reason: ExitReason) -> tuple[list[ReplyTo[Any]], Ties | None]:
        """Let go of everything (the last step of `Ending`); returns who has to hear of it."""
        waiting = [extra for kind, _, extra in self._queue or () if kind == CALL]
        owed = [*(self.owed or ()), *waiting]
        ties, self.ties = self.ties, None
        self._reason = reason
        self.actor = self._queue = self.owed = self.tasks = self.timers = self.ending = None
        return owed, ties

    def start_failure(self) -> StartFailed:
        """What its starter gets, when it has ended before it was started."""
        reason = self._reason
        assert reason is not None
        return StartIgnored(self.name) if reason == IGNORED else StartFailed(self.name, reason)

    @property
    def state(self) -> str:
        """In a word, for people: see `ActorNode`."""
        if self.ending is not None:
            return "ending"
        if self.starters is not None:
            return "starting"
        return "running" if self._step is None else "waiting"

    # What belongs to it.

    def tied(self) -> Ties:
        """Its ties, made now if there are none."""
        if self.ties is None:
            self.ties = Ties()
        return self.ties

    def adopt(self, parent: "Process") -> None:
        """Be born as a child: linked, and ended by its parent's exit signal even if it traps."""
        link(self, parent)

    def on_end(self, callback: Callable[[ExitReason], None]) -> None:
        ties = self.tied()
        if ties.on_end is None:
            ties.on_end = []
        ties.on_end.append(callback)

    def forget_on_end(self, callback: Callable[[ExitReason], None]) -> None:
        if self.ties is not None and self.ties.on_end is not None and callback in self.ties.on_end:
            self.ties.on_end.remove(callback)

    def task_ended(self, task: OwnedTask) -> None:
        """A task has ended."""
        if self.tasks is not None:
            self.tasks.pop(task, None)


def local(ref: Ref[Any]) -> Process:
    """The process behind a ref of this process's memory."""
    assert isinstance(ref, Process)
    return ref
