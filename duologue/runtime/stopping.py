"""How a supervisor ends its children: asked first, killed when their time is over, never waited for in vain."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from duologue.runtime.children import INFINITY, Shutdown
from duologue.runtime.exits import SHUTDOWN, ExitReason
from duologue.runtime.process import Process
from duologue.runtime.reports import report_child

__all__ = ["stop_children"]

_EXPECTED: Final = frozenset({"shutdown", "normal"})


async def stop_children(parent: Process, children: Mapping[Process, float | Shutdown]) -> None:
    """End children all at once and wait until all have ended.

    Children that get the same number of seconds share one timer. A child that ends by itself meanwhile, for
    another reason, is reported and otherwise as good. The wait always ends: a killed actor does within
    the system's grace.

    Args:
        parent: Whose children they are.
        children: Each with the seconds that it has, or `BRUTAL_KILL`.
    """
    alive = {child: patience for child, patience in children.items() if child.alive}
    if not alive:
        return
    all_gone: asyncio.Future[None] = parent.system.loop.create_future()
    timers = _ask(parent, alive)

    def watch(child: Process) -> Callable[[ExitReason], None]:
        def gone(reason: ExitReason) -> None:
            patience = alive.pop(child)
            if reason.kind not in _EXPECTED and patience is not Shutdown.BRUTAL_KILL:
                report_child(parent.name, child.name, reason, "ended during shutdown")
            if not alive and not all_gone.done():
                all_gone.set_result(None)

        return gone

    for child in alive:
        child.on_end(watch(child))
    try:
        await all_gone
    finally:
        for timer in timers:
            timer.cancel()


def _ask(parent: Process, alive: dict[Process, float | Shutdown]) -> list[asyncio.TimerHandle]:
    """Send each child its signal; returns the timers that will kill those that take too long."""

    def kill_late(patience: float) -> None:
        for child, its_patience in alive.items():
            if its_patience == patience:
                child.kill()

    for child, patience in alive.items():
        if isinstance(patience, Shutdown):
            child.kill()
        else:
            child.signal(SHUTDOWN, parent, from_parent=True)
    finite = {
        patience for patience in alive.values() if not isinstance(patience, Shutdown) and patience != INFINITY
    }
    return [parent.system.loop.call_later(patience, kill_late, patience) for patience in finite]
