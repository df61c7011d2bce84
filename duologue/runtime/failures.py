"""The errors that the kernel raises or sets on a call.

    ActorError (duologue.errors)
    ├── ActorDied            the actor ended before it answered; `reason` says why
    │   └── NoProc           it was not there when the request was sent
    ├── CallingSelf          an actor waits for itself
    ├── MailboxOverflow      the actor's mailbox is full
    ├── StartFailed          `init` did not succeed; `reason` says why
    │   └── StartIgnored     `init` raised `Ignore`
    ├── AlreadyRegistered    the name is taken; `ref` has it
    ├── BadChildSpec         a field of a child specification is wrong
    ├── ChildError           a supervisor can't do that with this child now
    ├── UnhandledRequest     no `handle_call`, `handle_cast` or `handle_continue` for it
    └── SystemStopped        the actor system was shut down

A call that runs out of time raises `duologue.errors.CallTimeout`.
"""

from typing import TYPE_CHECKING, Any

from duologue.errors import ActorError
from duologue.runtime.exits import IGNORED, NOPROC, ExitReason

if TYPE_CHECKING:
    from duologue.runtime.ref import Ref

__all__ = [
    "ActorDied",
    "NoProc",
    "CallingSelf",
    "MailboxOverflow",
    "StartFailed",
    "StartIgnored",
    "AlreadyRegistered",
    "BadChildSpec",
    "ChildError",
    "UnhandledRequest",
    "SystemStopped",
    "Ignore",
]


class ActorDied(ActorError):
    """The actor ended before it answered. Whether it acted on the request is unknown.

    Args:
        actor: The actor's name.
        reason: Why it ended.
        request: The class name of what it was asked, when it was alive then.
    """

    retryable = True

    def __init__(self, actor: str, reason: ExitReason, request: str | None = None) -> None:
        unanswered = f" before it answered {request}" if request is not None else ""
        super().__init__(f"actor {actor} ended{unanswered}: {reason}")
        self.actor = actor
        self.reason = reason
        self.request = request


class NoProc(ActorDied):
    """The actor was not alive when the request was sent. Nothing was done."""

    def __init__(self, actor: str, reason: ExitReason = NOPROC) -> None:
        super().__init__(actor, reason)


class CallingSelf(ActorError):
    """An actor's own handler waits for the actor, which would wait for the handler. Nothing was sent."""


class MailboxOverflow(ActorError):
    """The actor's mailbox holds as many messages as it may. The request was not taken."""

    code = "too_many"
    status = 429
    retryable = True


class StartFailed(ActorError):
    """An actor's `init` did not succeed. Its name is free again.

    Args:
        actor: The actor's name.
        reason: Why it ended.
    """

    def __init__(self, actor: str, reason: ExitReason) -> None:
        super().__init__(f"actor {actor} did not start: {reason}")
        self.actor = actor
        self.reason = reason


class StartIgnored(StartFailed):
    """The actor's `init` raised `Ignore`: it chose not to run."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, IGNORED)


class AlreadyRegistered(ActorError):
    """The name belongs to a living actor. Nothing was changed.

    Args:
        name: The name.
        ref: Who has it.
    """

    def __init__(self, name: object, ref: "Ref[Any]") -> None:
        super().__init__(f"the name {name!r} is taken by a living actor")
        self.name = name
        self.ref = ref


class BadChildSpec(ActorError, ValueError):
    """A child specification is wrong; the message names the child and the field. Nothing was started."""


class ChildError(ActorError):
    """A supervisor can't do that with this child in the state that it is in.

    Args:
        child: The child's id.
        problem: `already_started`, `already_present`, `running`, `restarting` or `not_found`.
        ref: The running child, where there is one.
    """

    def __init__(self, child: object, problem: str, ref: "Ref[Any] | None" = None) -> None:
        super().__init__(f"child {child!r}: {problem}")
        self.child = child
        self.problem = problem
        self.ref = ref


class UnhandledRequest(ActorError):
    """The actor has no handler for what it was sent. The message names the callback and the type."""


class SystemStopped(ActorError):
    """The actor system was shut down and starts nothing more."""


class Ignore(Exception):
    """Raised by `init`: this actor does not want to run, and nothing is wrong."""
