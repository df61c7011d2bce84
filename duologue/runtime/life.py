"""One life of an actor: its name, its start, its end, and what belongs to it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from duologue.runtime.actor import Actor
from duologue.runtime.ending import Ending
from duologue.runtime.exits import IGNORED, KILLED, NORMAL, ExitReason, check_reason
from duologue.runtime.failures import Ignore, StartFailed, StartIgnored
from duologue.runtime.links import Ties, link
from duologue.runtime.mailbox import CALL, CONTINUE, EXIT, INIT, STOP, Mailbox, callback_name
from duologue.runtime.overseer import Overseer
from duologue.runtime.ref import Ref

if TYPE_CHECKING:
    from duologue.runtime.process import Process
    from duologue.runtime.requests import ReplyTo
    from duologue.runtime.system import ActorSystem
    from duologue.runtime.tasks import OwnedTask
    from duologue.runtime.timers import NamedTimer

__all__ = ["Life"]

_HARMLESS = frozenset({NORMAL.kind, IGNORED.kind})  # an exit signal of these ends nobody else


class Life(Mailbox):
    """States: starting (`starters` is there), running, ending (`ending` is there), ended (`actor` is gone)."""

    __slots__ = (
        "_name",
        "_reason",
        "ending",
        "handled",
        "kind",
        "parent",
        "past",
        "start_timeout",
        "started_at",
        "starters",
        "tasks",
        "ties",
        "timers",
        "trap_exits",
    )

    def __init__(
        self, system: "ActorSystem", actor: Actor, number: int, name: str | None, parent: "Process | None"
    ) -> None:
        super().__init__(system, actor)
        self.id = number
        self.kind = type(actor)
        self.parent = parent
        self.trap_exits = actor.traps_exits
        self.started_at = system.clock()
        self.handled = 0  # messages given to callbacks
        self.past: tuple[int, ExitReason] | None = None  # restarts of this child so far, and the last reason
        self.starters: list[Callable[[StartFailed | None], None]] | None = []  # None once init has succeeded
        self.ties: Ties | None = None
        self.timers: dict[str, NamedTimer] | None = None
        self.tasks: dict[OwnedTask, None] | None = None
        self.ending: Ending | None = None
        self._name = name
        self.start_timeout: float | None = None  # seconds that an async init has; set before it runs
        self._reason: ExitReason | None = None

    @property
    def name(self) -> str:
        return self._name or f"{self.kind.__name__}-{self.id}"

    @property
    def exit_reason(self) -> ExitReason | None:
        return self._reason

    @property
    def state(self) -> str:
        """In a word, for people: see `ActorNode`."""
        if self.ending is not None:
            return "ending"
        if self.starters is not None:
            return "starting"
        overseer = self.overseer
        if overseer is not None and overseer.paused is not None:
            return "suspended"
        if overseer is not None and overseer.hibernating:
            return "hibernating"
        return "running" if self.step is None else "waiting"

    # The start.

    async def wait_started(self) -> None:
        if self.starters is None:
            return
        if self.actor is None:
            raise self.start_failure()
        future: asyncio.Future[None] = self.system.loop.create_future()

        def started(failure: StartFailed | None) -> None:
            if future.done():
                return
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

        self.starters.append(started)
        await future

    def start_failure(self) -> StartFailed:
        """What its starter gets, when it has ended before it was started."""
        reason = self._reason
        assert reason is not None
        return StartIgnored(self.name) if reason == IGNORED else StartFailed(self.name, reason)

    def adopt(self, parent: "Process") -> None:
        """Be born as a child: linked, and ended by its parent's exit signal even if it traps."""
        link(self.as_process(), parent)

    # The end.

    def exit(self, reason: ExitReason, sender: Ref[Any] | None = None) -> None:
        check_reason(reason)
        found = sender.resolve() if sender is not None else None
        self.signal(reason, found.as_process() if isinstance(found, Life) else None)

    def kill(self) -> None:
        if self.actor is not None:
            self.system.call_soon(self._kill)

    def signal(self, reason: ExitReason, sender: "Process | None", *, from_parent: bool = False) -> None:
        """An exit signal arrives. `from_parent`: as if the parent had sent it; the system is every root's."""
        if self.actor is None or self.ending is not None:
            return
        if self.trap_exits:
            if from_parent or (sender is not None and sender is self.parent):
                self.post(STOP, reason, None)  # in its turn, after what was sent before
            else:
                self.post(EXIT, reason, sender)
        elif reason.kind not in _HARMLESS or sender is self:
            self.exit_with(reason)

    def exit_with(self, reason: ExitReason, during: str | None = None) -> None:
        self.system.call_soon(partial(self.end, reason, during=during))

    def end_if_told(self) -> None:
        """A suspended actor takes no message, but one that asks for its end counts (kernel)."""
        if self.actor is not None and self.ending is None:
            told = next((reason for kind, reason, _ in self.queue or () if kind == STOP), None)
            if told is not None:
                self.end(told, terminate=True)

    def crash(self, error: BaseException, kind: int, reply_to: "ReplyTo[Any] | None" = None) -> None:
        """A callback raised (kernel)."""
        if reply_to is not None:
            self.owe(reply_to)
        if kind == INIT and isinstance(error, Ignore):
            self.end(IGNORED)
            return
        reason = ExitReason.of(error)
        if self.overseer is not None:
            self.overseer.crashed(callback_name(kind), reason)
        self.end(reason, terminate=kind != INIT, during=callback_name(kind))

    def end(
        self,
        reason: ExitReason,
        *,
        terminate: bool = False,
        answer: "tuple[ReplyTo[Any], Any] | None" = None,
        during: str | None = None,
        refused: bool = False,
    ) -> None:
        """Begin to end (kernel). `during`: the callback whose fault it is, for the report."""
        if self.actor is None or self.ending is not None:
            return
        if terminate and during is None:
            during = "stop"
        step, self.step = self.step, None
        if self.overseer is not None:
            self.overseer.ended()
        self.ending = Ending(
            self.as_process(), reason, terminate=terminate, answer=answer, during=during, refused=refused
        )
        self.ending.begin(step if isinstance(step, asyncio.Task) else None)
        self.keep_deadlines()  # if it takes its time to end

    def ended(self, reason: ExitReason) -> "tuple[list[ReplyTo[Any]], Ties | None]":
        """Let go of everything (the last step of `Ending`); returns who has to hear of it."""
        waiting = [extra for kind, _, extra in self.queue or () if kind == CALL]
        owed = [*(self.owed or ()), *waiting]
        ties, self.ties = self.ties, None
        self._reason = reason
        self.actor = self.queue = self.owed = self.tasks = self.timers = self.ending = self.overseer = None
        return owed, ties

    def _kill(self) -> None:
        if self.ending is not None:
            self.ending.kill()
        else:
            self.end(KILLED)

    # What belongs to it.

    def as_process(self) -> "Process":
        """Itself: a life is only ever made as a `Process`."""
        return self  # type: ignore[return-value]  # the class below it, which builds on this one

    def oversee(self) -> Overseer:
        """Its overseer, made now if there is none."""
        if self.overseer is None:
            self.overseer = Overseer(self.as_process())
        return self.overseer

    def dismiss_overseer(self) -> None:
        """Take the quick way again, when nothing speaks against it."""
        if self.overseer is not None and not self.overseer.needed:
            self.overseer = None

    @property
    def between_callbacks(self) -> bool:
        """Whether its state may be looked at: it has started, no callback runs, and none goes on in a moment."""
        if self.actor is None or self.ending is not None or self.starters is not None:
            return False
        if self.step is not None:
            return self.overseer is not None and self.step is self.overseer.paused
        return not (self.queue and self.queue[0][0] == CONTINUE)

    def tied(self) -> Ties:
        """Its ties, made now if there are none."""
        if self.ties is None:
            self.ties = Ties()
        return self.ties

    def on_end(self, callback: Callable[[ExitReason], None]) -> None:
        ties = self.tied()
        if ties.on_end is None:
            ties.on_end = []
        ties.on_end.append(callback)

    def forget_on_end(self, callback: Callable[[ExitReason], None]) -> None:
        if self.ties is not None and self.ties.on_end is not None and callback in self.ties.on_end:
            self.ties.on_end.remove(callback)

    def owe(self, reply_to: "ReplyTo[Any]") -> None:
        """An answer was put off: who waits for it hears of the end, should that come first."""
        if self.owed is None:
            self.owed = set()
        reply_to.put_off(self.owed)

    def task_ended(self, task: "OwnedTask") -> None:
        """A task has ended."""
        if self.tasks is not None:
            self.tasks.pop(task, None)
