"""The answer that is on the screen: its text as far as it is known, and how much of it was shown."""

from duologue.chat.screen import Screen

__all__ = ["Answer"]


class Answer:
    """One turn's answer while it comes.

    Args:
        turn: Whose answer.
        screen: Where it goes. Under a prompt a stream would tear the line that is being typed, so there it
            is held back and shown whole when it ends.
    """

    def __init__(self, turn: str, screen: Screen) -> None:
        self.turn = turn
        self._screen = screen
        self._text = ""
        self._shown = 0

    def extend(self, text: str) -> None:
        """More of it came."""
        self._text += text
        self._show()

    def withdraw(self) -> None:
        """What came so far does not count."""
        self._text = ""
        self._shown = 0

    def replace(self, text: str) -> None:
        """The whole of it so far is this, whatever we have shown."""
        if not text.startswith(self._text):
            self.withdraw()
            self._screen.note("the answer so far:", "yellow")
        self.extend(text[len(self._text) :])

    def end(self) -> None:
        """No more will come."""
        if self._screen.is_prompting and self._shown < len(self._text):
            self._screen.block(self._text[self._shown :])
        self._screen.end_line()

    def _show(self) -> None:
        if not self._screen.is_prompting:
            self._screen.text(self._text[self._shown :])
            self._shown = len(self._text)
