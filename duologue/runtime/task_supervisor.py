"""A supervisor of work that is no actor: coroutines that run once, for whoever wants their result."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from duologue.errors import CallTimeout, TooMany
from duologue.runtime.actor import Actor
from duologue.runtime.checks import is_count
from duologue.runtime.exits import SHUTDOWN, ExitReason
from duologue.runtime.failures import ActorDied, NoProc
from duologue.runtime.process import Process, local
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.reports import report_stray, report_task
from duologue.runtime.requests import Outcome
from duologue.runtime.tasks import OwnedTask, Raised, TaskDone, without_frames

__all__ = ["TaskSupervisor", "SupervisedTask"]

R = TypeVar("R")
T = TypeVar("T")

_CANCELLED = ExitReason.shutdown("cancelled")


class SupervisedTask(Generic[R]):
    """Handle of a task that a `TaskSupervisor` runs. Anybody may wait for it, more than once."""

    __slots__ = ("_forget", "_future", "_owned", "_owner", "_supervisor", "name")

    def __init__(
        self,
        supervisor: Process,
        owned: OwnedTask,
        owner: Process | None,
        forget: "Callable[[SupervisedTask[Any]], object]",
    ) -> None:
        self.name = owned.name
        """Unique among its supervisor's tasks."""
        self._supervisor = supervisor
        self._owned = owned
        self._owner = owner  # who is linked to it; None once that is over
        self._forget = forget
        self._future: asyncio.Future[Outcome[R]] = supervisor.system.loop.create_future()
        if owner is not None:
            owner.on_end(self._owner_ended)
        owned.task.add_done_callback(self._ended)

    @property
    def done(self) -> bool:
        """Whether it has ended in one way or another."""
        return self._future.done()

    async def wait(self, timeout: float | None = CALL_TIMEOUT) -> R:
        """Its result. A timeout, or a cancelled wait, does not end the task.

        Args:
            timeout: Seconds; `None`: as long as it takes.

        Raises:
            CallTimeout: It has not ended in time.
            ActorDied: It was cancelled, its supervisor ended, or it raised SystemExit or the like.
            Exception: Whatever else it raised, without its frames.
        """
        outcome = await self.outcome(timeout)
        if outcome is None:
            raise CallTimeout(f"task {self.name} has not ended within the deadline")
        return outcome.result()

    async def outcome(self, timeout: float | None = 0.0) -> Outcome[R] | None:
        """How it ended, as a value; `None` when it has not within `timeout` seconds. The task goes on."""
        if not self._future.done():
            await asyncio.wait((self._future,), timeout=timeout)
        return self._future.result() if self._future.done() else None

    def cancel(self) -> None:
        """Ask it to end. Who is linked to it does not feel that."""
        self._unlink()
        self._owned.cancel()

    async def shutdown(self) -> Outcome[R] | None:
        """Ask it to end, and wait as long as the system's `kill_grace`.

        Returns:
            How it ended: it may have been quicker. `None` when it swallowed its cancellation and still runs.
        """
        self.cancel()
        return await self.outcome(self._supervisor.system.kill_grace)

    def _owner_ended(self, reason: ExitReason) -> None:  # noqa: ARG002 - whatever it was
        self._owner = None
        self._owned.cancel()

    def _unlink(self) -> Process | None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.forget_on_end(self._owner_ended)
        return owner

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        result: Any = Raised(asyncio.CancelledError()) if task.cancelled() else task.result()
        if result.__class__ is not Raised:
            self._unlink()
            self.settle(Outcome(result))
        elif isinstance(result.error, asyncio.CancelledError):
            self._failed(_CANCELLED, ActorDied(self.name, _CANCELLED))
        else:
            reason = replace(ExitReason.of(result.error), where=result.where)
            report_task(self._supervisor.name, self.name, reason)
            error = without_frames(result.error)
            self._failed(reason, error if isinstance(error, Exception) else ActorDied(self.name, reason))

    def _failed(self, reason: ExitReason, error: Exception) -> None:
        owner = self._unlink()
        self.settle(Outcome(error=error))
        if owner is not None:
            owner.exit(reason, self._supervisor)

    def settle(self, outcome: Outcome[R]) -> None:
        """Tell everybody who waits (kernel); the first outcome counts."""
        self._forget(self)
        if not self._future.done():
            self._future.set_result(outcome)


