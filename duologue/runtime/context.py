"""An actor's side of the kernel: what it may do about itself and others."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from duologue.runtime import links
from duologue.runtime.exits import NOPROC, NORMAL, ExitReason, check_reason
from duologue.runtime.links import MonitorRef
from duologue.runtime.mailbox import STOP
from duologue.runtime.ref import Ref
from duologue.runtime.tasks import OwnedTask
from duologue.runtime.timers import NamedTimer
from duologue.telemetry import Telemetry

if TYPE_CHECKING:
    from duologue.runtime.process import Process
    from duologue.runtime.system import ActorSystem

__all__ = ["ActorContext"]


class ActorContext:
    """What an actor holds as `self.ctx`, for its callbacks and its owned tasks.

    Once the actor has ended, its methods do nothing.
    """

    __slots__ = ("_process",)

    def __init__(self, process: "Process") -> None:
        self._process = process

    @property
    def ref(self) -> Ref[Any]:
        """The actor's own ref."""
        return self._process

    @property
    def system(self) -> "ActorSystem":
        """The system that it runs in."""
        return self._process.system

    @property
    def telemetry(self) -> Telemetry:
        """Where the system's events go."""
        return self._process.system.telemetry

    @property
    def parent(self) -> Ref[Any] | None:
        """Who started it, and whose exit signal always ends it; `None` for one that the system started."""
        return self._process.parent

    @property
    def trap_exits(self) -> bool:
        """Whether exit signals come as `Exit` infos, and `terminate` runs when the parent asks for the end.

        Signals that were sent before it is set have had their effect.
        """
        return self._process.trap_exits

    @trap_exits.setter
    def trap_exits(self, traps: bool) -> None:
        self._process.trap_exits = traps

    def now(self) -> float:
        """Seconds on the system's clock, which only ever grows; its zero means nothing."""
        return self._process.system.clock()

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End when the callback under way has returned, before any waiting message. `terminate` runs."""
        check_reason(reason)
        self._process.post_first(STOP, reason)

    # Owned tasks.

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str | None = None) -> OwnedTask:
        """Run a coroutine beside the mailbox, as a task that this actor owns.

        Its end comes as a `TaskDone` info, whatever it was. When the actor ends the task is cancelled and
        waited for, up to the system's grace; one that swallows its cancellation is left behind, counted and
        reported. Its context variables are a copy of the actor's.

        Args:
            work: What to run. Not started before this returns.
            name: Unique among this actor's tasks that were not told to end; `None` makes one.

        Raises:
            ValueError: The name is in use, or the actor has ended. `work` was closed.
        """
        process = self._process
        if name is not None and self.task(name) is not None:
            work.close()
            raise ValueError(f"actor {process.name} runs a task named {name!r} already")
        if process.actor is None:
            work.close()
            raise ValueError(f"actor {process.name} has ended and can own no task")
        if process.tasks is None:
            process.tasks = {}
        task = OwnedTask(process, name or f"task-{process.system.next_number()}", work)
        process.tasks[task] = None
        return task

    def task(self, name: str) -> OwnedTask | None:
        """The task of that name, unless it has ended or was told to."""
        for task in self._process.tasks or ():
            if task.name == name and not task.cancelling:
                return task
        return None

    def cancel_task(self, name: str) -> bool:
        """Tell a task to end. Returns at once; `TaskDone` comes when it has ended. False: there is none."""
        task = self.task(name)
        if task is not None:
            task.cancel()
        return task is not None

    # Named timers.

    def start_timer(self, name: str, delay: float, message: object) -> None:
        """Have `message` come as an info in `delay` seconds. A timer of the same name is replaced."""
        process = self._process
        if process.actor is None or process.ending is not None:
            return
        if process.timers is None:
            process.timers = {}
        elif name in process.timers:
            process.timers[name].cancel()
        process.timers[name] = NamedTimer(process, name, delay, message)

    def cancel_timer(self, name: str) -> float | None:
        """Take a timer back. Its message does not come any more, even if it waits in the mailbox.

        Returns:
            The seconds that were left, 0.0 when it waits in the mailbox; `None` when there is no such timer.
        """
        timers = self._process.timers
        timer = timers.pop(name, None) if timers else None
        return timer.cancel() if timer is not None else None

    # Links and monitors.

    def monitor(self, ref: Ref[Any]) -> MonitorRef:
        """Have one `Down` come as an info when the actor ends, or at once when it has ended already."""
        found = ref.resolve()
        if found is None:
            return links.monitor_nobody(self._process, ref)
        return links.monitor(self._process, cast("Process", found))

    def demonitor(self, monitor: MonitorRef, *, flush: bool = True) -> None:
        """Take a monitor back. With `flush`, a `Down` that waits in the mailbox does not come either."""
        links.demonitor(self._process, monitor, flush=flush)

    def link(self, ref: Ref[Any]) -> None:
        """Tie this actor and another: when one ends, the other gets an exit signal. Again is as good as once.

        To link to an actor that has ended is to get the exit signal `NOPROC`.
        """
        found = ref.resolve()
        if found is None:
            self._process.signal(NOPROC, None)
        else:
            links.link(self._process, cast("Process", found))

    def unlink(self, ref: Ref[Any]) -> None:
        """Undo a link; no exit signal of it comes any more, even if it waits in the mailbox."""
        found = ref.resolve()
        if found is not None:
            links.unlink(self._process, cast("Process", found))

    def exit(self, ref: Ref[Any], reason: ExitReason) -> None:
        """Send an exit signal with this actor as its sender. To itself, `NORMAL` works, too."""
        check_reason(reason)
        found = ref.resolve()
        if found is not None:
            cast("Process", found).signal(reason, self._process)
