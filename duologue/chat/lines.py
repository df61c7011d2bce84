"""Lines of input for a loop. A thread reads each, and may be left behind: nothing interrupts a read."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable

from duologue.chat.screen import PROMPT, Screen

__all__ = ["Lines", "TerminalLines", "PipeLines"]


class Lines:
    """Lines of input.

    Args:
        read: Returns the next line without its end, `None` at the end of input. Called in a thread.
    """

    def __init__(self, read: Callable[[], str | None]) -> None:
        self._read = read

    async def next(self) -> str | None:
        """The next line; `None`: there are no more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | None] = loop.create_future()

        def settle(line: str | None) -> None:
            if not future.done():
                future.set_result(line)

        def run() -> None:
            line = self._read()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, line)

        threading.Thread(target=run, name="duologue-chat-input", daemon=True).start()
        return await future


class TerminalLines(Lines):
    """Lines that a person types, with the editing and recall of the platform's readline, where it has one.

    Args:
        screen: Told while the prompt is up.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__(_ask)
        self._screen = screen
        self._typed: Callable[[], str] = str  # nothing
        with contextlib.suppress(ImportError):
            import readline  # noqa: PLC0415 - importing it is what makes input() editable

            self._typed = readline.get_line_buffer

    async def next(self) -> str | None:
        with self._screen.prompting(self._typed):
            return await super().next()


def _ask() -> str | None:
    try:
        return input(PROMPT)
    except EOFError:
        return None


class PipeLines(Lines):
    """Lines of a pipe or file, as UTF-8 with replacement characters for what is not.

    Read from the descriptor itself: a thread left waiting inside `sys.stdin` would hold its lock at exit.

    Args:
        descriptor: An open file descriptor; not closed here.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(self._read_line)
        self._descriptor = descriptor
        self._rest = b""
        self._at_end = False

    def _read_line(self) -> str | None:
        while b"\n" not in self._rest and not self._at_end:
            data = os.read(self._descriptor, 65_536)
            self._at_end = not data
            self._rest += data
        if not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", errors="replace").rstrip("\r")
