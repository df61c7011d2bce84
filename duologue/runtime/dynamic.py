"""A supervisor of any number of children that come and go."""

from dataclasses import dataclass
from typing import Any

from duologue.errors import TooMany
from duologue.runtime.actor import Actor
from duologue.runtime.checks import is_count
from duologue.runtime.children import ChildSpec, ChildType, Restart, check_spec
from duologue.runtime.exits import IGNORED, SHUTDOWN, ExitReason
from duologue.runtime.failures import BadChildSpec, ChildError, NoProc
from duologue.runtime.links import Exit
from duologue.runtime.process import Process, local
from duologue.runtime.ref import Ref
from duologue.runtime.reports import report_child, report_stray
from duologue.runtime.requests import ReplyTo, Request
from duologue.runtime.restart import RestartWindow
from duologue.runtime.results import Refuse
from duologue.runtime.roster import ChildCounts, refuse_unknown
from duologue.runtime.stopping import stop_children

__all__ = ["DynamicSupervisor"]


class _Child:
    """What is kept of a running child. Of a temporary one, nothing that could start it."""

    __slots__ = ("handshake", "id", "known", "patience", "restarts", "spec", "type")

    def __init__(self, spec: ChildSpec, restarts: int) -> None:
        self.id = spec.id
        self.patience = spec.patience
        self.type = spec.type
        self.spec = None if spec.restart is Restart.TEMPORARY else spec
        self.restarts = restarts
        self.known: Ref[Any] | None = None  # its last life that had started, until this one has
        self.handshake = False  # its starter waits for init, and decides what a failure means


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """Info to itself: a restart failed before there was an actor. By mailbox, so that others get in."""

    spec: ChildSpec
    restarts: int
    reason: ExitReason
    known: Ref[Any]


