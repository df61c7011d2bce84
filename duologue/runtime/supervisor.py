"""A supervisor of a known list of children, with the three strategies of OTP."""

from collections.abc import Sequence
from typing import Any

from duologue.runtime.actor import Actor
from duologue.runtime.children import ChildSpec, ChildType, check_spec
from duologue.runtime.exits import IGNORED, SHUTDOWN, ExitReason
from duologue.runtime.failures import BadChildSpec, ChildError, NoProc, StartFailed
from duologue.runtime.links import Exit
from duologue.runtime.process import Process, local
from duologue.runtime.ref import Ref
from duologue.runtime.reports import report_child, report_stray
from duologue.runtime.requests import ReplyTo, Request
from duologue.runtime.restart import RestartWindow
from duologue.runtime.results import Refuse, Stop
from duologue.runtime.roster import (
    Child,
    ChildCounts,
    ChildInfo,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
    TryAgain,
    refuse_unknown,
)
from duologue.runtime.stopping import stop_children
from duologue.runtime.strategy import AutoShutdown, Strategy, affected

__all__ = ["Supervisor"]


class Supervisor(Actor):
    """Starts its children in order, restarts those that end, and ends them in reverse order.

    The object is both the actor and its handle. Its `init` has succeeded when all children have started; when
    one does not, those before it are ended and the start fails. A restart that exceeds the window, in
    which each failed attempt counts, ends all children and the supervisor with `SHUTDOWN`.

    Args:
        children: In the order of their starts.
        strategy: What the end of one child means for the others.
        intensity: Restarts allowed within `period`, of all children together; one event counts once,
            whatever number of siblings it takes along.
        period: Seconds.
        auto_shutdown: Whether it ends with its significant children.

    Raises:
        BadChildSpec: Two children have one id, or one is significant without `auto_shutdown`.
        ValueError: `intensity`, `period`, `strategy` or `auto_shutdown` is wrong; the message names it.
    """

    __slots__ = ("_auto_shutdown", "_children", "_strategy", "_window")

    traps_exits = True

    def __init__(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 3,
        period: float = 5.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        _check("strategy", strategy, Strategy)
        _check("auto_shutdown", auto_shutdown, AutoShutdown)
        self._strategy = strategy
        self._window = RestartWindow(intensity, period)
        self._auto_shutdown = auto_shutdown
        self._children: dict[str, Child] = {}
        for spec in children:
            self._check(spec)
            if spec.id in self._children:
                raise BadChildSpec(f"child {spec.id!r}: id is taken by a child before it")
            self._children[spec.id] = Child(spec)

    # For everybody in the same loop.

    def child(self, id: str) -> Ref[Any] | None:  # noqa: A002 - what it is called in its specification
        """The ref of a child that runs. A restart gives it another one."""
        child = self._children.get(id)
        return child.ref if child is not None else None

    def which_children(self) -> list[ChildInfo]:
        """All children, the newest first."""
        return [child.info() for child in reversed(self._children.values())]

    def count_children(self) -> ChildCounts:
        """How many there are."""
        types = [child.spec.type for child in self._children.values()]
        supervisors = types.count(ChildType.SUPERVISOR)
        active = sum(child.ref is not None for child in self._children.values())
        return ChildCounts(len(types), active, supervisors, len(types) - supervisors)

    async def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Add a child behind the others and start it.

        Raises:
            ChildError: `already_started` (with its ref), or `already_present` when it is there but does not run.
            StartFailed: Its `init` failed; it is not kept.
            StartIgnored: Its `init` raised `Ignore`; it is kept, stopped, unless it is temporary.
            BadChildSpec: It is significant and the supervisor has no `auto_shutdown`.
        """
        return await self._ref().call(StartChild(spec), timeout=None)

    async def restart_child(self, id: str) -> Ref[Any]:  # noqa: A002 - as above
        """Start a child that is stopped.

        Raises:
            ChildError: `running`, `restarting` or `not_found`.
            StartFailed: Its `init` failed; it stays stopped.
        """
        return await self._ref().call(RestartChild(id), timeout=None)

    async def terminate_child(self, id: str) -> None:  # noqa: A002 - as above
        """End a child and wait for its end. It stays in the list, stopped, unless it is temporary.

        Also ends a child's failing restarts. Doing it to a stopped child is no error.

        Raises:
            ChildError: `not_found`.
        """
        await self._ref().call(TerminateChild(id), timeout=None)

    async def delete_child(self, id: str) -> None:  # noqa: A002 - as above
        """Take a stopped child from the list.

        Raises:
            ChildError: `running`, `restarting` or `not_found`.
        """
        await self._ref().call(DeleteChild(id), timeout=None)

    # Callbacks.

    async def init(self) -> Stop | None:
        for child in list(self._children.values()):
            try:
                await self._start(child)
            except Exception as error:  # noqa: BLE001 - whatever keeps a child from starting
                reason = _reason_of(error)
                if reason == IGNORED:
                    self._stopped(child)
                    continue
                await self._stop_all()
                report_child(self.ctx.ref.name, child.spec.id, reason, "did not start")
                return Stop(ExitReason.shutdown(f"failed to start child {child.spec.id!r}: {reason}"))
        return None

    async def handle_call(self, request: Request[Any], reply_to: ReplyTo[Any]) -> Any:  # noqa: ARG002
        match request:
            case StartChild(spec):
                return await self._add(spec)
            case RestartChild(id):
                return await self._start_stopped(id)
            case TerminateChild(id):
                return await self._terminate(id)
            case DeleteChild(id):
                return self._delete(id)
        return refuse_unknown(self.ctx.ref.name, request)

    def handle_cast(self, message: Any) -> None:
        report_stray(self.ctx.ref.name, message)

    def handle_info(self, message: Any) -> Any:
        match message:
            case Exit(ref, reason):
                child = next((child for child in self._children.values() if child.ref is ref), None)
                return None if child is None or ref is None else self._ended(child, reason)
            case TryAgain(child):
                return self._restart(child) if child.restarting else None
        return report_stray(self.ctx.ref.name, message)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - the contract
        await self._stop_all()

    # Ends and restarts.

    def _ended(self, child: Child, reason: ExitReason) -> Any:
        child.ref = None
        child.last_reason = reason
        if not reason.clean:
            report_child(self.ctx.ref.name, child.spec.id, reason, "ended")
        if child.spec.restart.wanted(reason):
            return self._restart(child)
        self._stopped(child)
        if child.spec.significant and self._is_over():
            return Stop(SHUTDOWN)
        return None

    def _restart(self, child: Child) -> Any:
        child.restarting = True
        if not self._window.allow(self.ctx.now()):
            reason = child.last_reason or SHUTDOWN
            report_child(self.ctx.ref.name, child.spec.id, reason, "ended too often")
            return Stop(SHUTDOWN)
        return self._carry_out(child)

    async def _carry_out(self, ended: Child) -> None:
        """End and start what the strategy says. The first that does not start is tried again, by mailbox."""
        ids = affected(self._strategy, list(self._children), ended.spec.id)
        await self._stop([self._children[name] for name in reversed(ids)])
        for child in [self._children[name] for name in ids if name in self._children]:
            try:
                ref = await self._start(child)
            except Exception as error:  # noqa: BLE001 - whatever keeps a child from starting
                reason = _reason_of(error)
                if reason == IGNORED:
                    self._stopped(child)
                    continue
                child.restarting = True
                child.last_reason = reason
                report_child(self.ctx.ref.name, child.spec.id, reason, "did not start again")
                self.ctx.ref.info(TryAgain(child))
                return
            child.restarts += 1
            self.ctx.system.actor_restarted(local(ref))

    def _is_over(self) -> bool:
        if self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return True
        return self._auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and not any(
            child.spec.significant and (child.ref is not None or child.restarting)
            for child in self._children.values()
        )

    # Single children.

    async def _start(self, child: Child) -> Ref[Any]:
        spec = child.spec
        me = self._process()
        ref = me.system.spawn(spec.make(), name=spec.name, link_to=me, start_timeout=spec.start_timeout)
        if child.last_reason is not None:
            local(ref).past = (child.restarts + 1, child.last_reason)
        await ref.wait_started()
        child.started(ref)
        return ref

    def _stopped(self, child: Child) -> None:
        """It does not run, and nobody will start it unasked."""
        child.ref = None
        child.restarting = False
        if child.temporary:
            self._children.pop(child.spec.id, None)

    async def _stop(self, children: Sequence[Child]) -> None:
        """End children one after the other, in the order given."""
        for child in children:
            ref = child.ref
            if ref is not None:
                child.ref = None  # before the wait, so that its Exit finds nobody
                await stop_children(self._process(), {local(ref): child.spec.patience})
                if child.temporary:
                    self._stopped(child)

    async def _stop_all(self) -> None:
        await self._stop([*reversed(self._children.values())])

    # Requests.

    async def _add(self, spec: ChildSpec) -> Any:
        try:
            self._check(spec)
        except BadChildSpec as error:
            return Refuse(error)
        present = self._children.get(spec.id)
        if present is not None:
            problem = "already_present" if present.ref is None else "already_started"
            return Refuse(ChildError(spec.id, problem, present.ref))
        child = self._children[spec.id] = Child(spec)
        try:
            return await self._start(child)
        except Exception as error:  # noqa: BLE001 - the caller's specification, so the caller's failure
            if _reason_of(error) == IGNORED:
                self._stopped(child)
            else:
                del self._children[spec.id]
            return Refuse(error)

    async def _start_stopped(self, id: str) -> Any:  # noqa: A002 - as above
        child = self._find(id)
        problem = _problem(child)
        if child is None or problem is not None:
            return Refuse(ChildError(id, problem or "not_found"))
        try:
            return await self._start(child)
        except Exception as error:  # noqa: BLE001 - as above
            return Refuse(error)

    async def _terminate(self, id: str) -> Any:  # noqa: A002 - as above
        child = self._find(id)
        if child is None:
            return Refuse(ChildError(id, "not_found"))
        await self._stop([child])
        self._stopped(child)
        return None

    def _delete(self, id: str) -> Any:  # noqa: A002 - as above
        child = self._find(id)
        problem = _problem(child)
        if problem is not None:
            return Refuse(ChildError(id, problem))
        del self._children[id]
        return None

    # Its own.

    def _find(self, id: object) -> Child | None:  # noqa: A002 - as above
        """The child of that id; whatever else somebody asks for is not there."""
        return self._children.get(id) if isinstance(id, str) else None

    def _check(self, spec: ChildSpec) -> None:
        check_spec(spec)
        if spec.significant and self._auto_shutdown is AutoShutdown.NEVER:
            raise BadChildSpec(
                f"child {spec.id!r}: significant must be false, its supervisor has no auto_shutdown"
            )

    def _ref(self) -> Ref[Any]:
        ctx = getattr(self, "ctx", None)
        if ctx is None:
            raise NoProc(type(self).__name__)
        return ctx.ref  # type: ignore[no-any-return]  # getattr, because it is not there before the start

    def _process(self) -> Process:
        return local(self.ctx.ref)


def _check(name: str, value: object, kind: type[Strategy] | type[AutoShutdown]) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be of type {kind.__name__}, not {value!r}")


def _reason_of(error: Exception) -> ExitReason:
    """Why a child did not start."""
    return error.reason if isinstance(error, StartFailed) else ExitReason.of(error)


def _problem(child: Child | None) -> str | None:
    """What keeps a child from being started or deleted."""
    if child is None:
        return "not_found"
    if child.ref is not None:
        return "running"
    return "restarting" if child.restarting else None
