"""The shapes of the values that clients send, shared by frames and bodies. Bounds are part of the wire."""

import json
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = [
    "MESSAGE_ID_MAX",
    "ClientId",
    "DialogueName",
    "Metadata",
    "Name",
    "Strict",
    "Text",
    "complaint_of",
    "is_dialogue_name",
    "read_leniently",
]

MESSAGE_ID_MAX = 128
"""Longest id that a client may send, in code points."""

DialogueName = Annotated[str, Field(pattern=r"\A[A-Za-z0-9._~-]{1,128}\z")]
_DIALOGUE_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")
Name = Annotated[str, Field(min_length=1, max_length=128)]
"""A feature, section or account."""
ClientId = Annotated[str, Field(min_length=1, max_length=MESSAGE_ID_MAX)]
"""An id of a message or a turn, ours or the client's own."""
Text = Annotated[str, Field(max_length=1_000_000)]
"""Free text. How much may be said is the dialogue's decision; here the frame or body is the bound."""
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
"""At most 16 names of at most 64 characters, with values of at most 512."""


class Strict(BaseModel):
    """Base of everything that is read from a client: no coercion, no unknown field, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def complaint_of(error: ValidationError, *, skip: int = 0) -> str:
    """Say what is wrong in one sentence, with no value of the client's in it but a shortened field name.

    Args:
        error: What pydantic found; the first finding is told.
        skip: How many parts of the location to leave out, such as a union's tag.
    """
    finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(_shown(part) for part in finding["loc"][skip:])
    match finding["type"]:
        case "string_pattern_mismatch":
            what = "must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ -"
        case "extra_forbidden":
            what = "is not a field of this request"
        case "missing":
            what = "is missing"
        case "string_unicode":
            what = "is not encodable as UTF-8"
        case _:
            what = finding["msg"][:1].lower() + finding["msg"][1:]
    return f"{where}: {what}" if where else what


def is_dialogue_name(text: str) -> bool:
    """Whether a dialogue may be called this; what may not be is not there."""
    return _DIALOGUE_NAME.fullmatch(text) is not None


def read_leniently(data: bytes | str) -> Any:
    """Parse JSON that was refused, to learn why: lone surrogates and deep nesting pass here.

    Raises:
        ValueError: Not JSON (NaN and infinities are not), or a number of thousands of digits.
        RecursionError: Nested deeper than the interpreter goes.
    """
    # From text, because from bytes the standard library would guess at UTF-16 and skip a byte order mark.
    return json.loads(data if isinstance(data, str) else data.decode(), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _shown(part: Any) -> str:
    text = str(part)
    return text if text.isascii() and text.isprintable() and len(text) <= 64 else "(a field)"
