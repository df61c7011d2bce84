"""What the page shows, keeps and sends again while its server is away."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Chat
from tests.browser.servers import Server, running

pytestmark = pytest.mark.browser
OpenChat = Callable[..., Chat]

# The bundled store: what is acknowledged has to outlive the process.
CONFIG = """
[models.slow]
provider = "scripted"
parameters = { text = "word ", repeat = 30, interval = 0.04 }
[services.standard]
primary = "slow"
[features.student_dialogue]
service = "standard"
"""


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, CONFIG) as found:
        yield found


def test_after_kill_9_in_the_middle_of_an_answer_everything_acknowledged_is_there(
    open_chat: OpenChat, lasting: Server
) -> None:
    chat = open_chat(at=lasting)
    chat.say("The first question")
    chat.phase("ended")
    chat.say("The second question")
    expect(chat.answers).to_have_count(2)
    chat.streaming()

    lasting.kill()

    banner = chat.page.locator("#banner")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("The connection was lost.")
    expect(banner).to_contain_text(re.compile(r"Trying again(…| in \d+ s\.)"))
    lasting.start()
    chat.network_is_back()
    expect(banner).to_be_hidden()

    # Nobody asked for it: the server takes the interrupted answer up again, and the page shows it.
    chat.phase("ended")
    whole = ("word " * 30).strip()
    assert chat.text_of_last() == whole
    chat.page.reload()
    chat.phase("ended")
    expect(chat.questions).to_have_text(["The first question", "The second question"])
    expect(chat.answers.locator(".markdown")).to_have_text([whole, whole])


def test_a_message_written_while_the_server_is_away_is_sent_once_when_it_is_back(
    open_chat: OpenChat, lasting: Server
) -> None:
    chat = open_chat(at=lasting).connected()
    lasting.stop()
    expect(chat.page.locator("#banner")).to_be_visible()

    chat.say("Written in the dark")
    expect(chat.page.locator(".message.user")).to_contain_text("Sending…")
    lasting.start()
    chat.network_is_back()

    chat.phase("ended")
    expect(chat.questions).to_have_text(["Written in the dark"])
    chat.page.reload()
    expect(chat.answers).to_have_count(1)
    expect(chat.questions).to_have_text(["Written in the dark"])


def test_a_message_whose_answer_got_lost_is_not_doubled(open_chat: OpenChat) -> None:
    chat = open_chat("#new")
    # The server takes the message, but its answer never arrives: the page can't know and sends it again.
    lost: list[str] = []

    def swallow(route: object) -> None:
        server = route.connect_to_server()  # type: ignore[attr-defined]

        def from_server(message: str) -> None:
            if not lost and '"message_id"' in message and '"re"' in message:
                lost.append(message)
                route.close(code=4001, reason="lost")  # type: ignore[attr-defined]
                return
            route.send(message)  # type: ignore[attr-defined]

        server.on_message(from_server)

    chat.page.route_web_socket(re.compile("/v1/socket"), swallow)
    chat.page.reload()
    chat.connected().say("Only once")

    chat.phase("ended")
    assert len(lost) == 1
    expect(chat.questions).to_have_text(["Only once"])
    chat.page.reload()
    chat.phase("ended")
    expect(chat.questions).to_have_text(["Only once"])


def test_a_close_code_that_forbids_coming_back_is_obeyed(open_chat: OpenChat) -> None:
    chat = open_chat("#new")
    opened: list[object] = []

    def refuse(route: object) -> None:
        opened.append(route)
        route.close(code=4508, reason="too many connections")  # type: ignore[attr-defined]

    chat.page.route_web_socket(re.compile("/v1/socket"), refuse)
    chat.page.reload()

    expect(chat.page.locator("#banner")).to_contain_text("too many connections from here")
    assert len(opened) == 1
    chat.press("Connect again")
    expect(chat.page.locator("#banner")).to_contain_text("too many connections from here")
    assert len(opened) == 2


def test_a_hole_in_the_numbers_is_noticed_and_filled_by_a_snapshot(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=narrations#new")
    dropped: list[str] = []
    attached: list[str] = []

    def lossy(route: object) -> None:
        server = route.connect_to_server()  # type: ignore[attr-defined]

        def from_page(message: str) -> None:
            if '"op":"attach"' in message:
                attached.append(message)
            server.send(message)

        def from_server(message: str) -> None:
            if not dropped and '"turn.delta"' in message and '"offset":0' not in message:
                dropped.append(message)
            else:
                route.send(message)  # type: ignore[attr-defined]

        route.on_message(from_page)  # type: ignore[attr-defined]
        server.on_message(from_server)

    chat.page.route_web_socket(re.compile("/v1/socket"), lossy)
    chat.page.reload()
    chat.connected().say("Count")

    chat.phase("ended")
    assert chat.text_of_last() == "one two three four five six seven eight nine ten"
    assert len(dropped) == 1
    assert len(attached) == 2
    assert '"after"' not in attached[1]
