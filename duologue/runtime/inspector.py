"""Looking into an actor that runs, and holding it still: what `sys` is in OTP."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from duologue.runtime.exits import ExitReason
from duologue.runtime.failures import NoProc
from duologue.runtime.overseer import Counts, Hook, TraceEvent
from duologue.runtime.process import Process
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.requests import FutureReply

if TYPE_CHECKING:
    from duologue.runtime.actor import Actor

__all__ = ["Inspector", "ActorStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ActorStatistics:
    """One actor at one moment.

    Args:
        name: Its name.
        kind: Its class's name.
        state: As in `ActorNode`.
        started_at: When it was spawned, in seconds on the system's clock.
        mailbox: Messages that wait.
        handled: Messages that it has taken.
        restarts: How often its supervisor has started it again.
        last_reason: Why its life before this one ended; `None` in the first one.
        tasks: Names of the tasks that it owns.
        timers: Names of its timers.
        links: Actors that it is linked to, its supervisor included.
        watched_by: Monitors on it.
        unanswered: Calls that it has taken and not answered.
        counts: What it took since `count()`; `None` when that was not asked for.
    """

    name: str
    kind: str
    state: str
    started_at: float
    mailbox: int
    handled: int
    restarts: int
    last_reason: ExitReason | None
    tasks: tuple[str, ...]
    timers: tuple[str, ...]
    links: int
    watched_by: int
    unanswered: int
    counts: Counts | None


class Inspector:
    """A handle for one actor, for people and tools; the actor's author has nothing to do for it.

    What is awaited runs between two of the actor's callbacks, before any message that waits; so it does not wait
    for a long mailbox, but it does wait for an async callback under way. It neither wakes an actor that hibernates
    nor ends an idle wait. Each method works while the actor is suspended.

    Args:
        ref: The actor. Many inspectors may look at one.

    Raises (from every method, when awaited where it is to be awaited):
        NoProc: The actor has ended.
        ActorDied: It ended before its turn came.
        CallTimeout: Its turn did not come within `timeout` seconds.
    """

    __slots__ = ("_ref",)

    def __init__(self, ref: "Ref[Any]") -> None:
        self._ref = ref

    async def get_state(self, timeout: float | None = CALL_TIMEOUT) -> dict[str, Any]:
        """The actor's attributes by name, `ctx` left out. The values themselves, not copies; they may be private."""
        return await self._ask(_state_of, timeout)

    async def replace_state(
        self,
        function: Callable[[dict[str, Any]], Mapping[str, Any]],
        timeout: float | None = CALL_TIMEOUT,
    ) -> dict[str, Any]:
        """Give the actor other attributes.

        Args:
            function: Gets what `get_state` returns, and returns the attributes to set; those left out stay. It runs
                in the actor's place and must not change values in place.
            timeout: Seconds.

        Returns:
            The state after it.

        Raises:
            AttributeError: It returned a name that the actor does not have. Nothing was set.
            Exception: Whatever `function` raises. Nothing was set.
        """

        def replace(actor: "Actor") -> dict[str, Any]:
            state = _state_of(actor)
            new = dict(function(dict(state)))
            if unknown := [name for name in new if name not in state]:
                raise AttributeError(f"{type(actor).__name__} has no attribute {unknown[0]!r} to replace")
            for name, value in new.items():
                setattr(actor, name, value)
            return _state_of(actor)

        return await self._ask(replace, timeout)

    async def describe(self, timeout: float | None = CALL_TIMEOUT) -> dict[str, object]:
        """What the actor's own `describe` shows, with everything private left out. A failure in it is raised here."""
        return await self._ask(lambda actor: dict(actor.describe()), timeout)

    async def suspend(self, timeout: float | None = CALL_TIMEOUT) -> None:
        """Have it handle no message until `resume`. Messages wait and nothing is lost, within its mailbox's bound.

        Calls keep their deadlines. `stop`, exit signals and its parent's end still end it.
        """
        process = self._process()
        await self._ask(lambda _: process.oversee().suspend(), timeout)

    async def resume(self, timeout: float | None = CALL_TIMEOUT) -> None:
        """Have it go on with the messages that waited. Nothing happens when it is not suspended."""
        process = self._process()
        await self._ask(lambda _: process.oversee().resume(), timeout)

    # What needs no turn of the actor.

    def statistics(self) -> ActorStatistics:
        """The numbers of this moment."""
        process = self._process()
        restarts, last_reason = process.past or (0, None)
        overseer = process.overseer
        counts = overseer.counts if overseer is not None else None
        return ActorStatistics(
            name=process.name,
            kind=process.kind.__name__,
            state=process.state,
            started_at=process.started_at,
            mailbox=process.waiting,
            handled=process.handled,
            restarts=restarts,
            last_reason=last_reason,
            tasks=tuple(task.name for task in process.tasks or ()),
            timers=tuple(process.timers or ()),
            links=len(process.ties.links) if process.ties is not None else 0,
            watched_by=len(process.ties.watchers or ()) if process.ties is not None else 0,
            unanswered=len(process.owed or ()),
            counts=None
            if counts is None
            else Counts(counts.since, counts.calls, counts.casts, counts.infos, counts.busy),
        )

    def count(self, *, on: bool = True) -> None:
        """Count messages by kind and the time that callbacks take, from now on; or stop it and forget."""
        process = self._process()
        process.oversee().counts = Counts(process.system.clock()) if on else None
        process.dismiss_overseer()

    def install(self, name: str, hook: Hook) -> None:
        """Have `hook` called with each of the actor's trace events. One of the same name is replaced."""
        self._process().oversee().hooks[name] = hook

    def remove(self, name: str) -> None:
        """Take a hook away. Nothing happens when there is none of that name."""
        process = self._process()
        process.oversee().hooks.pop(name, None)
        process.dismiss_overseer()

    def keep_log(self, size: int) -> None:
        """Keep the last `size` trace events, with their values, from now on; 0 keeps none and forgets."""
        process = self._process()
        process.oversee().log = deque(maxlen=size) if size > 0 else None
        process.dismiss_overseer()

    def log(self) -> list[TraceEvent]:
        """The events that are kept, oldest first."""
        overseer = self._process().overseer
        return list(overseer.log) if overseer is not None and overseer.log is not None else []

    def _process(self) -> Process:
        process = self._ref.resolve()
        if not isinstance(process, Process) or not process.alive:
            raise NoProc(self._ref.name)
        return process

    async def _ask(self, action: "Callable[[Actor], T]", timeout: float | None) -> T:
        process = self._process()
        if process.step is not None and process.step is asyncio.current_task():
            raise process.calling_self()
        future: asyncio.Future[T] = process.system.create_future()

        def act() -> T:
            assert process.actor is not None
            return action(process.actor)

        process.oversee().control(act, FutureReply(process, future, timeout))
        return await future


def _state_of(actor: "Actor") -> dict[str, Any]:
    """Its attributes by the names that `setattr` takes."""
    names = list(vars(actor)) if hasattr(actor, "__dict__") else []
    for cls in reversed(type(actor).__mro__):
        slots = vars(cls).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            names.append(f"_{cls.__name__.lstrip('_')}{slot}" if private else slot)
    return {name: getattr(actor, name) for name in names if name != "ctx" and hasattr(actor, name)}
