"""Owned tasks: work that an actor has done beside its mailbox, and that ends with it."""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context
from dataclasses import dataclass
from types import coroutine
from typing import TYPE_CHECKING, Any

from duologue.runtime.exits import places
from duologue.runtime.reports import report_zombie

if TYPE_CHECKING:
    from duologue.runtime.process import Process

__all__ = ["OwnedTask", "TaskDone", "Raised", "settle", "start_contained"]


class Raised:
    """An exception that a coroutine ended with, carried past the task.

    A task lets SystemExit and KeyboardInterrupt through to the loop, where they would end the program.
    """

    __slots__ = ("error", "where")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.where = places(error.__traceback__)  # now: who gets the error first takes its frames away


def start_contained(
    owner: "Process", work: Awaitable[Any], name: str, context: Context
) -> "asyncio.Task[Any]":
    """A task for `work` whose result is that of `work`, or `Raised`.

    Made directly: a task factory of the loop's owner may start tasks inside the stack that makes them, and
    there the actor's context is entered already.
    """
    full_name = f"{owner.name}/{name}"
    task = asyncio.Task(contained(owner, work), loop=owner.system.loop, name=full_name, context=context)
    if isinstance(
        work, Coroutine
    ):  # cancelled before its first step it would complain of never being awaited
        task.add_done_callback(lambda _: work.close())
    return task


async def contained(owner: "Process", work: Awaitable[Any]) -> Any:
    """The result of `work`, or `Raised`. Only a cancellation passes."""
    try:
        return await watched(owner, work)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - the point of this function
        return Raised(error)


@coroutine
def watched(owner: "Process", work: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """`await work`, with each of its steps timed: one that holds the loop for too long is reported."""
    system = owner.system
    stopwatch, limit = system.stopwatch, system.hold_limit
    steps = work.__await__()
    waits_for: Any = None
    value: Any = None
    error: BaseException | None = None
    while True:
        began = stopwatch()
        try:
            waits_for = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as done:
            return done.value
        finally:
            held = stopwatch() - began
            if held > limit:
                name = getattr(work, "__qualname__", type(work).__name__)
                system.loop_held(owner, name, name, held)
        try:
            value, error = (yield waits_for), None
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 - it goes to the one whom it was thrown at
            error = thrown


@dataclass(frozen=True, slots=True)
class TaskDone:
    """Info: an owned task has ended.

    Args:
        name: Its name.
        task: Its handle; tells it from a later task of the same name.
        result: What it returned; `None` when it failed or was cancelled.
        exception: What it raised, with no traceback (that would keep the task's frames alive).
        cancelled: It was cancelled, by `cancel_task` or from inside.
        where: The places that `exception` passed, outermost first.
    """

    name: str
    task: "OwnedTask"
    result: Any = None
    exception: BaseException | None = None
    cancelled: bool = False
    where: tuple[str, ...] = ()


class OwnedTask:
    """Handle of a task that `ctx.spawn` started."""

    __slots__ = ("_owner", "_task", "cancelling", "name")

    def __init__(self, owner: "Process", name: str, work: Coroutine[Any, Any, Any]) -> None:
        self.name = name
        self.cancelling = False
        """Whether it was told to end, which frees its name."""
        self._owner = owner
        self._task = start_contained(owner, work, name, owner.context.copy())
        self._task.add_done_callback(self._ended)

    @property
    def done(self) -> bool:
        """Whether the task has ended. Its `TaskDone` may still wait in the mailbox."""
        return self._task.done()

    @property
    def task(self) -> "asyncio.Task[Any]":
        """The task itself (kernel)."""
        return self._task

    def cancel(self) -> None:
        """Ask the task to end; its `TaskDone` comes when it has. Its name is free at once."""
        self.cancelling = True
        self._task.cancel()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        owner = self._owner
        owner.task_ended(self)
        if owner.ending is None:
            owner.post_info(self._report(task), None)

    def _report(self, task: "asyncio.Task[Any]") -> TaskDone:
        if task.cancelled():
            return TaskDone(self.name, self, cancelled=True)
        result = task.result()
        if result.__class__ is not Raised:
            return TaskDone(self.name, self, result)
        return TaskDone(self.name, self, exception=without_frames(result.error), where=result.where)


def without_frames(error: BaseException) -> BaseException:
    """The same exception with the tracebacks of it and of what led to it removed."""
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None:
            break
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error


async def settle(owner: "Process", tasks: "set[asyncio.Task[Any]]", grace: float) -> None:
    """Wait until cancelled tasks have ended; those that have not after `grace` seconds become zombies."""
    if not tasks:
        return
    _, left = await asyncio.wait(tasks, timeout=grace)
    for task in left:
        owner.system.adopt_zombie(owner, task)
        report_zombie(owner.name, task.get_name(), grace)
