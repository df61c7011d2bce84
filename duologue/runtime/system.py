"""The system: what actors of one loop share, and where they are started."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from duologue.runtime.actor import Actor
from duologue.runtime.exits import SHUTDOWN, ExitReason
from duologue.runtime.failures import AlreadyRegistered, SystemStopped
from duologue.runtime.process import Process, local
from duologue.runtime.ref import Ref
from duologue.runtime.registry import Registry
from duologue.runtime.reports import report_callback, report_held
from duologue.runtime.timers import DeadlineWheel
from duologue.runtime.tree import ActorNode, build_tree, draw
from duologue.telemetry import Telemetry

if TYPE_CHECKING:
    from duologue.runtime.mailbox import Entry, Mailbox

__all__ = ["ActorSystem", "Statistics"]

A = TypeVar("A", bound=Actor)


class CallSoon(Protocol):
    """`loop.call_soon`."""

    def __call__(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` in the loop's next turn."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A system at one moment. Totals count from its beginning.

    Args:
        actors: How many are alive.
        zombies: Tasks that swallowed their cancellation and still run.
        waiting_calls: Calls with a deadline that have no answer yet.
        started_total: Actors that were started.
        late_replies_total: Answers that came after the caller gave up.
        duplicate_replies_total: Answers to a request that had one.
        dropped_messages_total: Messages that a full mailbox lost or refused.
        zombies_total: Tasks that ever became zombies.
    """

    actors: int
    zombies: int
    waiting_calls: int
    started_total: int
    late_replies_total: int
    duplicate_replies_total: int
    dropped_messages_total: int
    zombies_total: int


