import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from duologue.chat.answer import Answer
from duologue.chat.screen import PROMPT, Screen, visible


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def screen(out):
    return Screen(out, Console(file=out, width=80), interactive=True)


@given(st.text())
def test_nothing_that_steers_a_terminal_is_shown(text):
    assert not set(visible(text)) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}


def test_lines_tabs_and_every_letter_are_shown_as_they_are():
    assert visible("a\tb\nÄ 🎓 [bold]") == "a\tb\nÄ 🎓 [bold]"
    assert visible("\x1b[31mred\x1b]0;title\x07\x9b2J\r") == "[31mred]0;title2J"


def test_a_notice_starts_a_line_of_its_own(screen, out):
    screen.text("half a sen")
    screen.note("[bold]restarted[/bold]")
    screen.text("tence\n")
    screen.note("done")
    assert out.getvalue() == "half a sen\n[bold]restarted[/bold]\ntence\ndone\n"


def test_what_happens_under_a_prompt_is_shown_above_it_and_keeps_what_was_typed(screen, out):
    with screen.prompting(lambda: "half a que"):
        screen.note("connected again")
    assert out.getvalue() == f"\r\x1b[Kconnected again\n{PROMPT}half a que"


def test_an_answer_is_held_back_under_a_prompt_and_shown_when_it_ends(screen, out):
    answer = Answer("t1", screen)
    with screen.prompting(str):
        answer.extend("Hel")
        answer.extend("lo")
        assert out.getvalue() == ""
        answer.end()
    assert out.getvalue() == f"\r\x1b[KHello\n{PROMPT}"


def test_an_answer_goes_on_streaming_when_the_prompt_is_gone(screen, out):
    answer = Answer("t1", screen)
    with screen.prompting(str):
        answer.extend("Hel")
    answer.extend("lo")
    answer.end()
    assert out.getvalue() == "Hello\n"


def test_only_what_is_new_of_a_replaced_answer_is_shown(screen, out):
    answer = Answer("t1", screen)
    answer.extend("Hel")
    answer.replace("Hello")
    assert out.getvalue() == "Hello"
    answer.replace("Bye")
    assert out.getvalue() == "Hello\nthe answer so far:\nBye"
