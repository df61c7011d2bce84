"""The sending side of an actor: everything that puts a message into its queue.

An idle actor has no queue. The first message makes one and asks the loop for one turn (`drain`); all that
comes until the queue is empty again only appends.
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from duologue.runtime.actor import Actor, Overflow
from duologue.runtime.exits import NORMAL, ExitReason, check_reason
from duologue.runtime.failures import CallingSelf, MailboxOverflow, NoProc
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.requests import Asks, CallbackReply, FutureReply, Outcome
from duologue.runtime.waiters import EndWaiter

if TYPE_CHECKING:
    from duologue.runtime.overseer import Overseer
    from duologue.runtime.system import ActorSystem

__all__ = ["Mailbox", "Entry", "CALL", "CAST", "INFO", "CONTINUE", "EXIT", "STOP", "INIT", "callback_name"]

R = TypeVar("R")

Entry = tuple[int, Any, Any]
"""Kind, message, and what belongs to the kind: see below."""

DRAIN_MESSAGES = 64
"""Messages that one actor may handle in one turn of the loop."""
_SOON = DRAIN_MESSAGES // 2
"""A message with fewer than these before it is handled in the next turn, or that turn's end finds it."""

CALL = 0  # request, the ReplyTo
CAST = 1  # message, None
INFO = 2  # message, None or a token whose `claim()` tells whether it is still wanted
CONTINUE = 3  # argument, None
EXIT = 4  # reason, the sender or None: for an actor that traps exits
STOP = 5  # reason, None: asked to, or by the parent's exit signal
INIT = 6  # never in a queue: names the callback that comes before all messages

_CALLBACKS = ("handle_call", "handle_cast", "handle_info", "handle_continue", "handle_info", "stop", "init")


def callback_name(kind: int) -> str:
    """The callback that takes entries of this kind."""
    return _CALLBACKS[kind]


