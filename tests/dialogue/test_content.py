"""What may be said."""

import pytest

from duologue.dialogue.content import check_content
from duologue.errors import BadRequest, MessageTooLarge


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u2003"])
def test_a_message_without_a_visible_character_is_refused(content: str) -> None:
    with pytest.raises(BadRequest, match="empty"):
        check_content(content, bytes_max=100)


def test_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(BadRequest, match="character 2") as caught:
        check_content("ab\ud800", bytes_max=100)
    assert caught.value.__cause__ is None


def test_the_limit_counts_bytes_of_utf_8() -> None:
    check_content("é" * 50, bytes_max=100)
    with pytest.raises(MessageTooLarge, match="101 bytes"):
        check_content("é" * 50 + "x", bytes_max=100)
