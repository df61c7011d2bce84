"""Where a chat is shown: what is said on one side, notices on the other, never in the middle of a line."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console

__all__ = ["PROMPT", "Screen", "visible"]

PROMPT = "you> "


def visible(text: str) -> str:
    """The text without control characters, so that a model can't steer the terminal. Lines and tabs stay."""
    return "".join(one for one in text if one in "\n\t" or (one >= " " and not "\x7f" <= one <= "\x9f"))


class Screen:
    """Shows a chat on a terminal, or on a pipe and its error output.

    Args:
        out: Gets what is said.
        notices: Gets everything else; on a terminal it writes to the same place.
        interactive: Whether a person sits before it, with a prompt to be kept whole.
    """

    def __init__(self, out: TextIO, notices: Console, *, interactive: bool) -> None:
        self._out = out
        self._notices = notices
        self.interactive = interactive
        self._in_line = False
        # Tells what was typed so far, while the prompt is up; None while it is not.
        self._typed: Callable[[], str] | None = None

    def text(self, text: str) -> None:
        """Show a piece of what is said, as it is; the line stays open."""
        if piece := visible(text):
            self._out.write(piece)
            self._out.flush()
            self._in_line = not piece.endswith("\n")

    def end_line(self) -> None:
        """Start a new line, unless we are at the start of one."""
        if self._in_line:
            self._out.write("\n")
            self._out.flush()
            self._in_line = False

    def note(self, text: str, style: str = "dim") -> None:
        """Show a line that nobody said."""
        self.end_line()
        with self._above_the_prompt():
            self._notices.print(visible(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def block(self, text: str) -> None:
        """Show something that was said in one piece, on lines of its own."""
        self.end_line()
        with self._above_the_prompt():
            self._out.write(visible(text).rstrip("\n") + "\n")
            self._out.flush()

    @property
    def is_prompting(self) -> bool:
        """Whether the prompt is up."""
        return self._typed is not None

    @contextlib.contextmanager
    def prompting(self, typed: Callable[[], str]) -> Iterator[None]:
        """While this is entered the prompt is up, and whatever is shown goes above it.

        Args:
            typed: Tells what was typed so far.
        """
        self._typed = typed
        try:
            yield
        finally:
            self._typed = None

    @contextlib.contextmanager
    def _above_the_prompt(self) -> Iterator[None]:
        if self._typed is None:
            yield
            return
        self._out.write("\r\x1b[K")
        self._out.flush()
        yield
        self._out.write(PROMPT + self._typed())
        self._out.flush()
