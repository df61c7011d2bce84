"""How an actor ends: terminate, its tasks, its answers, and then everybody who has to hear of it.

The order is OTP's: `terminate` runs while owned tasks still live; names are free before anybody hears; a
caller that was promised an answer gets it before monitors and links fire. Nothing here can hang: what
does not end when it is cancelled is left behind as a zombie, and said to be one.
"""

import asyncio
from collections.abc import Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from duologue.runtime.exits import KILLED, ExitReason
from duologue.runtime.links import Down
from duologue.runtime.reports import report_callback, report_crash
from duologue.runtime.tasks import Raised, settle, start_contained

if TYPE_CHECKING:
    from duologue.runtime.process import Process
    from duologue.runtime.requests import ReplyTo

__all__ = ["Ending"]


class Ending:
    """One actor's way out. It takes no time of its own when nothing in it waits."""

    __slots__ = ("_answer", "_during", "_killed", "_process", "_reason", "_refused", "_runner", "_terminate")

    def __init__(
        self,
        process: "Process",
        reason: ExitReason,
        *,
        terminate: bool,
        answer: "tuple[ReplyTo[Any], Any] | None",
        during: str | None,
        refused: bool,
    ) -> None:
        self._process = process
        self._reason = reason
        self._terminate = terminate
        self._answer = answer  # from Stop(reason, reply): sent after terminate
        self._refused = refused  # init said no in good order: peers that do not trap exits are spared
        self._during = during  # the callback whose fault it is; None: not its own
        self._killed: asyncio.Future[None] | None = None  # set when kill comes while terminate waits
        self._runner: asyncio.Task[None] | None = None  # held here, because the loop does not

    def begin(self, step: "asyncio.Task[Any] | None") -> None:
        """End now if nothing waits, else in a task. `step`: the async callback that is under way."""
        process = self._process
        for timer in tuple(process.timers.values()) if process.timers else ():
            timer.cancel()
        pending = self._call_terminate() if self._terminate else None
        if step is None and pending is None and not process.tasks:
            self._finish()
        else:
            self._killed = process.system.loop.create_future()
            loop = process.system.loop
            self._runner = asyncio.Task(self._run(step, pending), loop=loop, name=f"{process.name}/ending")

    def kill(self) -> None:
        """Wait for `terminate` no longer."""
        self._reason = KILLED
        self._during = None
        if self._killed is not None and not self._killed.done():
            self._killed.set_result(None)

    async def _run(
        self, step: "asyncio.Task[Any] | None", pending: "CoroutineType[Any, Any, Any] | None"
    ) -> None:
        process = self._process
        grace = process.system.kill_grace
        try:
            if step is not None:
                step.cancel()
                await settle(process, {step}, grace)
            if pending is not None:
                await self._wait_for_terminate(pending, grace)
            tasks = {owned.task for owned in process.tasks or ()}
            for task in tasks:
                task.cancel()
            await settle(process, tasks, grace)
        finally:  # also when the program is ending and cancels us
            self._finish()

    async def _wait_for_terminate(self, pending: "CoroutineType[Any, Any, Any]", grace: float) -> None:
        process = self._process
        task = start_contained(process, pending, "terminate", process.context)
        assert self._killed is not None
        await asyncio.wait((task, self._killed), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await settle(process, {task}, grace)
        elif task.cancelled():
            self._terminate_raised(asyncio.CancelledError())
        else:
            result = task.result()
            if result.__class__ is Raised:
                self._terminate_raised(result.error)

    def _call_terminate(self) -> "CoroutineType[Any, Any, Any] | None":
        actor = self._process.actor
        assert actor is not None
        system = self._process.system
        began = system.stopwatch()
        try:
            result = actor.terminate(self._reason)
        except BaseException as error:  # noqa: BLE001 - whatever terminate raises becomes the reason
            self._terminate_raised(error)
            return None
        held = system.stopwatch() - began
        if held > system.hold_limit:
            system.loop_held(self._process, "terminate", "terminate", held)
        return result if isinstance(result, CoroutineType) else None

    def _terminate_raised(self, error: BaseException) -> None:
        self._reason = ExitReason.of(error)
        self._during = "terminate"

    def _finish(self) -> None:
        process, reason = self._process, self._reason
        if process.actor is None:
            return
        self._report()
        owed, ties = process.ended(reason)
        for table, key in (ties.names if ties else None) or ():
            table.forget(key, process)
        process.system.forget(process)
        if self._answer is not None:
            reply_to, value = self._answer
            reply_to.reply(value)
        for debt in owed:
            debt.died(reason)
        starters, process.starters = process.starters, None if process.starters is None else []
        for started in starters or ():
            started(process.start_failure())
        if ties is not None:
            self._tell(ties)

    def _tell(self, ties: Any) -> None:
        process, reason = self._process, self._reason
        for mark, target in (ties.watching or {}).items():
            if target.ties is not None and target.ties.watchers is not None:
                target.ties.watchers.pop(mark, None)
        for mark, watcher in (ties.watchers or {}).items():
            if watcher.ties is not None and watcher.ties.watching is not None:
                watcher.ties.watching.pop(mark, None)
            watcher.post_info(Down(mark, process, reason), mark)
        for peer in ties.links:
            if peer.ties is not None:
                peer.ties.links.pop(process, None)
            if peer.trap_exits or not self._refused:
                peer.signal(reason, process)
        for callback in ties.on_end or ():
            callback(reason)

    def _report(self) -> None:
        """Say once that it crashed, if that was its own doing."""
        process, reason = self._process, self._reason
        if self._during is None or reason.clean:
            return
        report_crash(process.name, reason, self._during, self._described())
        process.system.actor_crashed(process, reason)

    def _described(self) -> Mapping[str, object]:
        actor = self._process.actor
        assert actor is not None
        try:
            return dict(actor.describe())
        except BaseException as error:  # noqa: BLE001 - the report must come out
            report_callback(self._process.name, "describe", error)
            return {}
