"""The page as someone uses it, in a real Chromium against a real server."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Chat
from tests.browser.servers import Server, running, wait_until

pytestmark = pytest.mark.browser
OpenChat = Callable[..., Chat]


def test_a_typed_message_is_answered_word_by_word_until_it_is_complete(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=narrations")
    expect(chat.page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    chat.page.evaluate(
        """() => {
          globalThis.grown = [];
          new MutationObserver(() => {
            const text = document.querySelector('.answer .markdown')?.textContent ?? '';
            if (text !== grown.at(-1)) grown.push(text);
          }).observe(document.getElementById('messages'), { subtree: true, childList: true, characterData: true });
        }"""
    )

    chat.say("Count")

    chat.phase("ended")
    whole = "one two three four five six seven eight nine ten"
    assert chat.text_of_last() == whole
    grown = [text for text in chat.page.evaluate("() => grown") if text]
    assert len(grown) > 2
    assert all(whole.startswith(text.rstrip("* ").replace("*", "")) for text in grown)
    expect(chat.last.locator("em")).to_have_text("two")
    expect(chat.last.locator(".meta")).to_contain_text("narrator (primary)")
    expect(chat.questions).to_have_text(["Count"])
    expect(chat.page).to_have_url(re.compile(r"#d/[A-Za-z0-9._~-]+$"))


def test_shift_enter_begins_a_line_and_enter_sends_both(open_chat: OpenChat) -> None:
    chat = open_chat()
    box = chat.page.locator("#composer-text")
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    expect(chat.questions).to_have_count(0)

    box.press("Enter")

    expect(chat.questions).to_have_text("one\ntwo", use_inner_text=True)
    expect(box).to_have_value("")


def test_an_empty_message_and_one_over_the_limit_are_not_sent(open_chat: OpenChat) -> None:
    chat = open_chat().connected()
    chat.say("  \n ")
    chat.page.locator("#composer-text").fill("é" * 16_385)

    expect(chat.page.locator("#send")).to_be_disabled()
    expect(chat.page.locator("#composer-hint")).to_have_text("Too long: 33 of 32 KiB.")
    expect(chat.questions).to_have_count(0)


@pytest.mark.parametrize("way", ["button", "escape"])
def test_stopping_keeps_what_was_said_and_offers_another_try(open_chat: OpenChat, way: str) -> None:
    chat = open_chat("?feature=stories")
    chat.say("Tell me a story")
    chat.streaming()

    if way == "button":
        chat.press("Stop the answer")
    else:
        chat.page.keyboard.press("Escape")

    chat.phase("ended")
    kept = chat.text_of_last()
    assert kept.startswith("word word")
    expect(chat.last).to_contain_text("Stopped.")

    chat.page.reload()
    chat.phase("ended")
    assert chat.text_of_last() == kept

    chat.press("Try again", within=chat.last)
    chat.streaming()
    expect(chat.answers).to_have_count(1)
    chat.press("Stop the answer")


def test_a_reload_shows_the_history_and_the_bare_address_the_last_dialogue(open_chat: OpenChat) -> None:
    chat = open_chat()
    chat.say("Remember this")
    chat.phase("ended")
    address = chat.page.url

    chat.page.reload()
    expect(chat.questions).to_have_text(["Remember this"])
    assert chat.text_of_last() == "Hello there, friend."

    chat.page.goto("about:blank")
    chat.open()
    expect(chat.questions).to_have_text(["Remember this"])
    assert chat.page.url == address


def test_a_reload_in_the_middle_goes_on_with_the_same_answer(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=stories")
    chat.say("Tell me a story")
    chat.streaming()
    before = len(chat.text_of_last())

    chat.page.reload()

    chat.streaming()
    assert len(chat.text_of_last()) >= before
    chat.press("Stop the answer")
    chat.phase("ended")


def test_two_tabs_stream_the_same_answer(open_chat: OpenChat) -> None:
    first = open_chat("?feature=stories")
    first.say("Tell me a story")
    first.streaming()

    second = open_chat()
    second.streaming()
    second.press("Stop the answer")

    first.phase("ended")
    second.phase("ended")
    assert first.text_of_last() == second.text_of_last() != ""

    second.say("Another one")
    expect(first.questions).to_have_text(["Tell me a story", "Another one"])
    first.streaming()
    first.press("Stop the answer")
    second.phase("ended")


def test_the_list_shows_a_dialogue_of_someone_else_and_watches_it_as_it_is_written(
    open_chat: OpenChat,
) -> None:
    other = open_chat("?feature=stories", stranger=True)
    other.say("A question of someone else")
    other.streaming()

    chat = open_chat("#new")
    row = chat.page.locator("#live .row", has_text="A question of someone else")
    expect(row.locator(".dot")).to_have_attribute("data-state", "generating")
    expect(row).to_contain_text("1 viewer")
    row.click()

    chat.streaming()
    expect(chat.page.locator("#watch-bar")).to_be_visible()
    expect(chat.page.locator("#composer")).to_be_hidden()
    expect(row).to_have_attribute("aria-current", "true")
    expect(row).to_contain_text("2 viewers")
    chat.page.keyboard.press("Escape")  # a watcher stops nobody's answer
    other.phase("streaming")
    other.press("Stop the answer")
    chat.phase("ended")
    assert chat.text_of_last() == other.text_of_last()
    expect(chat.page.get_by_role("button", name="Edit")).to_have_count(0)

    chat.press("Take part")
    chat.say("May I ask too?")
    expect(other.questions).to_have_text(["A question of someone else", "May I ask too?"])
    other.streaming()
    other.press("Stop the answer")
    other.phase("ended")


def test_the_backup_answers_when_the_primary_breaks_off_and_its_words_are_taken_back(
    open_chat: OpenChat,
) -> None:
    chat = open_chat("?feature=failing_over")
    chat.say("Who answers?")
    expect(chat.last.locator(".markdown")).to_contain_text("Wrong words")

    chat.phase("ended")

    assert chat.text_of_last() == "The backup's answer."
    expect(chat.last.locator(".notice")).to_have_text(
        "The first attempt broke off and was withdrawn. Answered by the backup model."
    )
    expect(chat.last.locator(".meta")).to_contain_text("steady (backup)")
    chat.page.reload()
    chat.phase("ended")
    assert chat.text_of_last() == "The backup's answer."


def test_an_answer_that_fails_says_why_and_can_be_tried_again(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=broken")
    chat.say("Anyone?")

    expect(chat.last.locator(".trouble")).to_have_text(
        re.compile("^No model could answer: the model.s service had a problem.$")
    )
    chat.press("Try again", within=chat.last)
    expect(chat.last.locator(".trouble")).to_have_text(
        re.compile("^No model could answer: the model.s service had a problem.$")
    )
    expect(chat.answers).to_have_count(1)

    chat.page.reload()
    expect(chat.last.locator(".trouble")).to_have_text("This message has no answer yet.")


def test_an_answer_that_breaks_off_with_no_backup_is_shown_as_incomplete(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=cut")
    chat.say("Finish this")

    expect(chat.last.locator(".trouble")).to_contain_text("This is as far as the answer came.")

    assert chat.text_of_last().startswith("Wrong words")
    expect(chat.last.get_by_role("button", name="Try again")).to_be_visible()


def test_regenerating_replaces_the_last_answer_in_every_tab(open_chat: OpenChat) -> None:
    chat = open_chat()
    chat.say("Once")
    chat.phase("ended")
    other = open_chat(chat.page.url.removeprefix(chat.url))
    other.phase("ended")

    chat.press("Regenerate", within=chat.last)

    chat.phase("ended")
    expect(chat.last.locator(".meta")).to_contain_text("(primary)")
    other.phase("ended")
    expect(other.last.locator(".meta")).to_contain_text("(primary)")  # told by events, not by the snapshot
    expect(chat.answers).to_have_count(1)
    expect(other.answers).to_have_count(1)


def test_an_edited_message_replaces_itself_and_all_that_followed(open_chat: OpenChat) -> None:
    chat = open_chat()
    chat.say("First")
    chat.phase("ended")
    chat.say("Second")
    expect(chat.answers).to_have_count(2)
    chat.phase("ended")

    chat.page.locator(".message.user").first.hover()
    chat.press("Edit", within=chat.page.locator(".message.user").first)
    editor = chat.page.get_by_label("Edit your message")
    expect(editor).to_be_focused()
    expect(editor).to_have_value("First")
    editor.fill("First, better")
    editor.press("Enter")

    expect(chat.questions).to_have_text(["First, better"])
    expect(chat.answers).to_have_count(1)
    chat.phase("ended")
    chat.page.reload()
    expect(chat.questions).to_have_text(["First, better"])


def test_new_dialogue_starts_another_one_and_back_returns(open_chat: OpenChat) -> None:
    chat = open_chat()
    chat.say("In the first dialogue")
    chat.phase("ended")
    chat.press("New dialogue")
    expect(chat.page.locator(".message")).to_have_count(0)
    expect(chat.page.locator("#composer-text")).to_be_focused()

    chat.say("In the second dialogue")
    expect(chat.questions).to_have_text(["In the second dialogue"])
    chat.phase("ended")
    chat.page.go_back()

    expect(chat.questions).to_have_text(["In the first dialogue"])


def test_a_feature_that_is_not_configured_is_named_and_the_message_kept(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=nonsense")
    chat.say("Hello?")

    expect(chat.page.locator(".message.user .trouble")).to_contain_text("nonsense")
    chat.press("Discard")
    expect(chat.page.locator(".message")).to_have_count(0)


def test_an_address_of_no_dialogue_says_so(open_chat: OpenChat) -> None:
    chat = open_chat("#d/there-is-no-such-dialogue")

    expect(chat.page.locator("#missing")).to_contain_text("does not exist")
    expect(chat.page.locator("#composer")).to_be_hidden()


def test_a_deleted_dialogue_says_so_and_takes_nothing_more(open_chat: OpenChat, server: Server) -> None:
    chat = open_chat()
    chat.say("Soon gone")
    chat.phase("ended")

    server.delete("v1/dialogues/" + chat.page.url.rpartition("/")[2])

    expect(chat.page.locator("#composer-hint")).to_have_text("This dialogue was deleted.")
    expect(chat.page.locator("#composer-text")).to_be_disabled()
    expect(chat.last.get_by_role("button", name="Regenerate")).to_be_hidden()
    chat.page.reload()
    expect(chat.page.locator("#missing")).to_contain_text("does not exist")


def test_older_messages_come_when_scrolling_up_and_the_reader_stays_in_place(
    open_chat: OpenChat, server: Server
) -> None:
    dialogue = str(server.post("v1/dialogues", {"feature": "student_dialogue"})["dialogue"])
    path = f"v1/dialogues/{dialogue}/messages"
    for number in range(30):
        server.post(path, {"content": f"Message {number}", "on_busy": "queue"})
        if number % 10 == 9:  # a queue takes no more than so many
            wait_until(lambda: server.get(f"v1/dialogues/{dialogue}")["status"] == "idle", "all answered")
    chat = open_chat(f"#d/{dialogue}")
    expect(chat.page.locator(".message")).to_have_count(50)
    chat.page.locator("#scroller").evaluate("(node) => { node.scrollTop = 0; }")

    expect(chat.page.locator(".message")).to_have_count(60)
    expect(chat.questions.first).to_have_text("Message 0")
    expect(chat.page.locator("#older")).to_be_hidden()
    expect(chat.page.locator(".message").nth(10)).to_be_in_viewport()  # the first one before


def test_the_page_can_be_used_with_the_keyboard_alone_and_names_its_parts(open_chat: OpenChat) -> None:
    chat = open_chat().connected()
    page: Page = chat.page
    page.locator("body").press("Tab")
    for role, name in [
        ("log", "Messages"),
        ("textbox", "Your message"),
        ("button", "Send"),
        ("button", "New dialogue"),
        ("complementary", "Dialogues"),
        ("list", "Live dialogues"),
    ]:
        expect(page.get_by_role(role, name=name, exact=True)).to_have_count(1)  # type: ignore[arg-type]
    chat.say("Say something")
    chat.phase("ended")
    expect(page.locator("#announcer")).to_have_text("Answer: Hello **there**, friend.")
    unnamed = page.locator("button:visible").evaluate_all(
        "(buttons) => buttons.filter((b) => !(b.textContent.trim() || b.getAttribute('aria-label'))).length"
    )
    assert unnamed == 0


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_list_is_a_drawer(open_chat: OpenChat) -> None:
    chat = open_chat("?feature=echo")
    chat.page.set_viewport_size({"width": 360, "height": 640})
    row = "| " + " | ".join(f"column {n}" for n in range(12)) + " |"
    chat.say(f"{row}\n{re.sub('column [0-9]+', '---', row)}\n{row}\n\n```\n{'x' * 400}\n```\n\n{'y' * 400}")
    expect(chat.last.locator("pre")).to_be_visible()
    chat.phase("ended")

    assert chat.page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert chat.page.locator("#scroller").evaluate("(node) => node.scrollWidth <= node.clientWidth")
    expect(chat.page.locator("#side")).not_to_be_in_viewport()
    chat.press("Open the list of dialogues")
    expect(chat.page.locator("#side")).to_be_in_viewport()
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("#side")).not_to_be_in_viewport()
    expect(chat.page.get_by_role("button", name="Open the list of dialogues")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground_in_both_schemes(open_chat: OpenChat, scheme: str) -> None:
    chat = open_chat()
    chat.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    ratio = chat.page.evaluate(
        """() => {
          const light = (rgb) => rgb.match(/[0-9.]+/g).slice(0, 3).map((c) => c / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
          const style = getComputedStyle(document.body);
          const pale = getComputedStyle(document.getElementById('subtitle'));
          const [a, b] = [light(pale.color), light(style.backgroundColor)].sort((x, y) => y - x);
          return (a + 0.05) / (b + 0.05);
        }"""
    )
    assert ratio >= 4.5, "WCAG AA for the palest words"


def test_a_server_with_a_token_is_asked_for_it_and_a_wrong_one_is_refused(
    open_chat: OpenChat, tmp_path: Path
) -> None:
    config = '[auth]\ntoken = "open-sesame-0123456789"\n[store]\nurl = "memory:"\n'
    with running(tmp_path, config) as locked:
        chat = open_chat(at=locked)
        dialog = chat.page.locator("#token-dialog")
        expect(dialog).to_be_visible()
        chat.page.get_by_role("textbox", name="Token").fill("a-guess")
        chat.press("Connect")
        expect(chat.page.locator("#token-trouble")).to_be_visible()
        chat.page.get_by_role("textbox", name="Token").fill("open-sesame-0123456789")
        chat.press("Connect")
        expect(dialog).to_be_hidden()

        chat.connected().say("Hi")

        expect(chat.last).to_contain_text("This is the null provider")
        expect(chat.page.locator("#live .row", has_text="yours")).to_be_visible()
        chat.page.reload()
        expect(chat.last).to_contain_text("This is the null provider")
        expect(dialog).to_be_hidden()
        assert chat.page.evaluate("() => JSON.stringify(localStorage)").find("sesame") == -1
