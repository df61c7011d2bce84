"""Request bodies: read with a bound, validated from the bytes."""

import asyncio
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError
from starlette.requests import Request

from duologue.errors import BadFrame, BadRequest, CallTimeout, DuologueError, FrameTooLarge
from duologue.web.fields import (
    ClientId,
    DialogueName,
    Metadata,
    Name,
    Strict,
    Text,
    complaint_of,
    read_leniently,
)
from duologue.web.hub import WebLimits

__all__ = ["CancelBody", "EmptyBody", "MessageBody", "OpenBody", "read_body"]


class OpenBody(Strict):
    """`POST /v1/dialogues`."""

    id: DialogueName | None = None
    feature: Name
    section: Name | None = None
    account: Name | None = None
    system_prompt: Annotated[Text | None, Field(repr=False)] = None
    metadata: Metadata | None = None


class MessageBody(Strict):
    """`POST /v1/dialogues/{id}/messages`."""

    content: Annotated[Text, Field(repr=False)]
    client_message_id: ClientId | None = None
    on_busy: Literal["reject", "queue", "interrupt", "merge"] | None = None


class CancelBody(Strict):
    """`POST /v1/dialogues/{id}/cancel`."""

    turn_id: ClientId | None = None


class EmptyBody(Strict):
    """A body that has nothing to say."""


T = TypeVar("T", bound=Strict)


async def read_body(request: Request, model: type[T], limits: WebLimits) -> T:
    """Read and validate a request's body. An empty one stands for `{}`.

    Raises:
        FrameTooLarge: Over `limits.body_bytes_max`, as announced or as it came.
        BadFrame: Not JSON.
        BadRequest: Of the wrong shape.
        CallTimeout: It did not come in time.
    """
    data = await _read(request, limits) or b"{}"
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _refusal(data, error) from None


async def _read(request: Request, limits: WebLimits) -> bytes:
    too_large = FrameTooLarge(f"a request's body has at most {limits.body_bytes_max} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limits.body_bytes_max:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes_max:
                    raise too_large
    except TimeoutError:
        raise CallTimeout("the request's body did not come in time") from None
    return bytes(body)


def _refusal(data: bytes, error: ValidationError) -> DuologueError:
    try:
        read_leniently(data)
    except (ValueError, RecursionError):
        return BadFrame("the body is not JSON")
    finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if finding["type"] == "json_invalid":  # the lenient parser took it
        return BadRequest("a text is not encodable as UTF-8, or a number is out of range")
    return BadRequest(complaint_of(error))
