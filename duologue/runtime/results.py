"""What a callback may return beside a plain value or nothing."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from duologue.runtime.exits import NORMAL, ExitReason

__all__ = ["Continue", "Stop", "Reply", "Refuse", "NO_REPLY", "NoReply"]


class NoReply(Enum):
    """The type of `NO_REPLY`."""

    NO_REPLY = "no reply"


NO_REPLY: Final[Literal[NoReply.NO_REPLY]] = NoReply.NO_REPLY
"""From `handle_call`: the answer comes later through the `ReplyTo`, or came already."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Run `handle_continue(argument)` next, before any message, even those that wait already."""

    argument: Any = None


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


@dataclass(frozen=True, slots=True)
class Reply:
    """From `handle_call`: answer with `value`, and then do something else.

    Args:
        value: The answer; it is sent before anything else happens.
        then: What follows: `Continue`, `Stop` or nothing.
    """

    value: Any
    then: Continue | Stop | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """From `handle_call`: the caller's `call` raises `error`, and the actor goes on.

    From `init`: the actor does not start, its starter gets `StartFailed`, and nothing is reported.
    """

    error: Exception
