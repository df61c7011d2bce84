"""A real Chromium, and what a test says about a page."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect, sync_playwright

from tests.browser.servers import Parrot, Server, parroting, running

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

CONFIG = """
[store]
url = "memory:"

[models.storyteller]
provider = "scripted"
parameters = {{ text = "word ", repeat = 2000, interval = 0.02 }}
[models.greeter]
provider = "scripted"
parameters = {{ text = "Hello **there**, friend.", interval = 0.01 }}
[models.narrator]
provider = "scripted"
parameters = {{ text = "one *two* three four five six seven eight nine ten", interval = 0.05 }}
[models.breaking]
provider = "scripted"
parameters = {{ text = "Wrong words that are taken back. ", repeat = 4, interval = 0.05, fault = "die", at = 20 }}
[models.refusing]
provider = "scripted"
parameters = {{ fault = "server_error" }}
[models.steady]
provider = "scripted"
parameters = {{ text = "The backup's answer.", interval = 0.05 }}
[models.parrot]
provider = "openai_compatible"
model = "parrot"
url = "{parrot}"

[services.stories]
primary = "storyteller"
[services.greetings]
primary = "greeter"
[services.narrations]
primary = "narrator"
[services.failing_over]
primary = "breaking"
backup = "steady"
[services.cut]
primary = "breaking"
[services.broken]
primary = "refusing"
[services.echo]
primary = "parrot"

[features.student_dialogue]
service = "greetings"
[features.stories]
service = "stories"
[features.narrations]
service = "narrations"
[features.failing_over]
service = "failing_over"
[features.cut]
service = "cut"
[features.broken]
service = "broken"
[features.echo]
service = "echo"
"""


def _find_browser() -> str | None:
    return next((found for name in SYSTEM_BROWSERS if (found := shutil.which(name))), None)


# The synchronous API keeps an event loop of its own in this thread for as long as it is open, so it must be
# closed before tests that have loops run: no wider scope than a module.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    required = os.environ.get("DUOLOGUE_REQUIRE_BROWSER") == "1"
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=_find_browser(), args=FLAGS)
        except Error as error:
            if required:
                raise
            pytest.skip(f"no Chromium can be started: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with parroting() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, parrot: Parrot, chromium: Browser) -> Iterator[Server]:
    del chromium  # without one there is no need for a server
    with running(tmp_path_factory.mktemp("server"), CONFIG.format(parrot=parrot.url)) as found:
        yield found


WATCHER = Path(__file__).with_name("watcher.js").read_text()


class Chat:
    """One tab with the page in it, in the words of someone who uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda opened: self.requests.append(opened.url))
        page.on("dialog", self._on_dialog)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(WATCHER)

    def _on_dialog(self, dialog: object) -> None:
        self.dialogs.append(repr(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    def open(self, path: str = "") -> "Chat":
        self.page.goto(self.url + path)
        return self

    def connected(self) -> "Chat":
        expect(self.page.locator("#link-state")).to_have_attribute("data-state", "open")
        return self

    def say(self, text: str) -> None:
        self.page.locator("#composer-text").fill(text)
        self.page.locator("#composer-text").press("Enter")

    @property
    def questions(self) -> Locator:
        return self.page.locator(".message.user .bubble")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message.answer")

    @property
    def last(self) -> Locator:
        return self.answers.last

    def phase(self, name: str) -> None:
        expect(self.last).to_have_attribute("data-phase", name)

    def streaming(self) -> None:
        """Wait until words of an answer are there and more are to come."""
        self.phase("streaming")
        expect(self.last.locator(".markdown")).not_to_be_empty()

    def press(self, name: str, *, within: Locator | None = None) -> None:
        (within or self.page.locator("body")).get_by_role("button", name=name, exact=True).click()

    def network_is_back(self) -> None:
        """What a browser tells its pages then; without it the page would connect again in its own time."""
        self.page.evaluate("() => { dispatchEvent(new Event('online')); }")

    def text_of_last(self) -> str:
        return self.last.locator(".markdown").inner_text()

    def watched(self) -> dict[str, list[str]]:
        """What the watcher has written down: see watcher.js."""
        found: dict[str, list[str]] = self.page.evaluate("() => globalThis.watched")
        return found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1200, "height": 800})
    yield made
    made.close()


@pytest.fixture
def open_chat(chromium: Browser, context: BrowserContext, server: Server) -> Iterator[Callable[..., Chat]]:
    """Open a tab: `open_chat(path)`; with `stranger=True` in a browser of somebody else's.

    Afterwards no tab may have run into an error, a dialog, a violation of the policy or a foreign request.
    """
    chats: list[Chat] = []
    strangers: list[BrowserContext] = []

    def make(path: str = "", *, stranger: bool = False, at: Server | None = None) -> Chat:
        mine = context
        if stranger:
            mine = chromium.new_context()
            strangers.append(mine)
        chat = Chat(mine.new_page(), (at or server).url)
        chats.append(chat)
        return chat.open(path)

    yield make
    for chat in chats:
        assert chat.errors == []
        assert chat.dialogs == []
        assert chat.watched()["violations"] == []
        own = re.compile(re.escape(chat.url).replace("http", "(?:http|ws)", 1))
        assert [url for url in chat.requests if not own.match(url)] == []
    for made in strangers:
        made.close()


def _module_page(chromium: Browser, server: Server) -> Page:
    page = chromium.new_page()
    page.goto(server.url)
    return page


@pytest.fixture(scope="module")
def renderer(chromium: Browser, server: Server) -> Iterator[Callable[[str], str]]:
    """A text's Markdown as the HTML of the nodes that the page would show."""
    page = _module_page(chromium, server)
    script = """async (text) => {
      const { MarkdownView } = await import('./static/markdown_view.js');
      const root = document.createElement('div');
      new MarkdownView(root).update(text);
      return root.innerHTML;
    }"""
    yield lambda text: str(page.evaluate(script, text))
    page.close()


@pytest.fixture(scope="module")
def timer(chromium: Browser, server: Server) -> Iterator[Callable[[str], float]]:
    """Milliseconds that it takes to parse a text and all its paragraphs."""
    page = _module_page(chromium, server)
    script = """async (text) => {
      const { parseBlocks } = await import('./static/markdown.js');
      const { parseInline } = await import('./static/markdown_inline.js');
      const start = performance.now();
      parseBlocks(text.split('\\n'));
      parseInline(text);
      return performance.now() - start;
    }"""
    yield lambda text: float(page.evaluate(script, text))
    page.close()
