"""A supervisor's list of children: its lines, what is told of them, and what may be asked."""

from dataclasses import dataclass, replace
from typing import Any

from duologue.runtime.actor import Actor
from duologue.runtime.children import ChildSpec, ChildType, Restart
from duologue.runtime.exits import ExitReason
from duologue.runtime.failures import UnhandledRequest
from duologue.runtime.ref import Ref
from duologue.runtime.requests import Request
from duologue.runtime.results import Refuse

__all__ = [
    "ChildInfo",
    "ChildCounts",
    "Child",
    "StartChild",
    "RestartChild",
    "TerminateChild",
    "DeleteChild",
    "TryAgain",
    "refuse_unknown",
]


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child at one moment. `state` is `running`, `stopped` or `restarting`; `ref` is there when it runs."""

    id: str
    state: str
    ref: Ref[Any] | None
    type: ChildType
    restarts: int
    last_reason: ExitReason | None


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """How many children a supervisor has. Those being restarted count in `specs` but not as `active`."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Child:
    """One line of the supervisor's list."""

    __slots__ = ("last_reason", "ref", "restarting", "restarts", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref: Ref[Any] | None = None
        self.restarting = False  # its last attempt failed, and another one waits in the mailbox
        self.restarts = 0
        self.last_reason: ExitReason | None = None

    @property
    def temporary(self) -> bool:
        return self.spec.restart is Restart.TEMPORARY

    def started(self, ref: Ref[Any]) -> None:
        """It runs. What could start a temporary one again is let go: it may hold a lot."""
        self.ref = ref
        self.restarting = False
        if self.temporary:
            self.spec = replace(self.spec, start=_never_again)

    def info(self) -> ChildInfo:
        state = "running" if self.ref is not None else "restarting" if self.restarting else "stopped"
        return ChildInfo(self.spec.id, state, self.ref, self.spec.type, self.restarts, self.last_reason)


def _never_again() -> Actor:
    raise AssertionError("a temporary child is started once")


@dataclass(frozen=True, slots=True)
class StartChild(Request[Ref[Any]]):
    """Add a child behind the others and start it."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class RestartChild(Request[Ref[Any]]):
    """Start a stopped child."""

    id: str


@dataclass(frozen=True, slots=True)
class TerminateChild(Request[None]):
    """End a child and keep its line."""

    id: str


@dataclass(frozen=True, slots=True)
class DeleteChild(Request[None]):
    """Take a stopped child's line away."""

    id: str


def refuse_unknown(supervisor: str, request: Request[Any]) -> Refuse:
    """The answer to a request that a supervisor does not know: not worth its end, and that of its children."""
    return Refuse(UnhandledRequest(f"supervisor {supervisor} knows no {type(request).__name__}"))


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Info to itself: an attempt to restart failed. By mailbox, so that requests and the end get in between."""

    child: Child
