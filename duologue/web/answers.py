"""HTTP answers: values and errors as JSON, the same way everywhere."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from duologue.dialogue.events import ErrorInfo
from duologue.errors import BadRequest, DuologueError, Forbidden, NotFound

__all__ = ["answer", "error_answer", "error_body", "on_error", "on_http_exception", "request_id_of"]

_NO_STORE = {"cache-control": "no-store"}


def answer(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain values as JSON, which nobody on the way may keep."""
    return Response(
        orjson.dumps(value), status, headers={**_NO_STORE, **(headers or {})}, media_type="application/json"
    )


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id that the gate gave to this request."""
    name: str = scope.get("state", {}).get("request_id", "")
    return name


def error_body(error: DuologueError, request_id: str) -> dict[str, Any]:
    """What every failed request is answered with."""
    return {"error": ErrorInfo.of(error).to_wire(), "request_id": request_id}


def error_answer(
    error: DuologueError,
    request_id: str,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as JSON. `status` where HTTP has a narrower one than the error's own."""
    extra = dict(headers or {})
    code = status or error.status
    if code == 401:
        extra.setdefault("www-authenticate", "Bearer")
    if code in (429, 503) and error.retryable:
        extra.setdefault("retry-after", "1")
    return answer(error_body(error, request_id), code, extra)


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for our own errors."""
    assert isinstance(error, DuologueError)
    return error_answer(error, request_id_of(request.scope))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's handler for its own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    ours: DuologueError
    match error.status_code:
        case 403:
            ours = Forbidden("not allowed")
        case 404:
            ours = NotFound("there is nothing at this path")
        case 405:
            ours = BadRequest("this path does not know this method")
        case status if status < 500:
            ours = BadRequest("the request can't be understood")
        case _:
            ours = DuologueError("something went wrong here")
    return error_answer(ours, request_id_of(request.scope), status=error.status_code, headers=error.headers)
