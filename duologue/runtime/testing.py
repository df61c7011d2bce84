"""A loop for tests in which time costs nothing.

Whenever all that is left is to wait for a timer, the clock jumps to it. Code under test uses the loop's clock
and timers as ever; nothing is patched.
"""

import asyncio
import selectors
from typing import Any

__all__ = ["VirtualTimeLoop", "NothingToWaitFor"]


class NothingToWaitFor(RuntimeError):
    """Everything waits, and there is neither a timer nor a file that could end that: a deadlock, found."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer when there is nothing to run.

    Sockets, pipes and threads work, but the clock does not wait for them: with a timer pending, only what is
    ready at once is seen.

    Args:
        patience: Real seconds that a thread has to wake the loop when there is no timer and no file, before
            `NothingToWaitFor` is raised out of the loop's run.
    """

    def __init__(self, *, patience: float = 1.0) -> None:
        self._now = 0.0
        self.patience = patience
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds since the loop was made, by its own clock."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let `seconds` pass at once, as a handler that holds the loop would; overdue timers run next."""
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):  # the best of the platform
    """Passes the time that it should wait to the loop's clock, and waits only for what is no timer."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            only_wake_up = len(self.get_map()) <= 1  # the loop's own pipe: only a thread could speak
            ready = super().select(self._loop.patience if only_wake_up else None)
            if not ready:
                raise NothingToWaitFor("every task waits, and no timer is left that could wake one")
            return ready
        self._loop.jump(timeout)
        return ready
