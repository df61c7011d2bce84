"""The running side of an actor: takes messages from the queue and gives them to the callbacks."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from duologue.runtime.actor import Actor
from duologue.runtime.context import ActorContext
from duologue.runtime.exits import ExitReason
from duologue.runtime.life import Life
from duologue.runtime.links import Exit
from duologue.runtime.mailbox import CALL, CAST, CONTINUE, DRAIN_MESSAGES, EXIT, INFO, INIT, callback_name
from duologue.runtime.overseer import Overseer
from duologue.runtime.ref import Ref
from duologue.runtime.requests import ReplyTo
from duologue.runtime.results import Continue, Hibernate, NoReply, Refuse, Reply, Stop, WhenIdle
from duologue.runtime.tasks import Raised, start_contained
from duologue.runtime.waiters import StartDeadline

if TYPE_CHECKING:
    from duologue.runtime.system import ActorSystem

__all__ = ["Process", "local"]

DRAIN_SECONDS = 0.002
"""Seconds after which it takes no further one."""

_AWAITED = frozenset({CoroutineType, asyncio.Future, asyncio.Task})
_RESTING = frozenset({WhenIdle, Hibernate})
_NOT_A_VALUE = _AWAITED | _RESTING | {NoReply, Reply, Refuse, Stop, Continue}


class Process(Life):
    """One life of an actor in the kernel. Users see it as a `Ref`."""

    __slots__ = ("_step_kind", "_step_reply")

    def __init__(
        self, system: "ActorSystem", actor: Actor, number: int, name: str | None, parent: "Process | None"
    ) -> None:
        super().__init__(system, actor, number, name, parent)
        self._step_kind = INIT
        self._step_reply: ReplyTo[Any] | None = None
        actor.ctx = ActorContext(self)
        if actor.hibernate_after is not None:
            self.oversee()
        self.queue = deque()
        system.call_soon(self._begin, context=self.context)

    # The turn on the loop.

    def _begin(self) -> None:
        actor = self.actor
        if actor is None or self.ending is not None:
            return
        stopwatch = self.system.stopwatch
        began = stopwatch()
        try:
            carry_on = self._after_init(actor.init())
        except BaseException as error:  # noqa: BLE001 - whatever a callback raises is the actor's end, not the loop's
            self.crash(error, INIT)
            return
        held = stopwatch() - began
        if held > self.system.hold_limit:
            self.system.loop_held(self, "init", "init", held)
        if carry_on:
            self.drain()

    def drain(self) -> None:  # noqa: C901 - the hot path, with its calls written out
        actor = self.actor
        queue = self.queue
        if actor is None or queue is None or self.ending is not None:
            return
        if self.overseer is not None:
            self._drain_overseen(self.overseer)
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
                    system.loop_held(self, callback_name(kind), type(message).__name__, now - before)
                before = now
                if not left or now - started > DRAIN_SECONDS:
                    break
        except BaseException as error:  # noqa: BLE001 - whatever a callback raises is the actor's end, not the loop's
            self.crash(error, kind, extra if kind == CALL else None)
        self.handled += DRAIN_MESSAGES - left
        self._rearm()

    def _rearm(self) -> None:
        """A turn is over: ask for the next one, or rest."""
        queue = self.queue
        if self.step is not None or queue is None or self.ending is not None:
            return  # a callback's task goes on from here, or the end has come
        if queue:
            self.keep_deadlines()
            self.system.call_soon(self.drain, context=self.context)
        else:
            self.queue = None
            self.system.spare_queue = queue

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
        self.end(message, terminate=True)
        return False

    # The same turn, one message at a time, for an actor that somebody looks at.

    def _drain_overseen(self, overseer: Overseer) -> None:
        system = self.system
        started = before = system.stopwatch()
        for _ in range(DRAIN_MESSAGES):
            overseer.run_controls()
            actor, queue = self.actor, self.queue
            if overseer.held_back() or actor is None or not queue or self.step is not None or self.ending:
                break
            kind, message, extra = queue.popleft()
            if kind == INFO and extra is not None:
                if not extra.claim():
                    continue
                extra = None
            name = callback_name(kind)
            overseer.taken(name, message)
            self.handled += 1
            carry_on = self._handle_overseen(overseer, actor, kind, message, extra)
            now = system.stopwatch()
            overseer.count(name, now - before)
            if not carry_on:
                break
            if now - before > system.hold_limit:
                system.loop_held(self, name, type(message).__name__, now - before)
            before = now
            if now - started > DRAIN_SECONDS:
                break
        self._rearm()
        if self.resting:
            overseer.quiet()
        self.dismiss_overseer()

    def _handle_overseen(self, overseer: Overseer, actor: Actor, kind: int, message: Any, extra: Any) -> bool:
        try:
            result: Any
            if kind == CALL:
                result = actor.handle_call(message, extra)
            elif kind == CAST:
                result = actor.handle_cast(message)
            elif kind == INFO:
                result = actor.handle_info(message)
            elif kind == CONTINUE:
                result = actor.handle_continue(message)
            elif kind == EXIT:
                result = actor.handle_info(Exit(extra, message))
            else:
                return self._handle_rare(actor, kind, message, extra)
            if result.__class__ not in _AWAITED:
                overseer.returned(callback_name(kind), result)
            return self._take(result, kind, extra if kind == CALL else None)
        except BaseException as error:  # noqa: BLE001 - as in drain
            self.crash(error, kind, extra if kind == CALL else None)
            return False

    # What comes back from a callback. False: this turn is over.

    def _take(self, result: Any, kind: int, reply_to: ReplyTo[Any] | None) -> bool:
        if reply_to is None:
            return self._after(result, kind)
        if result.__class__ in _NOT_A_VALUE:
            return self._after_call(result, reply_to)
        reply_to.reply(result)
        return True

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
            self.end(result.reason, terminate=True, answer=(reply_to, result.reply))
            return False
        self.owe(reply_to)
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
            self.end(result.reason, terminate=True)
            return False
        if cls in _RESTING:
            if not self.expects_message():
                self.oversee().rest(result)
            return True
        reason = ExitReason("bad_return", f"{callback_name(kind)} returned {cls.__qualname__}")
        self.end(reason, terminate=kind != INIT, during=callback_name(kind))
        return False

    def _after_init(self, result: Any) -> bool:
        cls = result.__class__
        if cls in _AWAITED:
            return self._await(result, INIT, None)
        if cls is Refuse:
            self.end(ExitReason.of(result.error), refused=True)
            return False
        if cls is Stop:
            self.end(result.reason, during="init")
            return False
        if not self._after(result, INIT):
            return False
        starters, self.starters = self.starters, None
        for started in starters or ():
            started(None)
        return True

    def _await(self, work: Awaitable[Any], kind: int, reply_to: ReplyTo[Any] | None) -> bool:
        """Let the mailbox wait for an async callback."""
        if work.__class__ is not CoroutineType and self.awaits_itself(work):
            raise self.calling_self()
        if reply_to is not None:
            self.owe(reply_to)
        self.keep_deadlines()
        self._step_kind = kind
        self._step_reply = reply_to
        self.step = start_contained(self, work, callback_name(kind), self.context)
        self.step.add_done_callback(self._stepped, context=self.context)
        if kind == INIT and self.start_timeout is not None:
            StartDeadline(self, self.start_timeout)
        return False

    def _stepped(self, task: "asyncio.Future[Any]") -> None:
        if self.step is not task or self.ending is not None:
            return
        kind, reply_to = self._step_kind, self._step_reply
        self.step = self._step_reply = None
        try:
            result = task.result()  # raises when the callback was cancelled by somebody else
            if result.__class__ is Raised:
                raise result.error  # noqa: TRY301 - one way for what a callback raised
            if self.overseer is not None:
                self.overseer.returned(callback_name(kind), result)
            carry_on = self._after_init(result) if kind == INIT else self._take(result, kind, reply_to)
        except BaseException as error:  # noqa: BLE001 - as in drain
            self.crash(error, kind)
            return
        if carry_on:
            self.drain()


def local(ref: Ref[Any]) -> Process:
    """The process behind a ref of this process's memory."""
    assert isinstance(ref, Process)
    return ref
