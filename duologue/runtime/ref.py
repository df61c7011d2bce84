"""What callers hold of an actor."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from duologue.runtime.exits import NORMAL, ExitReason
from duologue.runtime.requests import Asks, Outcome

__all__ = ["Ref", "CALL_TIMEOUT"]

R = TypeVar("R")
M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)

CALL_TIMEOUT = 5.0
"""Seconds that a call waits when it is not told otherwise."""


class HandlesCalls(Protocol[M_contra]):
    """An actor's class, seen by the type that its `handle_call` takes."""

    def handle_call(self, request: M_contra, reply_to: Any) -> Any: ...


class HandlesCasts(Protocol[M_contra]):
    """An actor's class, seen by the type that its `handle_cast` takes."""

    def handle_cast(self, message: M_contra) -> Any: ...


class Ref(ABC, Generic[A_co]):
    """An actor's address; the parameter is the actor's class.

    To a type checker it takes what that class does: where `handle_call` and `handle_cast` name the messages
    that they accept, sending another one is an error. Where they say `Any`, and for `Ref[Any]`, all pass.

    It stays valid when the actor has ended, and then keeps none of its state. It names one life: an actor
    that is started again has a new one.

    Refs are compared by identity and may be kept in sets. All methods must be called in the loop of the
    actor's system. Messages from one sender to one actor keep their order; there is no order beyond that.
    """

    __slots__ = ("id",)

    id: int
    """Number of this life, unique within its system."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The registered name, or the class and the number."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the actor has not ended yet. It may be starting, or on its way out."""

    @property
    @abstractmethod
    def exit_reason(self) -> ExitReason | None:
        """Why the actor ended; `None` while it is alive."""

    @abstractmethod
    def call(
        self: "Ref[HandlesCalls[M]]", request: Asks[M, R], timeout: float | None = CALL_TIMEOUT
    ) -> "asyncio.Future[R]":
        """Send a request now and await its answer.

        The request is sent when `call` is called, not when its result is awaited, so several calls can be
        under way at once. Cancelling the wait, or running out of time, does not cancel the actor's work:
        its answer is dropped and counted.

        Args:
            request: What is asked. Not copied.
            timeout: Seconds from now, kept to within a coarse tick (never early, up to 40 ms late); `None`
                waits as long as the actor lives.

        Raises (when awaited):
            CallTimeout: No answer in time. The request may still be worked on.
            NoProc: The actor was not alive; nothing was sent.
            ActorDied: It ended before it answered; known at once, not after the timeout.
            CallingSelf: Called from the actor's own handler; nothing was sent.
            MailboxOverflow: The mailbox is full and its policy refuses; nothing was sent.
            Exception: Whatever the actor failed the reply with.
        """

    @abstractmethod
    def call_nowait(
        self: "Ref[HandlesCalls[M]]",
        request: Asks[M, R],
        on_reply: Callable[[Outcome[R]], None],
        timeout: float | None = CALL_TIMEOUT,
    ) -> None:
        """Send a request and have its outcome given to `on_reply`, exactly once, never before this returns.

        `on_reply` runs synchronously inside the actor's answering (or at the timeout, or the actor's end), so
        what it writes comes before anything that the actor does next. It must not block and must not raise;
        when it raises, that is reported and reaches nobody. The outcomes are those of `call`.
        """

    @abstractmethod
    def cast(self: "Ref[HandlesCasts[M]]", message: M) -> None:
        """Send a message that is not answered.

        Never raises, never waits, promises nothing: an actor that has ended or whose mailbox is full loses it.
        """

    @abstractmethod
    def info(self, message: object) -> None:
        """Send a message of the outside world, for `handle_info`. As `cast` otherwise."""

    @abstractmethod
    def exit(self, reason: ExitReason, sender: "Ref[Any] | None" = None) -> None:
        """Send an exit signal. Never raises, never waits.

        An actor that does not trap exits ends with `reason` at once, without `terminate`, unless the reason
        is `NORMAL`, which is ignored. One that traps gets `Exit(sender, reason)` as an info message.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the actor whatever it does, without `terminate`; its reason is `KILLED`.

        Returns at once. A handler that is waiting is cancelled, and one that swallows that is left behind
        as a zombie.
        """

    @abstractmethod
    def stop(
        self, reason: ExitReason = NORMAL, timeout: float | None = CALL_TIMEOUT
    ) -> "asyncio.Future[ExitReason]":
        """Ask the actor to end after the messages that wait already, and await its end. `terminate` runs.

        Args:
            reason: The reason that it ends with, unless `terminate` raises.
            timeout: Seconds; when they pass the actor still is to stop. `None` waits as long as it takes.

        Raises (when awaited):
            NoProc: It had ended before.
            CallTimeout: It has not ended in time.
        """

    @abstractmethod
    async def wait(self) -> ExitReason:
        """Wait until the actor has ended, and say why. Returns at once when it had."""

    @abstractmethod
    async def wait_started(self) -> None:
        """Wait until `init` has succeeded. Returns at once when it had.

        Raises:
            StartIgnored: It raised `Ignore`.
            StartFailed: It did not succeed, or the actor was ended before.
        """

    def resolve(self) -> "Ref[Any] | None":
        """The ref of the one life that this stands for now (kernel): itself, unless it was made by a name."""
        return self

    def __repr__(self) -> str:
        reason = self.exit_reason
        return f"<Ref {self.name} {'alive' if reason is None else reason}>"
