"""What a supervisor has to know of a child."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from duologue.runtime.actor import Actor
from duologue.runtime.checks import is_seconds, is_word
from duologue.runtime.exits import ExitReason
from duologue.runtime.failures import BadChildSpec, StartFailed

__all__ = ["ChildSpec", "Restart", "Shutdown", "ChildType", "BRUTAL_KILL", "INFINITY", "check_spec"]


class Restart(Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """When its reason was not clean."""
    TEMPORARY = "temporary"
    """Never; and it is forgotten with all that could start it."""

    def wanted(self, reason: ExitReason) -> bool:
        """Whether a child that ended with `reason` is to be started again."""
        return self is Restart.PERMANENT or (self is Restart.TRANSIENT and not reason.clean)


class Shutdown(Enum):
    """A way to end a child that is not a number of seconds."""

    BRUTAL_KILL = "brutal kill"
    """Kill it at once."""


BRUTAL_KILL: Final = Shutdown.BRUTAL_KILL
INFINITY: Final = math.inf
"""As a number of seconds: wait as long as it takes."""


class ChildType(Enum):
    """What a child is."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start, restart and end one child. Checked when it is made.

    Args:
        id: Its name for its supervisor, unique there; a dynamic supervisor only shows it.
        start: Makes a fresh actor for each life. Must return at once; an exception counts as a failed start.
        restart: When it is started again.
        shutdown: Seconds that it has to end when it is asked to, before it is killed; or `BRUTAL_KILL`.
            `None`: 5.0 for a worker, `INFINITY` for a supervisor.
        type: What it is.
        significant: Its own end may end its supervisor, see `AutoShutdown`. Not for a permanent child.
        name: Name to register it under in its system; `None` for none.
        start_timeout: Seconds that its `init` has; `None`: as long as it takes.

    Raises:
        BadChildSpec: A field is wrong; the message names it.
    """

    id: str
    start: Callable[[], Actor]
    restart: Restart = Restart.PERMANENT
    shutdown: float | Shutdown | None = None
    type: ChildType = ChildType.WORKER
    significant: bool = False
    name: str | None = None
    start_timeout: float | None = 30.0

    def __post_init__(self) -> None:
        self._check("id", is_word(self.id), "a word")
        self._check(
            "start",
            callable(self.start),
            "a callable that makes an actor",
        )
        self._check("restart", isinstance(self.restart, Restart), "a Restart")
        self._check("type", isinstance(self.type, ChildType), "a ChildType")
        self._check("shutdown", _is_shutdown(self.shutdown), "seconds, 0 or more, or BRUTAL_KILL")
        self._check("significant", isinstance(self.significant, bool), "a bool")
        self._check(
            "significant",
            not (self.significant and self.restart is Restart.PERMANENT),
            "false for a permanent child, which never ends for good",
        )
        self._check("name", self.name is None or is_word(self.name), "a word or None")
        self._check(
            "start_timeout", self.start_timeout is None or is_seconds(self.start_timeout), "seconds or None"
        )

    def make(self) -> Actor:
        """A fresh actor.

        Raises:
            BadChildSpec: `start` made something that is no actor.
            StartFailed: It raised what must not get further than this: SystemExit and its like.
            Exception: Whatever else `start` raises.
        """
        try:
            actor: object = self.start()
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - a child's start must not end its supervisor
            raise StartFailed(self.id, ExitReason.of(error)) from None
        if not isinstance(actor, Actor):
            raise BadChildSpec(f"child {self.id!r}: start must make an actor, not {type(actor).__name__}")
        return actor

    @property
    def patience(self) -> float | Shutdown:
        """`shutdown` with its default filled in."""
        if self.shutdown is not None:
            return self.shutdown
        return INFINITY if self.type is ChildType.SUPERVISOR else 5.0

    def _check(self, field: str, good: object, wanted: str) -> None:
        if not good:
            raise BadChildSpec(f"child {self.id!r}: {field} must be {wanted}, not {getattr(self, field)!r}")


def check_spec(spec: object) -> None:
    """Refuse what is no specification.

    Raises:
        BadChildSpec: It is something else.
    """
    if not isinstance(spec, ChildSpec):
        raise BadChildSpec(f"a child must be given as a ChildSpec, not as {type(spec).__name__}")


def _is_shutdown(value: object) -> bool:
    return value is None or isinstance(value, Shutdown) or is_seconds(value)
