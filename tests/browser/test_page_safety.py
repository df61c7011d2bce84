"""Nothing that a model or a person writes can run, fetch or hide anything in the page."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Chat
from tests.browser.payloads import PAYLOADS

pytestmark = pytest.mark.browser
OpenChat = Callable[..., Chat]

QUIET = {"violations": [], "tags": [], "attributes": [], "links": [], "texts": []}


def test_hostile_words_streamed_token_by_token_run_and_fetch_nothing(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=echo").connected()

    for number, payload in enumerate(PAYLOADS):
        chat.page.locator("#composer-text").fill(payload)
        chat.page.locator("#composer-text").press("Enter")
        expect(chat.answers).to_have_count(number + 1)
        chat.phase("ended")
        expect(chat.last.locator(".trouble")).to_be_hidden()

    assert chat.watched() == QUIET
    assert len(chat.page.context.pages) == 1
    assert not [url for url in chat.requests if "canary" in url]
    chat.page.reload()
    expect(chat.questions.first).to_be_visible()
    assert chat.watched() == QUIET


def test_the_watcher_of_these_tests_sees_what_it_is_there_for(open_chat: OpenChat) -> None:
    chat = open_chat().connected()
    chat.page.evaluate(
        """() => {
          const root = document.getElementById('messages');
          const link = document.createElement('a');
          link.setAttribute('href', 'javascript:pwned()');
          link.setAttribute('onclick', 'pwned()');
          root.append(document.createElement('img'), link, 'a\\u202eb');
          link.remove();
        }"""
    )
    found = chat.watched()
    assert found["tags"] == ["IMG"]
    assert "A onclick" in found["attributes"]
    assert "javascript:pwned()" in found["links"]
    assert len(found["texts"]) == 1
    # What is refused here is refused by the policy, and that is seen too.
    chat.page.evaluate(
        "() => { document.body.append(Object.assign(document.createElement('script'), {text: 'pwned()'})); }"
    )
    chat.page.evaluate("() => { document.body.setAttribute('style', 'color: red'); }")
    violations = chat.watched()["violations"]
    chat.page.evaluate("() => { watched.violations.length = 0; }")
    refused = {violation.split()[0] for violation in violations}
    assert refused == {"script-src-attr", "script-src-elem", "style-src-attr"}


def test_links_go_out_without_a_trace_and_pictures_are_links(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=echo")
    chat.say(
        "[docs](https://a.example/x) ![plan](https://a.example/p.png) mail <me@a.example> https://a.example/(y)."
    )
    chat.phase("ended")

    links = chat.last.locator("a")
    expect(links).to_have_text(["docs", "[image: plan]", "me@a.example", "https://a.example/(y)"])
    for attribute, value in [("rel", "noopener noreferrer nofollow"), ("target", "_blank")]:
        for place in range(4):
            expect(links.nth(place)).to_have_attribute(attribute, value)
    expect(links.nth(2)).to_have_attribute("href", "mailto:me@a.example")
    expect(chat.last.locator("img")).to_have_count(0)


def test_a_growing_text_looks_like_the_same_text_at_once_wherever_it_is_cut(open_chat: OpenChat) -> None:
    """The incremental view against the plain one, on every payload and on a page of ordinary Markdown."""
    chat = open_chat().connected()
    ordinary = (
        "# Title\n\nA *b* **c** `d` ~~e~~.\nline\n\n1. one\n   ```py\n   x = 1\n\n   y\n   ```\n2. two\n   - a\n\n"
        "   - b\n\npara\n#tag\n- x\n1.5 is no item\n\n> quote\nlazy\n> > deep\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\nend\n"
        "\n---\n\n    code\n\n    more\n- [x] done\n- [ ] not\n\n***bold** it*\n~~~\nopen `fence"
    )
    differing = chat.page.evaluate(
        """async (texts) => {
          const { MarkdownView } = await import('./static/markdown_view.js');
          const root = document.getElementById('messages');
          const made = () => {
            const node = document.createElement('div');
            root.append(node);
            return node;
          };
          let seed = 1;
          const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
          const differing = [];
          for (const text of texts) {
            const whole = made();
            new MarkdownView(whole).update(text);
            for (let round = 0; round < 6; round += 1) {
              const growing = made();
              const view = new MarkdownView(growing);
              const step = round === 0 ? 1 : 1 + Math.floor(random() * 12);
              for (let at = step; at < text.length; at += step) view.update(text.slice(0, at), { streaming: true });
              view.update(text, { streaming: false });
              if (growing.innerHTML !== whole.innerHTML) differing.push(text);
              growing.remove();
            }
            whole.remove();
          }
          return differing;
        }""",
        [ordinary, *PAYLOADS],
    )
    assert differing == []
    assert chat.watched() == QUIET


MARKDOWN = [
    (
        "**bold** and *it* and ***both***",
        "<p><strong>bold</strong> and <em>it</em> and <strong><em>both</em></strong></p>",
    ),
    ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
    ("a\nb", "<p>a<br>b</p>"),
    ("`` a`b `` and `<b>`", "<p><code>a`b</code> and <code>&lt;b&gt;</code></p>"),
    ("~~gone~~ \\*kept\\*", "<p><del>gone</del> *kept*</p>"),
    ("**「強調」**です", "<p><strong>「強調」</strong>です</p>"),
    ("# One\n## Two", '<h3 class="level-1">One</h3><h4 class="level-2">Two</h4>'),
    ("- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
    ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    ("> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ("x&amp;y &lt; &#65; &nope;", "<p>x&amp;y &lt; A &amp;nope;</p>"),
    ("👩‍👩‍👧 ❤️ 1️⃣ می‌خواهم", "<p>👩‍👩‍👧 ❤️ 1️⃣ می‌خواهم</p>"),
    ("a **b", "<p>a **b</p>"),
    ("[x](https://a.example 'title') [y](nowhere)", None),
]


@pytest.mark.parametrize(("text", "html"), MARKDOWN, ids=[json.dumps(text)[:24] for text, _ in MARKDOWN])
def test_markdown_is_shown_as_people_expect_it(
    renderer: Callable[[str], str], text: str, html: str | None
) -> None:
    shown = renderer(text)
    if html is None:
        assert shown.count("<a ") == 1
        assert shown.endswith("x</a> y</p>")
    else:
        assert shown == html


@pytest.mark.parametrize(
    "text",
    [
        "*a" * 50_000,
        "[" * 50_000,
        "](a" * 50_000,
        "`" * 3 + "`a ``" * 20_000,
        "<" * 50_000,
        "[a](" + " " * 50_000,
        "> " * 50_000,
        "- " * 50_000,
        "a|b\n" * 20_000,
        "- a\n\n" * 20_000,
        "|-" * 50_000,
        "https://" + ")" * 50_000,
    ],
    ids=lambda text: json.dumps(text)[:12],
)
def test_no_text_of_100_kilobytes_takes_a_second_to_understand(
    timer: Callable[[str], float], text: str
) -> None:
    assert timer(text) < 1_000.0
