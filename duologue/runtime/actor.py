"""What an actor's author writes."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from duologue.runtime.checks import is_count, is_seconds
from duologue.runtime.exits import ExitReason
from duologue.runtime.failures import UnhandledRequest
from duologue.runtime.reports import report_stray
from duologue.runtime.requests import ReplyTo

if TYPE_CHECKING:
    from duologue.runtime.context import ActorContext

__all__ = ["Actor", "Overflow"]


class Overflow(Enum):
    """What a full mailbox does with a cast or an info. A call is refused with `MailboxOverflow` in each case.

    The kernel's own messages (`Exit`, `Down`, `TaskDone`, timers) are never dropped and do not overflow.
    """

    DROP_NEWEST = "drop newest"
    """The message is lost, and counted."""
    DROP_OLDEST = "drop oldest"
    """The oldest waiting cast or info is lost, and counted."""
    STOP = "stop"
    """The actor ends with the reason `overflow`."""


class Actor:
    """One instance is one life. Derive from it, with `__slots__`, and override what you need.

    Callbacks of one actor never overlap. One that is a plain function runs in the actor's turn on the loop
    and must not block; one that is `async def` runs in a task of its own while the mailbox waits. An
    exception from any callback ends the actor: its supervisor decides what happens then. To answer a
    request with an error and go on, return `Refuse(error)`, or `reply_to.fail(error)` and `NO_REPLY`.
    """

    __slots__ = ("ctx",)

    ctx: "ActorContext"
    """The actor's side of the kernel; set before `init`, and valid as long as the actor lives."""

    mailbox_max: ClassVar[int | None] = None
    """Most messages that may wait; `None`: no bound."""
    overflow: ClassVar[Overflow] = Overflow.DROP_NEWEST
    """What happens to a message beyond `mailbox_max`."""
    traps_exits: ClassVar[bool] = False
    """What `ctx.trap_exits` is at birth, before `init` could set it."""

    hibernate_after: ClassVar[float | None] = None
    """Seconds without a message after which `hibernate` is run; `None`: only when a callback asks for it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bound = cls.mailbox_max
        if bound is not None and not is_count(bound, 1):
            raise TypeError(f"{cls.__name__}.mailbox_max must be 1 or more, or None, not {bound!r}")
        for name, kind in (("overflow", Overflow), ("traps_exits", bool)):
            value = getattr(cls, name)
            if not isinstance(value, kind):
                raise TypeError(f"{cls.__name__}.{name} must be of type {kind.__name__}, not {value!r}")
        after = cls.hibernate_after
        if after is not None and (not is_seconds(after) or after == 0):
            raise TypeError(f"{cls.__name__}.hibernate_after must be seconds or None, not {after!r}")

    def init(self) -> Any:
        """Get ready. May be `async`; no message is handled before it has returned.

        Returns:
            Nothing, `Continue`, `WhenIdle`, `HIBERNATE`, `Refuse(error)` or `Stop(reason)`.

        Raises:
            Ignore: The actor does not want to run; it ends with `IGNORED` and nothing is reported.
            Exception: The start failed. `terminate` is not run.
        """

    def handle_continue(self, argument: Any) -> Any:
        """Go on after a callback that returned `Continue(argument)`, before any message. May be `async`.

        Returns:
            Nothing, `Continue`, `WhenIdle`, `HIBERNATE` or `Stop`.
        """
        raise UnhandledRequest(f"{type(self).__name__} has no handle_continue for {type(argument).__name__}")

    def handle_call(self, request: Any, reply_to: ReplyTo[Any]) -> Any:  # noqa: ARG002 - the contract
        """Answer a request. May be `async`.

        Name in an override's signature what it accepts, as in `request: Withdraw | Balance`: a type checker
        then refuses to send the actor anything else.

        Returns:
            The answer; or `NO_REPLY` when it comes later, or came already, through `reply_to`; or `Refuse`,
            `Reply`, `Stop`, or `Continue`, `WhenIdle` and `HIBERNATE` (which answer nothing yet).
        """
        raise UnhandledRequest(f"{type(self).__name__} has no handle_call for {type(request).__name__}")

    def handle_cast(self, message: Any) -> Any:
        """Take a message that is not answered. May be `async`. Name what it accepts, as for `handle_call`.

        Returns:
            Nothing, `Continue`, `WhenIdle`, `HIBERNATE` or `Stop`.
        """
        raise UnhandledRequest(f"{type(self).__name__} has no handle_cast for {type(message).__name__}")

    def handle_info(self, message: Any) -> Any:
        """Take a message of the outside world or the kernel: `Down`, `Exit`, `TaskDone`, a timer's message.

        May be `async`. The default reports a stray message and goes on.

        Returns:
            Nothing, `Continue`, `WhenIdle`, `HIBERNATE` or `Stop`.
        """
        report_stray(self.ctx.ref.name, message)

    def terminate(self, reason: ExitReason) -> Any:
        """Clean up. May be `async`; messages are not handled any more.

        Run when a callback returned `Stop` or raised, when `stop` was called, and, if the actor traps exits,
        when its parent asked it to end. Not run when it is killed, when it does not trap exits and a
        signal ends it, and when `init` failed. An exception here replaces the reason.
        """

    def hibernate(self) -> None:
        """Let go of what can be made again: caches, buffers, parsed forms. The state must stay.

        Must not block. Run when a callback returned `HIBERNATE`, or nothing came for `hibernate_after` seconds; an
        actor's mailbox, tasks and timers need no help. An exception here is reported and does nothing else.
        """

    def describe(self) -> Mapping[str, object]:
        """The state for crash reports and introspection, with everything private left out.

        The default shows nothing. A failure in it is tolerated.
        """
        return {}