class TaskSupervisor(Actor):
    """Runs coroutines as tasks of its own: when it ends, they are cancelled. None is ever run again.

    The object is both the actor and its handle. A failure of a task is reported, and reaches who waits for its
    result and the actor that it is linked to; the supervisor and the other tasks do not feel it.

    Args:
        max_tasks: Most tasks at once; `None`: no bound.
    """

    __slots__ = ("_max", "_tasks")

    def __init__(self, *, max_tasks: int | None = None) -> None:
        if max_tasks is not None and not is_count(max_tasks, 1):
            raise ValueError(f"max_tasks must be 1 or more, or None, not {max_tasks!r}")
        self._max = max_tasks
        self._tasks: dict[SupervisedTask[Any], None] = {}

    # For everybody in the same loop.

    def run(
        self, work: Coroutine[Any, Any, R], *, name: str | None = None, link_to: Ref[Any] | None = None
    ) -> SupervisedTask[R]:
        """Run a coroutine. It is not started before this returns.

        Args:
            work: What to run.
            name: Unique among the tasks that were not told to end; `None` makes one.
            link_to: An actor whose end cancels the task, and that gets an exit signal when the task fails.

        Raises (having closed `work`):
            TooMany: There are `max_tasks`.
            NoProc: The supervisor, or who it is to be linked to, does not run.
            ValueError: The name is in use.
        """
        try:
            me = self._admitting()
            owner = _living(link_to) if link_to is not None else None
            owned = self.ctx.spawn(work, name=name)
        except Exception:
            work.close()
            raise
        task: SupervisedTask[R] = SupervisedTask(me, owned, owner, lambda task: self._tasks.pop(task, None))
        self._tasks[task] = None
        return task

    async def map(
        self,
        function: Callable[[T], Coroutine[Any, Any, R]],
        items: Iterable[T],
        *,
        at_once: int,
        timeout: float | None = CALL_TIMEOUT,
    ) -> AsyncGenerator[Outcome[R], None]:
        """Run `function` on each item, a bounded number at once, and give the outcomes in the order of the items.

        Close it when you stop early (`contextlib.aclosing`): the tasks that are under way are cancelled then.

        Args:
            function: Makes the coroutine for one item.
            items: Taken as they are needed.
            at_once: Most tasks under way, 1 or more.
            timeout: Seconds that the next outcome is waited for; it is a `CallTimeout` then, and its task is cancelled.

        Raises:
            TooMany, NoProc: As `run`.
        """
        if not is_count(at_once, 1):
            raise ValueError(f"at_once must be 1 or more, not {at_once!r}")
        under_way: deque[SupervisedTask[R]] = deque()
        try:
            for item in items:
                if len(under_way) >= at_once:
                    yield await _next_outcome(under_way, timeout)
                under_way.append(self.run(function(item)))
            while under_way:
                yield await _next_outcome(under_way, timeout)
        finally:
            for task in under_way:
                task.cancel()

    def tasks(self) -> list[SupervisedTask[Any]]:
        """Those that run, in the order of their starts."""
        return list(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    # Callbacks.

    def init(self) -> None:
        self._process().on_end(self._over)

    def handle_cast(self, message: Any) -> None:
        report_stray(self.ctx.ref.name, message)

    def handle_info(self, message: Any) -> None:
        if not isinstance(message, TaskDone):  # told by the task itself, and sooner
            report_stray(self.ctx.ref.name, message)

    # Its own.

    def _over(self, reason: ExitReason) -> None:
        """It has ended, and so have its tasks, but for those that swallowed their cancellation."""
        for task in self.tasks():
            task.settle(Outcome(error=ActorDied(task.name, SHUTDOWN if reason.clean else reason)))

    def _admitting(self) -> Process:
        me = self._process()
        if self._max is not None and len(self._tasks) >= self._max:
            raise TooMany(f"supervisor {me.name} has {self._max} tasks, as many as it may")
        return me

    def _process(self) -> Process:
        ctx = getattr(self, "ctx", None)
        if ctx is None or not ctx.ref.alive:
            raise NoProc(type(self).__name__)
        return local(ctx.ref)


def _living(ref: Ref[Any]) -> Process:
    found = ref.resolve()
    if found is None or not found.alive:
        raise NoProc(ref.name)
    return local(found)


async def _next_outcome(under_way: deque[SupervisedTask[R]], timeout: float | None) -> Outcome[R]:
    outcome = await under_way[0].outcome(
        timeout
    )  # stays there while it is waited for, to be cancelled with the rest
    task = under_way.popleft()
    if outcome is None:
        task.cancel()
        outcome = Outcome(error=CallTimeout(f"task {task.name} has not ended within the deadline"))
    return outcome
