"""`duologue chat` on a terminal of its own, with a person's keys."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from tests.serve_process import COMMAND, ServeProcess, environment

CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServeProcess(tmp_path_factory.mktemp("server")) as running:
        yield running


class Terminal:
    """A pseudo-terminal with a program on it."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave

        def take_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*COMMAND, "chat", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm"),
            preexec_fn=take_the_terminal,  # noqa: PLW1509 - no other thread runs here
        )
        self.text = ""

    def read(self, timeout: float) -> bool:
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.master, 65_536)
        except OSError:  # the program has gone
            return False
        self.text += data.decode(errors="replace")
        return True

    def until(self, pattern: str, timeout: float = 30.0) -> str:
        """Wait for the text, forget all up to its end, and return what was before it."""
        deadline = time.monotonic() + timeout
        while (found := re.search(pattern, self.text)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text!r}"
            self.read(0.1)
        before, self.text = self.text[: found.start()], self.text[found.end() :]
        return before

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self, timeout: float = 20.0) -> int:
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.read(0.05)
        while self.read(0.05):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    @property
    def is_as_it_was(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before


@pytest.fixture
def terminal(server):
    opened: list[Terminal] = []

    def open_one(*arguments: str) -> Terminal:
        opened.append(Terminal("--url", server.url, *arguments))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_a_question_is_asked_at_the_prompt_and_answered_below_it(terminal):
    one = terminal()
    one.until("you> ")
    one.type("What is a monad?\r")
    one.until("quick · primary")
    one.until(r"One two three four\.")
    one.until("you> ")
    one.type(CTRL_D)
    assert one.ended() == 0
    assert "duologue chat --dialogue" in one.text
    assert one.is_as_it_was


def test_the_line_can_be_edited_before_it_is_sent(terminal, server):
    one = terminal("--dialogue", "edited")
    one.until("you> ")
    one.type("ac\x1b[Db\r")  # left, then the letter in between
    one.until(r"four\.")
    one.until("you> ")
    one.type(CTRL_D)
    one.ended()
    two = terminal("--dialogue", "edited")
    two.until("you> abc\r")
    two.until("you> ")
    two.type(CTRL_D)
    assert two.ended() == 0


def test_ctrl_c_stops_the_answer_and_the_talk_goes_on(terminal):
    one = terminal("--feature", "long")
    one.until("you> ")
    one.type("Go on\r")
    one.until("so it goes on so it goes on")
    one.type(CTRL_C)
    one.until("stopped")
    one.until("you> ")
    one.type("More\r")
    one.until("slow · primary")
    one.type(CTRL_C)
    one.until("you> ")
    one.type(CTRL_C)
    assert one.ended() == 0
    assert one.is_as_it_was


def test_a_second_ctrl_c_leaves(terminal):
    one = terminal("--feature", "long")
    one.until("you> ")
    one.type("Go on\r")
    one.until("so it goes on")
    one.type(CTRL_C)
    one.until("Ctrl-C again leaves")  # two at once may be one signal
    one.type(CTRL_C)
    assert one.ended() == 0
    assert one.is_as_it_was
    assert "Traceback" not in one.text


def test_ctrl_c_at_the_prompt_leaves_and_gives_the_terminal_back(terminal):
    one = terminal()
    one.until("you> ")
    one.type("half a line")
    one.until("half a line")
    one.type(CTRL_C)
    assert one.ended() == 0
    assert one.is_as_it_was
    assert "Traceback" not in one.text


def test_history_is_there_when_one_comes_back(terminal):
    one = terminal("--dialogue", "kept")
    one.until("you> ")
    one.type("remember me\r")
    one.until(r"four\.")
    one.until("you> ")
    one.type(CTRL_D)
    one.ended()
    two = terminal("--dialogue", "kept")
    two.until("you> remember me")
    two.until(r"One two three four\.")
    two.until("you> ")
    two.type(CTRL_D)
    assert two.ended() == 0


def test_what_somebody_else_says_is_shown_above_the_line_that_is_typed(terminal):
    one, two = terminal("--dialogue", "shared"), None
    one.until("you> ")
    one.type("half a li")
    one.until("half a li")
    two = terminal("--dialogue", "shared")
    two.until("you> ")
    two.type("from the other one\r")
    one.until("somebody> from the other one")
    one.until(r"One two three four\.")
    one.until("you> half a li")
    one.type("ne\r")
    one.until(r"One two three four\.")
    two.until("somebody> half a line")
    for terminal_ in (one, two):
        terminal_.until("you> ")
        terminal_.type(CTRL_D)
        assert terminal_.ended() == 0


def test_a_server_that_is_killed_is_waited_for_and_the_talk_goes_on(tmp_path):
    with ServeProcess(tmp_path) as server:
        one = Terminal("--url", server.url)
        try:
            one.until("you> ")
            server.kill()
            one.until("connection lost")
            server.start()
            one.until("connected again")
            one.type("Still there?\r")
            one.until(r"One two three four\.")
            one.until("you> ")
            one.type(CTRL_D)
            assert one.ended() == 0
        finally:
            one.close()
