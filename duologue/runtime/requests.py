"""Requests, their answers, and who is owed one.

An answer goes straight to the caller's future or callback and never through a mailbox, so what a call costs
does not grow with the caller's queue, and an answer that comes too late has nowhere to arrive.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from duologue.errors import CallTimeout
from duologue.runtime.failures import ActorDied
from duologue.runtime.reports import report_callback

if TYPE_CHECKING:
    from typing import Self

    from duologue.runtime.exits import ExitReason
    from duologue.runtime.mailbox import Mailbox

__all__ = ["Request", "Asks", "Outcome", "ReplyTo", "FutureReply", "CallbackReply"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
M_co = TypeVar("M_co", covariant=True)


class Request(Generic[R_co]):
    """Base of messages that are answered; the parameter is the answer's type.

    Derive a dataclass from it: `class Get(Request[int]): ...`. It should be immutable: it is handed over,
    not copied.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what makes every request an `Asks` of itself; not there at run time

        def _itself(self) -> Self: ...

        def _answer(self) -> R_co: ...


class Asks(Protocol[M_co, R_co]):
    """A request that is an `M_co` and is answered with an `R_co`: both at once, for type checkers only.

    `M_co` comes from the actor's class and `R_co` from the request's, and Python has no other way to
    demand that a value is of two types.
    """

    def _itself(self) -> M_co: ...

    def _answer(self) -> R_co: ...


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


class _GaveUp:
    """In place of a deadline: the caller has gone, so that an answer now is a late one."""

    __slots__ = ()


_GAVE_UP = _GaveUp()


class ReplyTo(Generic[R]):
    """The right to answer one request, once, from any handler or task of the same loop.

    A second answer is dropped and counted; so is one that comes after the caller gave up. Neither raises.
    """

    __slots__ = ("_asked", "_deadline", "_mailbox", "_sink")

    def __init__(
        self, mailbox: "Mailbox", sink: Any, deadline: float | None, asked: type[Any] = object
    ) -> None:
        self._mailbox = mailbox
        self._asked = asked  # the request's class, for errors; not the request, which may be large
        self._sink = sink  # who gets the answer; None once there is one or nobody waits
        # Seconds, until it is known that the answer takes longer than a turn of the loop, and then the wheel's set
        # that this is in; None for no deadline. Most answers come at once, and cost the wheel nothing.
        self._deadline: set[Any] | float | _GaveUp | None = deadline

    @property
    def open(self) -> bool:
        """Whether an answer would still reach somebody."""
        return self._sink is not None

    def reply(self, value: R) -> None:
        """Answer with `value`. Never raises, never waits."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Answer with an error: the caller's `call` raises it. Never waits.

        Raises:
            TypeError: `error` is no `Exception`. The caller still waits.
        """
        raise NotImplementedError

    def expire(self) -> None:
        """The deadline passed (kernel). The work goes on; its answer will be dropped."""
        if self._sink is not None:
            asked = self._asked.__name__
            self.fail(CallTimeout(f"actor {self._mailbox.name} did not answer {asked} within the deadline"))
            self._deadline = _GAVE_UP

    def died(self, reason: "ExitReason") -> None:
        """The actor ended without an answer (kernel)."""
        if self._sink is not None:
            self.fail(ActorDied(self._mailbox.name, reason, self._asked.__name__))

    def fulfils(self, future: object) -> bool:
        """Whether that is the future that the answer goes to (kernel)."""
        return self._sink is future

    def wait(self) -> None:
        """The answer takes longer than a turn of the loop (kernel): the deadline must be on the wheel."""
        deadline = self._deadline
        if isinstance(deadline, float | int) and self._sink is not None:
            bucket = self._deadline = self._mailbox.system.deadlines.bucket(deadline)
            bucket.add(self)

    def put_off(self, owed: set[Any]) -> None:
        """The answer was put off (kernel): keep it among the actor's debts, should the actor end first."""
        if self._sink is not None:
            owed.add(self)
            self.wait()

    def _settle(self) -> None:
        """Nothing more to expect: leave the wheel and the actor's debts."""
        self._sink = None
        deadline = self._deadline
        if isinstance(deadline, set):
            deadline.discard(self)
            self._deadline = None
        owed = self._mailbox.owed
        if owed:
            owed.discard(self)

    def _dropped(self) -> None:
        """An answer that nobody waits for: late when the caller gave up, else a second one."""
        self._mailbox.system.reply_dropped(self._mailbox, late=self._deadline is _GAVE_UP)


def _check_error(error: object) -> None:
    """Before anything is settled: what a future refuses would be lost, and its caller would wait for ever."""
    if not isinstance(error, Exception):
        raise TypeError(f"a request can fail with an Exception only, not with {type(error).__name__}")


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
        self._sink = None  # _settle, written out: this is the path of every answered call
        if self._deadline.__class__ is set:
            self._deadline.discard(self)
        owed = self._mailbox.owed
        if owed:
            owed.discard(self)
        future.set_result(value)

    def fail(self, error: Exception) -> None:
        _check_error(error)
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

    def put_off(self, owed: set[Any]) -> None:
        super().put_off(owed)
        if self._sink is not None:  # a caller that is cancelled must not stay among the debts for ever
            self._sink.add_done_callback(self._caller_left)

    def _caller_left(self, future: "asyncio.Future[R]") -> None:
        if self._sink is future and future.cancelled():
            self._abandon()

    def _abandon(self) -> None:
        self._settle()
        self._deadline = _GAVE_UP

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
        _check_error(error)
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