class Mailbox(Ref[Any]):
    """A queue with one reader, which is woken through the loop and never runs in a sender's stack."""

    __slots__ = ("_limit", "actor", "context", "overseer", "owed", "queue", "step", "system")

    def __init__(self, system: "ActorSystem", actor: Actor) -> None:
        self.system = system
        self.actor: Actor | None = actor  # None once it has ended
        self.context = Context()  # its own: what a handler sets in a context variable stays with the actor
        self.overseer: Overseer | None = (
            None  # there only while somebody looks, or the actor waits to be idle
        )
        self.queue: deque[Entry] | None = None  # there while the reader is to run, runs, or waits for a task
        # The task of the async callback that is under way; while it is suspended, a future of the overseer's.
        self.step: asyncio.Future[Any] | None = None
        self.owed: set[Any] | None = None  # ReplyTos whose answers were put off
        self._limit = actor.mailbox_max

    @abstractmethod
    def drain(self) -> None:
        """Handle what waits, for a bounded time."""

    @property
    def alive(self) -> bool:
        return self.actor is not None

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self.queue) if self.queue is not None else 0

    @property
    def resting(self) -> bool:
        """Whether it lives and has nothing at all to do (kernel)."""
        return self.queue is None and self.actor is not None

    def call(self, request: Asks[Any, R], timeout: float | None = CALL_TIMEOUT) -> "asyncio.Future[R]":
        system = self.system
        future: asyncio.Future[R] = system.create_future()
        queue = self.queue
        if queue is None:
            if self.actor is None:
                future.set_exception(NoProc(self.name))
                return future
            queue = self._wake()
        elif self._limit is not None and len(queue) >= self._limit:
            future.set_exception(self._refusal())
            return future
        elif self.step is not None and self.step is asyncio.current_task():
            future.set_exception(self.calling_self())
            return future
        reply_to: FutureReply[R] = FutureReply(self, future, timeout, request.__class__)
        if self.step is not None or len(queue) >= _SOON:
            reply_to.wait()
        queue.append((CALL, request, reply_to))
        return future

    def call_nowait(
        self,
        request: Asks[Any, R],
        on_reply: Callable[[Outcome[R]], None],
        timeout: float | None = CALL_TIMEOUT,
    ) -> None:
        queue = self.queue
        refusal: Exception | None = None
        if queue is None:
            if self.actor is None:
                refusal = NoProc(self.name)
            else:
                queue = self._wake()
        elif self._limit is not None and len(queue) >= self._limit:
            refusal = self._refusal()
        if refusal is not None or queue is None:
            reply_to = CallbackReply[R](self, on_reply, None, request.__class__)
            self.system.call_soon(reply_to.fail, refusal)
            return
        reply_to = CallbackReply(self, on_reply, timeout, request.__class__)
        if self.step is not None or len(queue) >= _SOON:
            reply_to.wait()
        queue.append((CALL, request, reply_to))

    def cast(self, message: object) -> None:
        queue = self.queue
        if queue is None:
            if self.actor is None:
                return
            queue = self._wake()
        elif self._limit is not None and len(queue) >= self._limit and not self._made_room(queue):
            return
        queue.append((CAST, message, None))

    def info(self, message: object) -> None:
        queue = self.queue
        if queue is None:
            if self.actor is None:
                return
            queue = self._wake()
        elif self._limit is not None and len(queue) >= self._limit and not self._made_room(queue):
            return
        queue.append((INFO, message, None))

    def stop(
        self, reason: ExitReason = NORMAL, timeout: float | None = CALL_TIMEOUT
    ) -> "asyncio.Future[ExitReason]":
        check_reason(reason)
        future: asyncio.Future[ExitReason] = self.system.loop.create_future()
        if self.actor is None:
            future.set_exception(NoProc(self.name))
        elif self.step is not None and self.step is asyncio.current_task():
            future.set_exception(CallingSelf(f"actor {self.name} waits for its own end"))
        else:
            waiter = EndWaiter(future, None if timeout is None else self.system.deadlines.bucket(timeout))
            self.on_end(waiter.ended)
            self.post(STOP, reason, None)  # last: a timeout that is none has raised by now
        return future

    async def wait(self) -> ExitReason:
        reason = self.exit_reason
        if reason is not None:
            return reason
        if self.step is not None and self.step is asyncio.current_task():
            raise CallingSelf(f"actor {self.name} waits for its own end")
        future: asyncio.Future[ExitReason] = self.system.loop.create_future()
        waiter = EndWaiter(future, None)
        self.on_end(waiter.ended)
        try:
            return await future
        finally:
            self.forget_on_end(waiter.ended)

    def post(self, kind: int, message: Any, extra: Any) -> None:
        """Append an entry whatever the bound (kernel). Lost when the actor has ended."""
        queue = self.queue
        if queue is None:
            if self.actor is None:
                return
            queue = self._wake()
        queue.append((kind, message, extra))
        if kind == STOP and self.overseer is not None:
            self.overseer.stop_waits()

    def post_first(self, kind: int, message: Any) -> None:
        """Put an entry before all that waits (kernel)."""
        queue = self.queue
        if queue is None:
            if self.actor is None:
                return
            queue = self._wake()
        queue.appendleft((kind, message, None))
        if kind == STOP and self.overseer is not None:
            self.overseer.stop_waits()

    def post_info(self, message: object, token: Any) -> None:
        """Append one of the kernel's infos."""
        self.post(INFO, message, token)

    def expects_message(self) -> bool:
        """Whether something waits that a callback will get: not a timer or monitor that was taken back."""
        return any(kind != INFO or token is None or token.wanted for kind, _, token in self.queue or ())

    def awaits_itself(self, work: object) -> bool:
        """Whether `work` is the answer to a call that waits in this very mailbox."""
        return any(kind == CALL and reply_to.fulfils(work) for kind, _, reply_to in self.queue or ())

    def calling_self(self) -> CallingSelf:
        """The error of a handler that waits for its own actor."""
        return CallingSelf(f"actor {self.name} calls itself, and would wait for its own callback")

    def forget_exit(self, sender: Ref[Any]) -> None:
        """Take waiting exit signals of `sender` out (kernel)."""
        queue = self.queue
        if queue is not None and any(kind == EXIT and extra is sender for kind, _, extra in queue):
            kept = [entry for entry in queue if entry[0] != EXIT or entry[2] is not sender]
            queue.clear()  # the reader holds this very queue
            queue.extend(kept)

    @abstractmethod
    def on_end(self, callback: Callable[[ExitReason], None]) -> None:
        """Have `callback` called, once, when the living actor has ended (kernel)."""

    @abstractmethod
    def forget_on_end(self, callback: Callable[[ExitReason], None]) -> None:
        """Undo `on_end`."""

    def keep_deadlines(self) -> None:
        """This turn of the loop is over, and calls still wait: put their deadlines on the wheel.

        Those further back are on it since they were sent.
        """
        for kind, _, extra in islice(self.queue or (), DRAIN_MESSAGES):
            if kind == CALL:
                extra.wait()

    def _wake(self) -> deque[Entry]:
        system = self.system
        queue = system.spare_queue
        if queue is None:
            queue = deque()
        else:
            system.spare_queue = None
        self.queue = queue
        system.call_soon(self.drain, context=self.context)
        return queue

    def _refusal(self) -> MailboxOverflow:
        self.system.message_dropped()
        return MailboxOverflow(f"the mailbox of actor {self.name} is full: {self._limit} messages")

    def _made_room(self, queue: deque[Entry]) -> bool:
        """What the actor's policy does with a message too many; true when it may be appended."""
        self.system.message_dropped()
        actor = self.actor
        assert actor is not None
        if actor.overflow is Overflow.STOP:
            self.exit_with(ExitReason("overflow"), "mailbox")
        elif actor.overflow is Overflow.DROP_OLDEST:
            for index, (kind, _, token) in enumerate(queue):
                if kind == CAST or (kind == INFO and token is None):
                    del queue[index]
                    return True
        return False

    @abstractmethod
    def exit_with(self, reason: ExitReason, during: str | None = None) -> None:
        """End at the next turn of the loop, without `terminate` (kernel). `during`: whose fault, for the report."""