class DynamicSupervisor(Actor):
    """Starts children on demand; each is restarted, or not, by its own specification, and known by its ref.

    The object is both the actor and its handle: start it (as a child of a supervisor, or with
    `system.spawn`) and call the methods below. Starting does not go through its mailbox, so a child
    whose `init` is slow holds nobody up. All children together share one restart window; when it is
    exceeded the supervisor ends its children and itself with `SHUTDOWN`, and its own supervisor decides.

    Args:
        max_children: Most children at once, those being restarted included; `None`: no bound.
        intensity: Restarts allowed within `period`; a failed attempt counts as one.
        period: Seconds.

    Raises:
        ValueError: One of them is out of bounds; the message names it.
    """

    __slots__ = ("_children", "_failing", "_max", "_window")

    traps_exits = True

    def __init__(self, *, max_children: int | None = None, intensity: int = 3, period: float = 5.0) -> None:
        if max_children is not None and not is_count(max_children):
            raise ValueError(f"max_children must be 0 or more, or None, not {max_children!r}")
        self._children: dict[Ref[Any], _Child] = {}
        self._max = max_children
        # Children that fail to start again, by the last life that had started, which is the one that people know;
        # with the life that is starting now, or None between two attempts. They count as children.
        self._failing: dict[Ref[Any], Ref[Any] | None] = {}
        self._window = RestartWindow(intensity, period)

    # For everybody in the same loop.

    def start_child_nowait(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and return at once; its `init` runs in the loop's next turn.

        A failing `init` shows as the child's end, and counts as such.

        Raises:
            TooMany: There are `max_children`. Nothing was started.
            NoProc: The supervisor does not run.
            BadChildSpec: It is significant, which a dynamic supervisor knows nothing of.
            AlreadyRegistered: The specification's name is taken.
            Exception: Whatever `spec.start` raises.
        """
        me = self._process()
        check_spec(spec)
        if self._max is not None and len(self) >= self._max:
            raise TooMany(f"supervisor {me.name} has {self._max} children, as many as it may")
        if spec.significant:
            raise BadChildSpec(f"child {spec.id!r}: significant must be false under a dynamic supervisor")
        return self._start(me, spec, 0, None)

    async def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and wait until its `init` has succeeded. Errors as for `start_child_nowait`.

        Raises:
            StartIgnored: Its `init` raised `Ignore`.
            StartFailed: Its first `init` failed, or took more than `start_timeout`. Whatever its `restart`,
                the child is not started again for this.
        """
        ref = self.start_child_nowait(spec)
        self._children[ref].handshake = True
        await ref.wait_started()
        return ref

    async def terminate_child(self, ref: Ref[Any]) -> None:
        """End a child, by its specification's `shutdown`, and wait for its end. It is not started again.

        One that fails to start again is given by the ref of its last life that had started, or of its latest.

        Raises:
            ChildError: `not_found`.
        """
        attempt = self._failing.pop(ref, ref)
        if attempt is None:
            return  # between two attempts: the next one will not come
        child = self._children.pop(attempt, None)
        if child is None:
            raise ChildError(ref.name, "not_found")
        self._known_no_more(child)
        await self._stop_all({attempt: child})

    def children(self) -> list[Ref[Any]]:
        """The children that run, in the order of their starts."""
        return list(self._children)

    def count_children(self) -> ChildCounts:
        """How many there are. Those between two attempts to restart them count in `specs` and are not `active`."""
        supervisors = sum(child.type is ChildType.SUPERVISOR for child in self._children.values())
        active = len(self._children)
        return ChildCounts(len(self), active, supervisors, active - supervisors)

    def __len__(self) -> int:
        return len(self._children) + sum(attempt is None for attempt in self._failing.values())

    # Callbacks.

    def handle_call(self, request: Request[Any], reply_to: ReplyTo[Any]) -> Refuse:  # noqa: ARG002
        return refuse_unknown(self.ctx.ref.name, request)

    def handle_cast(self, message: Any) -> None:
        report_stray(self.ctx.ref.name, message)

    def handle_info(self, message: Any) -> Any:
        if isinstance(message, Exit):
            child = self._children.pop(message.ref, None) if message.ref is not None else None
            if child is not None and message.ref is not None:
                self._ended(local(message.ref), child, message.reason)
        elif isinstance(message, _TryAgain):
            if message.known in self._failing:
                self._restart(message)
        else:
            report_stray(self.ctx.ref.name, message)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002
        children, self._children = self._children, {}
        await self._stop_all(children)

    # Its own.

    def _process(self) -> Process:
        ctx = getattr(self, "ctx", None)
        if ctx is None or not ctx.ref.alive:
            raise NoProc(type(self).__name__)
        return local(ctx.ref)

    def _start(self, me: Process, spec: ChildSpec, restarts: int, last: ExitReason | None) -> Ref[Any]:
        ref = me.system.spawn(spec.make(), name=spec.name, link_to=me, start_timeout=spec.start_timeout)
        if restarts:
            assert last is not None
            local(ref).past = (restarts, last)
            me.system.actor_restarted(local(ref))
        self._children[ref] = _Child(spec, restarts)
        return ref

    def _ended(self, process: Process, child: _Child, reason: ExitReason) -> None:
        spec = child.spec
        if not reason.clean:
            report_child(self.ctx.ref.name, child.id, reason, "ended")
        never_started = process.starters is not None
        given_up = spec is None or (never_started and (child.handshake or reason == IGNORED))
        if spec is None or given_up or not spec.restart.wanted(reason):
            self._known_no_more(child)
            return
        known = child.known if never_started and child.known is not None else process
        self._restart(_TryAgain(spec, child.restarts + 1, reason, known))

    def _restart(self, again: _TryAgain) -> None:
        me, known = self._process(), again.known
        if not self._window.allow(self.ctx.now()):
            report_child(me.name, again.spec.id, again.reason, "ended too often")
            self.ctx.stop(SHUTDOWN)
            return
        try:
            ref = self._start(me, again.spec, again.restarts, again.reason)
        except Exception as error:  # noqa: BLE001 - a failed attempt is an attempt, and counts
            self._failing[known] = None
            self.ctx.ref.info(_TryAgain(again.spec, again.restarts + 1, ExitReason.of(error), known))
            return
        self._failing[known] = ref
        child = self._children[ref]
        child.known = known
        starters = local(ref).starters
        assert starters is not None
        starters.append(lambda failure: self._known_no_more(child) if failure is None else None)

    def _known_no_more(self, child: _Child) -> None:
        """It has started, or will not: its earlier life means nothing now."""
        if child.known is not None:
            self._failing.pop(child.known, None)
            child.known = None

    async def _stop_all(self, children: dict[Ref[Any], _Child]) -> None:
        await stop_children(self._process(), {local(ref): child.patience for ref, child in children.items()})