class ActorSystem:
    """Actors of one loop, their names, and the deadlines of their calls.

    It has no task, and no timer while nothing waits. Several systems may share a loop; they know nothing of
    each other. It must be made, and used, where the loop runs.

    Args:
        telemetry: Gets the events; `None` for nobody.
        clock: Seconds that only grow; `None` for the loop's own clock. Timers always run on the loop's.
        kill_grace: Seconds that a cancelled task has to end before it is left behind as a zombie.
        hold_limit: Seconds that one handler, or one step of an async one or of an owned task, may hold the loop
            before it is reported. It is named when it lets go of the loop: who never does is not found out.
        stopwatch: Measures a handler's time; not used for deadlines.
    """

    def __init__(
        self,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] | None = None,
        *,
        kill_grace: float = 1.0,
        hold_limit: float = 0.1,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.call_soon: CallSoon = self.loop.call_soon
        self.create_future = self.loop.create_future
        self.telemetry = telemetry or Telemetry()
        self.clock = clock or self.loop.time
        self.kill_grace = kill_grace
        self.hold_limit = hold_limit
        self.stopwatch = stopwatch
        self.deadlines = DeadlineWheel(self.clock, self.loop.call_later)
        self.registry: Registry[str] = Registry()
        """The names that `spawn` and `start` gave."""
        self.spare_queue: deque[Entry] | None = None  # of the actor that last had nothing to do, for the next
        self._processes: dict[int, Process] = {}
        self._zombies: set[asyncio.Task[Any]] = set()
        self._number = 0
        self._stopped = False
        self._started = 0
        self._late = self._duplicates = self._dropped = self._zombies_total = 0

    def spawn(
        self,
        actor: A,
        *,
        name: str | None = None,
        link_to: Ref[Any] | None = None,
        start_timeout: float | None = None,
    ) -> Ref[A]:
        """Start an actor and return at once. Its mailbox takes messages; `init` runs in the loop's next turn.

        Args:
            actor: A fresh instance; one instance is one life.
            name: Unique name in this system, free again when the actor ends; `None` for none.
            link_to: Its parent: linked to it, and its exit signal always ends the actor. `None`: a root,
                ended by `shutdown`.
            start_timeout: Seconds that an `async` `init` has before the actor ends with the reason
                `start_timeout`; `None`: as long as it takes.

        Raises:
            AlreadyRegistered: A living actor has the name.
            SystemStopped: The system was shut down.
            ValueError: This very instance was started before.
            TypeError: It is no actor.
        """
        if self._stopped:
            raise SystemStopped("the actor system was shut down")
        if not isinstance(actor, Actor):
            raise TypeError(f"only an Actor can be started, not an instance of {type(actor).__name__}")
        if getattr(actor, "ctx", None) is not None:
            raise ValueError(f"this {type(actor).__name__} was started before; one instance is one life")
        if name is not None and (holder := self.registry.whereis(name)) is not None:
            raise AlreadyRegistered(name, holder)
        parent = local(link_to) if link_to is not None else None
        self._number += 1
        self._started += 1
        process = Process(self, actor, self._number, name, parent)
        process.start_timeout = start_timeout
        self._processes[process.id] = process
        if name is not None:
            self.registry.register(name, process)
        if parent is not None:
            process.adopt(parent)
        return process

    async def start(
        self,
        actor: A,
        *,
        name: str | None = None,
        link_to: Ref[Any] | None = None,
        start_timeout: float | None = 30.0,
    ) -> Ref[A]:
        """Start an actor and wait until its `init` has succeeded. Arguments and errors as for `spawn`.

        Raises:
            StartIgnored: It raised `Ignore`.
            StartFailed: It raised, or returned `Stop` or `Refuse`. Its name is free again.
        """
        ref = self.spawn(actor, name=name, link_to=link_to, start_timeout=start_timeout)
        await ref.wait_started()
        return ref

    def now(self) -> float:
        """Seconds on the system's clock, which only ever grows; its zero means nothing."""
        return self.clock()

    def whereis(self, name: str) -> Ref[Any] | None:
        """The living actor of that name."""
        return self.registry.whereis(name)

    async def shutdown(self, timeout: float | None = 10.0) -> None:
        """End all actors: the roots, last started first, as their parent would; then kill what is left.

        Nothing can be started any more. Calling it again waits for what is left.

        Args:
            timeout: Seconds for all of them together, before they are killed; `None`: as long as it takes.
        """
        self._stopped = True
        deadline = None if timeout is None else self.loop.time() + timeout
        for process in [process for process in reversed(self._processes.values()) if process.parent is None]:
            process.signal(SHUTDOWN, None, from_parent=True)
            await self._gone(process, deadline)
        for process in list(self._processes.values()):
            process.kill()
            await process.wait()
        self.deadlines.close()

    def statistics(self) -> Statistics:
        """The numbers of this moment."""
        return Statistics(
            actors=len(self._processes),
            zombies=len(self._zombies),
            waiting_calls=len(self.deadlines),
            started_total=self._started,
            late_replies_total=self._late,
            duplicate_replies_total=self._duplicates,
            dropped_messages_total=self._dropped,
            zombies_total=self._zombies_total,
        )

    def tree(self) -> tuple[ActorNode, ...]:
        """All actors, below who started them."""
        return build_tree(self._processes.values())

    def draw_tree(self) -> str:
        """The tree as text, one actor a line."""
        return draw(self.tree())

    async def _gone(self, process: Process, deadline: float | None) -> None:
        if not process.alive:
            return
        gone: asyncio.Future[object] = self.loop.create_future()
        process.on_end(lambda reason: None if gone.done() else gone.set_result(reason))
        await asyncio.wait(
            (gone,), timeout=None if deadline is None else max(0.0, deadline - self.loop.time())
        )

    # What the kernel's other parts need.

    def next_number(self) -> int:
        """A number that nothing else of this system has."""
        self._number += 1
        return self._number

    def forget(self, process: Process) -> None:
        """An actor ended."""
        self._processes.pop(process.id, None)

    def reply_dropped(self, mailbox: "Mailbox", *, late: bool) -> None:
        """An answer that nobody waited for."""
        if late:
            self._late += 1
            self._emit(self.telemetry.late_reply_dropped, actor=local(mailbox).kind.__name__)
        else:
            self._duplicates += 1

    def message_dropped(self) -> None:
        """A full mailbox lost or refused a message."""
        self._dropped += 1

    def adopt_zombie(self, process: Process, task: "asyncio.Task[Any]") -> None:
        """A task swallowed its cancellation; held until it ends."""
        self._zombies_total += 1
        self._zombies.add(task)
        task.add_done_callback(self._zombies.discard)
        self._emit(self.telemetry.task_zombie, actor=process.kind.__name__)

    def loop_held(self, process: Process, handler: str, message: str, seconds: float) -> None:
        """A handler held the loop for too long. `message`: the type of what it handled, or its own name."""
        report_held(process.name, handler, message, seconds)
        self._emit(self.telemetry.loop_held, actor=process.kind.__name__, message=message, seconds=seconds)

    def actor_crashed(self, process: Process, reason: ExitReason) -> None:
        """An actor ended by its own fault."""
        self._emit(self.telemetry.actor_crashed, actor=process.kind.__name__, reason=str(reason))

    def actor_restarted(self, process: Process) -> None:
        """A supervisor started an actor again."""
        self._emit(self.telemetry.actor_restarted, actor=process.kind.__name__)

    def _emit(self, event: Callable[..., None], **values: object) -> None:
        """Tell the telemetry. One that raises is detached: what it watches must not depend on it."""
        try:
            event(**values)
        except Exception as error:  # noqa: BLE001 - not the emitter's fault
            report_callback("telemetry", event.__name__, error)
            self.telemetry = Telemetry()
