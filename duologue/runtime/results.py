"""What a callback may return beside a plain value or nothing."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from duologue.runtime.checks import is_seconds
from duologue.runtime.exits import NORMAL, ExitReason, check_reason

__all__ = [
    "Continue",
    "Stop",
    "Reply",
    "Refuse",
    "NO_REPLY",
    "NoReply",
    "WhenIdle",
    "HIBERNATE",
    "Hibernate",
    "IDLE",
]


class NoReply(Enum):
    """The type of `NO_REPLY`."""

    NO_REPLY = "no reply"


NO_REPLY: Final[Literal[NoReply.NO_REPLY]] = NoReply.NO_REPLY
"""From `handle_call`: the answer comes later through the `ReplyTo`, or came already."""


class Hibernate(Enum):
    """The type of `HIBERNATE`."""

    HIBERNATE = "hibernate"


HIBERNATE: Final[Literal[Hibernate.HIBERNATE]] = Hibernate.HIBERNATE
"""Run the actor's `hibernate`, unless a message waits; the next message finds it as ever."""


class Idle(Enum):
    """The type of `IDLE`."""

    IDLE = "idle"


IDLE: Final[Literal[Idle.IDLE]] = Idle.IDLE
"""The message of a `WhenIdle` that was given none."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Run `handle_continue(argument)` next, before any message, even those that wait already."""

    argument: Any = None


@dataclass(frozen=True, slots=True)
class WhenIdle:
    """Have `message` come as an info when no other message has come for some time.

    Any message that is handled ends the waiting; what an `Inspector` asks does not. It is for once: the callback
    that is to wait again returns it again.

    Args:
        seconds: How long, 0 or more. With 0 the message comes next, unless one waits already.
        message: What comes.
        hibernate: Run the actor's `hibernate` at once, as `HIBERNATE` does.
    """

    seconds: float
    message: Any = IDLE
    hibernate: bool = False

    def __post_init__(self) -> None:
        if not is_seconds(self.seconds):
            raise ValueError(f"the seconds of WhenIdle must be 0 or more, not {self.seconds!r}")


@dataclass(frozen=True, slots=True)
class Stop:
    """End: run `terminate(reason)`, then answer, then tell links and monitors.

    Args:
        reason: Why. An unclean one is reported.
        reply: From `handle_call` only: the answer, sent after `terminate`, even when that raised. Left out,
            the caller gets `ActorDied(reason)`, unless it was answered before.
    """

    reason: ExitReason = NORMAL
    reply: Any = NO_REPLY

    def __post_init__(self) -> None:
        check_reason(self.reason)


@dataclass(frozen=True, slots=True)
class Reply:
    """From `handle_call`: answer with `value`, and then do something else.

    Args:
        value: The answer; it is sent before anything else happens.
        then: What follows: `Continue`, `Stop`, `WhenIdle`, `HIBERNATE` or nothing.
    """

    value: Any
    then: Continue | Stop | WhenIdle | Hibernate | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """From `handle_call`: the caller's `call` raises `error`, and the actor goes on.

    From `init`: the actor does not start, its starter gets `StartFailed`, and nothing is reported.
    """

    error: Exception

    def __post_init__(self) -> None:
        error: object = self.error
        if not isinstance(error, Exception):
            raise TypeError(f"the error of Refuse must be an Exception, not {type(error).__name__}")
