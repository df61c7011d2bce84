"""What may be said: the checks on a message's content, before anything is stored."""

from duologue.errors import BadRequest, MessageTooLarge

__all__ = ["check_content", "check_encodable"]


def check_content(content: str, *, bytes_max: int) -> None:
    """Refuse content that is empty, can't be encoded, or is over `bytes_max` bytes of UTF-8.

    Raises:
        BadRequest: Nothing but white space, or a lone surrogate.
        MessageTooLarge: Over the limit.
    """
    if not content or content.isspace():
        raise BadRequest("The message is empty. Send at least one character that is not white space.")
    size = check_encodable(content, what="The message")
    if size > bytes_max:
        raise MessageTooLarge(f"The message has {size} bytes of UTF-8; at most {bytes_max} are taken.")


def check_encodable(text: str, *, what: str) -> int:
    """Refuse text that can't be encoded; returns its bytes of UTF-8. `what` begins the error's sentence.

    Raises:
        BadRequest: A lone surrogate.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{what} has a lone surrogate at character {error.start}. Send valid Unicode."
        ) from None
