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

    Sockets and pipes work, but the clock does not wait for them: with a timer pending, only what is ready at
    once is seen. Threads are not waited for at all.
    """

    def __init__(self) -> None:
        self._now = 0.0
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
            if len(self.get_map()) > 1:  # more than the loop's own wake-up pipe: a file may still speak
                return super().select(None)
            raise NothingToWaitFor("every task waits, and no timer is left that could wake one")
        self._loop.jump(timeout)
        return ready
