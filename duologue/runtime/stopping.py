"""How a supervisor ends its children: asked first, killed when their time is over, never waited for in vain."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from duologue.runtime.children import INFINITY, Shutdown
from duologue.runtime.exits import SHUTDOWN, ExitReason
from duologue.runtime.process import Process
from duologue.runtime.reports import report_child

__all__ = ["stop_children"]

_EXPECTED: Final = frozenset({"shutdown", "normal"})
_AT_ONCE: Final = 256  # children that are asked in one turn of the loop


async def stop_children(parent: Process, children: Mapping[Process, float | Shutdown]) -> None:
    """End children all at once and wait until all have ended.

    Children that get the same number of seconds share one timer. A child that ends by itself meanwhile, for
    another reason, is reported and otherwise as good. The wait always ends: a killed actor does within
    the system's grace.

    Args:
        parent: Whose children they are.
        children: Each with the seconds that it has, or `BRUTAL_KILL`.
    """
    stopping = _Stopping(parent, children)
    try:
        for number, (child, patience) in enumerate(children.items(), 1):
            stopping.ask(child, patience)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # many thousands of children must not hold the loop
        await stopping.all_gone()
    finally:
        stopping.close()


class _Stopping:
    """The children that have not ended yet, and the timers that will kill those that take too long."""

    def __init__(self, parent: Process, children: Mapping[Process, float | Shutdown]) -> None:
        self._parent = parent
        self._left = dict(children)
        self._timers: dict[float, asyncio.TimerHandle] = {}  # one for all children of the same patience
        self._done: asyncio.Future[None] = parent.system.loop.create_future()

    def ask(self, child: Process, patience: float | Shutdown) -> None:
        """Have a child end."""
        if child.exit_reason is not None:
            self._gone(child, child.exit_reason)
            return
        child.on_end(partial(self._gone, child))
        if isinstance(patience, Shutdown):
            child.kill()
            return
        child.signal(SHUTDOWN, self._parent, from_parent=True)
        if patience != INFINITY and patience not in self._timers:
            self._timers[patience] = self._parent.system.loop.call_later(patience, self._kill_late, patience)

    async def all_gone(self) -> None:
        """Wait until none is left."""
        if self._left:
            await self._done

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _gone(self, child: Process, reason: ExitReason) -> None:
        patience = self._left.pop(child)
        if reason.kind not in _EXPECTED and patience is not Shutdown.BRUTAL_KILL:
            report_child(self._parent.name, child.name, reason, "ended during shutdown")
        if not self._left and not self._done.done():
            self._done.set_result(None)

    def _kill_late(self, patience: float) -> None:
        for child, its_patience in self._left.items():
            if its_patience == patience:
                child.kill()
