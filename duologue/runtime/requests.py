"""Requests, their answers, and who is owed one.

An answer goes straight to the caller's future or callback and never through a mailbox, so what a call costs
does not grow with the caller's queue, and an answer that comes too late has nowhere to arrive.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from duologue.errors import CallTimeout
from duologue.runtime.failures import ActorDied
from duologue.runtime.reports import report_callback

if TYPE_CHECKING:
    from duologue.runtime.exits import ExitReason
    from duologue.runtime.mailbox import Mailbox

__all__ = ["Request", "Outcome", "ReplyTo", "FutureReply", "CallbackReply"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """Base of messages that are answered; the parameter is the answer's type.

    Derive a dataclass from it: `class Get(Request[int]): ...`. It should be immutable: it is handed over,
    not copied.
    """

    __slots__ = ()


class Outcome(Generic[R_co]):
    """How a call ended: with a value, or with an exception."""

    __slots__ = ("_value", "error")

    def __init__(self, value: R_co | None = None, error: Exception | None = None) -> None:
        self._value = value
        self.error = error
        """What `call` would have raised; `None` when there is a value."""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def result(self) -> R_co:
        """The value.

        Raises:
            Exception: What the call ended with instead.
        """
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # no error, so it was set, and None is a value

    def __repr__(self) -> str:
        return "Outcome(ok)" if self.error is None else f"Outcome({type(self.error).__qualname__})"


class ReplyTo(Generic[R]):
    """The right to answer one request, once, from any handler or task of the same loop.

    A second answer is dropped and counted; so is one that comes after the caller gave up. Neither raises.
    """

    __slots__ = ("_bucket", "_gave_up", "_mailbox", "_owed", "_sink")

    def __init__(self, mailbox: "Mailbox", sink: Any, bucket: "set[Any] | None") -> None:
        self._mailbox = mailbox
        self._sink = sink  # who gets the answer; None once there is one or nobody waits
        self._bucket = bucket  # where its deadline is kept; None: no deadline
        self._owed: set[Any] | None = None  # the actor's unanswered requests, once the answer was put off
        self._gave_up = False
        if bucket is not None:
            bucket.add(self)

    @property
    def open(self) -> bool:
        """Whether an answer would still reach somebody."""
        return self._sink is not None

    def reply(self, value: R) -> None:
        """Answer with `value`. Never raises, never waits."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Answer with an error: the caller's `call` raises it. Never raises, never waits."""
        raise NotImplementedError

    def expire(self) -> None:
        """The deadline passed (kernel). The work goes on; its answer will be dropped."""
        if self._sink is not None:
            error = CallTimeout(f"actor {self._mailbox.name} did not answer within the deadline")
            self.fail(error)
            self._gave_up = True

    def died(self, reason: "ExitReason") -> None:
        """The actor ended without an answer (kernel)."""
        if self._sink is not None:
            self.fail(ActorDied(self._mailbox.name, reason))

    def owe(self, owed: set[Any]) -> None:
        """The answer was put off (kernel): keep it among the actor's debts, should the actor end first."""
        if self._sink is not None:
            self._owed = owed
            owed.add(self)

    def _settle(self) -> None:
        """Nothing more to expect: leave the deadline's bucket and the actor's debts."""
        self._sink = None
        if self._bucket is not None:
            self._bucket.discard(self)
            self._bucket = None
        if self._owed is not None:
            self._owed.discard(self)
            self._owed = None

    def _dropped(self) -> None:
        """An answer that nobody waits for: late when the caller gave up, else a second one."""
        self._mailbox.system.reply_dropped(self._mailbox, late=self._gave_up)


class FutureReply(ReplyTo[R]):
    """Answers a caller that awaits a future."""

    __slots__ = ()

    _sink: "asyncio.Future[R] | None"

    @property
    def open(self) -> bool:
        return self._sink is not None and not self._sink.done()

    def reply(self, value: R) -> None:
        future = self._sink
        if future is None or future.done():
            self._unwanted(future)
            return
        self._sink = None
        if self._bucket is not None:
            self._bucket.discard(self)
        if self._owed is not None:
            self._owed.discard(self)
        future.set_result(value)

    def fail(self, error: Exception) -> None:
        future = self._sink
        if future is None or future.done():
            self._unwanted(future)
            return
        self._settle()
        # A future refuses StopIteration, and the actor must not be the one who hears of it.
        future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)

    def expire(self) -> None:
        future = self._sink
        if future is not None and future.done():  # the caller was cancelled before
            self._abandon()
        else:
            super().expire()

    def died(self, reason: "ExitReason") -> None:
        future = self._sink
        if future is not None and future.done():
            self._abandon()
        else:
            super().died(reason)

    def owe(self, owed: set[Any]) -> None:
        super().owe(owed)
        if self._sink is not None:  # a caller that is cancelled must not stay among the debts for ever
            self._sink.add_done_callback(self._caller_left)

    def _caller_left(self, future: "asyncio.Future[R]") -> None:
        if self._sink is future and future.cancelled():
            self._abandon()

    def _abandon(self) -> None:
        self._settle()
        self._gave_up = True

    def _unwanted(self, future: "asyncio.Future[R] | None") -> None:
        if future is not None:
            self._abandon()
        self._dropped()


class CallbackReply(ReplyTo[R]):
    """Answers through a callback that runs at once, inside the answering."""

    __slots__ = ()

    _sink: "Callable[[Outcome[R]], None] | None"

    def reply(self, value: R) -> None:
        self._deliver(Outcome(value))

    def fail(self, error: Exception) -> None:
        self._deliver(Outcome(error=error))

    def _deliver(self, outcome: Outcome[R]) -> None:
        on_reply = self._sink
        if on_reply is None:
            self._dropped()
            return
        self._settle()
        try:
            on_reply(outcome)
        except BaseException as error:  # noqa: BLE001 - a caller's fault must not reach the answering actor
            report_callback(self._mailbox.name, "on_reply", error)
