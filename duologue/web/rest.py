"""The HTTP endpoints, as a table: what a path and method do, whom they let in, and what they read."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from duologue.dialogue.attachments import WINDOWS
from duologue.dialogue.events import message_to_wire
from duologue.dialogue.handle import Dialogue
from duologue.dialogue.requests import (
    Accepted,
    Ask,
    CancelTurn,
    Delete,
    GetMessages,
    GetSnapshot,
    Open,
    Regenerate,
)
from duologue.errors import BadRequest, DuologueError, NotAuthenticated, NotFound, StoreUnavailable
from duologue.messages import DialogueId, DialogueStatus, Epoch, OnBusy, Position, TurnId
from duologue.telemetry import Metrics
from duologue.web.answers import answer, error_answer, request_id_of
from duologue.web.bodies import CancelBody, EmptyBody, MessageBody, OpenBody, read_body
from duologue.web.events import EventStreamResponse, position_of
from duologue.web.fields import Strict, is_dialogue_name
from duologue.web.hub import Hub
from duologue.web.results import accepted_to_wire, cancelled_to_wire, opened_to_wire
from duologue.web.security import bearer_of, check_host, check_origin
from duologue.web.tickets import TICKET_LIFETIME

__all__ = ["ENDPOINTS", "Endpoint", "Query", "check_caller"]

Handler = Callable[[Hub, Request], Awaitable[Response]]

_PAGE_MAX = 200
_CHILDREN_MAX = 10_000
_SEQ_DIGITS_MAX = 16


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query string."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table.

    Args:
        method: GET, POST or DELETE.
        path: Pattern, as Starlette reads it.
        handler: What it does.
        summary: One line for the schema.
        status: Of a success.
        answers: Name of the schema of a success; `None`: no body, or none of JSON.
        body: What is read; `None`: nothing.
        query: Parameters that are read.
        open: Whether anybody may ask, with no token and from any origin.
        media_type: Of a success.
        errors: Codes of errors that are this endpoint's own.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    status: int = 200
    answers: str | None = None
    body: type[Strict] | None = None
    query: Sequence[Query] = ()
    open: bool = False
    media_type: str = "application/json"
    errors: Sequence[str] = ()


def check_caller(hub: Hub, request: Request) -> None:
    """Whether this request may do anything at all.

    Raises:
        Forbidden: A foreign `Origin`, or a foreign `Host` where there is no authentication.
        NotAuthenticated: No token, or not ours.
    """
    headers = request.scope["headers"]
    check_origin(headers, scheme=request.scope["scheme"], allowed=hub.allowed_origins)
    if not hub.authority.required:
        check_host(headers, allowed=hub.allowed_origins)
    elif not hub.authority.accepts(bearer_of(headers)):
        raise NotAuthenticated("show the token: Authorization: Bearer …")


# ── dialogues ───────────────────────────────────────────────────────────────────────────────────────────────


def _name(request: Request) -> DialogueId:
    name = request.path_params["id"]
    if not is_dialogue_name(name):
        raise NotFound("there is no such dialogue")
    return DialogueId(name)


def _dialogue(hub: Hub, request: Request) -> Dialogue:
    return hub.runtime.dialogue(_name(request))


async def _create(hub: Hub, request: Request) -> Response:
    body = await read_body(request, OpenBody, hub.limits)
    opening = Open(body.feature, body.section, body.account, body.system_prompt, dict(body.metadata or {}))
    opened = await hub.runtime.create(None if body.id is None else DialogueId(body.id), opening)
    return answer(opened_to_wire(opened), 201 if opened.created else 200)


async def _list(hub: Hub, request: Request) -> Response:
    given = request.query_params.get("status")
    if given is not None and given not in set(DialogueStatus):
        raise BadRequest("status must be idle or generating")
    page = await hub.runtime.list_dialogues(
        status=None if given is None else DialogueStatus(given),
        before=request.query_params.get("before"),
        limit=_number(request, "limit", 50, 1, _PAGE_MAX),
    )
    return answer({"dialogues": [row.to_wire() for row in page.rows], "before": page.before})


async def _snapshot(hub: Hub, request: Request) -> Response:
    return answer((await _dialogue(hub, request).call(GetSnapshot())).to_wire())


async def _delete(hub: Hub, request: Request) -> Response:
    if not await _dialogue(hub, request).call(Delete()):
        raise NotFound("there is no such dialogue")
    return Response(status_code=204)


async def _messages(hub: Hub, request: Request) -> Response:
    limit = _number(request, "limit", 50, 1, _PAGE_MAX)
    page = await _dialogue(hub, request).call(GetMessages(request.query_params.get("before"), limit))
    return answer(
        {"messages": [message_to_wire(message) for message in page.messages], "before": page.before}
    )


async def _say(hub: Hub, request: Request) -> Response:
    body = await read_body(request, MessageBody, hub.limits)
    policy = None if body.on_busy is None else OnBusy(body.on_busy)
    ask = Ask(body.content, body.client_message_id, policy)
    return _accepted(await _dialogue(hub, request).call(ask))


async def _cancel(hub: Hub, request: Request) -> Response:
    body = await read_body(request, CancelBody, hub.limits)
    turn = None if body.turn_id is None else TurnId(body.turn_id)
    return answer(cancelled_to_wire(await _dialogue(hub, request).call(CancelTurn(turn))))


async def _regenerate(hub: Hub, request: Request) -> Response:
    await read_body(request, EmptyBody, hub.limits)
    return _accepted(await _dialogue(hub, request).call(Regenerate()))


def _accepted(accepted: Accepted) -> Response:
    return answer(accepted_to_wire(accepted), 202)


async def _events(hub: Hub, request: Request) -> Response:
    window = _number(request, "coalesce_ms", 0, 0, max(WINDOWS))
    if window not in WINDOWS:
        raise BadRequest(f"coalesce_ms must be one of {', '.join(map(str, WINDOWS))}")
    if request.method == "HEAD":
        return Response(media_type=EventStreamResponse.media_type)
    return EventStreamResponse(hub, _name(request), _after(request), window)


def _after(request: Request) -> Position | None:
    """What the client has seen. A browser that comes back says it in a header, which is newer than its address."""
    last = request.headers.get("last-event-id")
    if last:
        return position_of(last)
    epoch = request.query_params.get("epoch")
    if epoch is None:
        if "after" in request.query_params:
            raise BadRequest("after needs epoch: a number means nothing without it")
        return None
    return Position(Epoch(epoch[:128]), _number(request, "after", 0, 0, 10**_SEQ_DIGITS_MAX))


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _SEQ_DIGITS_MAX and least <= int(text) <= most:
        return int(text)
    raise BadRequest(f"{name} must be a number from {least} to {most}")


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────


async def _ticket(hub: Hub, request: Request) -> Response:
    await read_body(request, EmptyBody, hub.limits)
    return answer({"ticket": hub.tickets.issue(), "expires_in": int(TICKET_LIFETIME)}, 201)


async def _healthz(hub: Hub, request: Request) -> Response:  # noqa: ARG001 - the handlers' signature
    return answer({"status": "alive"})


async def _readyz(hub: Hub, request: Request) -> Response:
    """Ready depends on the store alone: a model that is down is its dialogues' trouble and fails over."""
    timeout = hub.limits.ready_timeout
    try:
        async with asyncio.timeout(timeout):
            await hub.runtime.check_ready()
    except TimeoutError:
        error: DuologueError = StoreUnavailable(f"the store did not answer within {timeout} s")
    except DuologueError as refusal:
        error = refusal
    else:
        return answer({"status": "ready"})
    return error_answer(error, request_id_of(request.scope), status=503)


async def _metrics(hub: Hub, request: Request) -> Response:  # noqa: ARG001 - the handlers' signature
    telemetry = hub.telemetry
    if not isinstance(telemetry, Metrics):
        raise NotFound("this runtime keeps no metrics")
    return PlainTextResponse(
        telemetry.render(),
        media_type="text/plain; version=0.0.4",
        headers={"cache-control": "no-store"},
    )


async def _inspect(hub: Hub, request: Request) -> Response:
    most = _number(request, "children", 50, 0, _CHILDREN_MAX)
    return PlainTextResponse(
        hub.runtime.draw_actors(children_max=most), headers={"cache-control": "no-store"}
    )


async def _schema(hub: Hub, request: Request) -> Response:  # noqa: ARG001 - the handlers' signature
    from duologue.web.openapi import build_schema  # noqa: PLC0415 - it is built from this very table

    return answer(build_schema(ENDPOINTS))


_BEFORE = Query("before", "Cursor of the page, as the page before it gave it.", {"type": "string"})
_LIMIT = Query(
    "limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": _PAGE_MAX, "default": 50}
)
_WRITE_ERRORS = ("not_found", "busy", "draining", "store_unavailable")

ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/v1/dialogues",
        _create,
        "Create a dialogue, or find the one opened with the same words (then the status is 200).",
        status=201,
        answers="Opened",
        body=OpenBody,
        errors=("conflict", "feature_not_configured", "draining", "store_unavailable"),
    ),
    Endpoint(
        "GET",
        "/v1/dialogues",
        _list,
        "Dialogues by their last change, newest first.",
        answers="DialoguePage",
        query=(
            Query("status", "Only these.", {"type": "string", "enum": ["idle", "generating"]}),
            _BEFORE,
            _LIMIT,
        ),
        errors=("store_unavailable",),
    ),
    Endpoint(
        "GET",
        "/v1/dialogues/{id}",
        _snapshot,
        "A dialogue as it stands, with its last 50 messages.",
        answers="Snapshot",
        errors=("not_found", "store_unavailable"),
    ),
    Endpoint(
        "DELETE",
        "/v1/dialogues/{id}",
        _delete,
        "Remove a dialogue and all of its state.",
        status=204,
        errors=("not_found", "store_unavailable"),
    ),
    Endpoint(
        "GET",
        "/v1/dialogues/{id}/messages",
        _messages,
        "A page of history: the newest page first, in order within it.",
        answers="MessagePage",
        query=(_BEFORE, _LIMIT),
        errors=("not_found", "store_unavailable"),
    ),
    Endpoint(
        "POST",
        "/v1/dialogues/{id}/messages",
        _say,
        "Say something; answered when it is durable.",
        status=202,
        answers="Accepted",
        body=MessageBody,
        errors=(*_WRITE_ERRORS, "conflict", "message_too_large"),
    ),
    Endpoint(
        "GET",
        "/v1/dialogues/{id}/events",
        _events,
        "The dialogue's events as server-sent events; resumes by Last-Event-ID.",
        query=(
            Query("epoch", "Epoch of the last event that was seen.", {"type": "string"}),
            Query("after", "Its seq.", {"type": "integer", "minimum": 0}),
            Query("coalesce_ms", "Merge window for deltas.", {"type": "integer", "enum": list(WINDOWS)}),
        ),
        media_type="text/event-stream",
        errors=("not_found", "draining", "too_many", "store_unavailable"),
    ),
    Endpoint(
        "POST",
        "/v1/dialogues/{id}/cancel",
        _cancel,
        "Stop the answer. False: nothing, or another turn than the named one, was open.",
        answers="Cancelled",
        body=CancelBody,
        errors=("not_found", "store_unavailable"),
    ),
    Endpoint(
        "POST",
        "/v1/dialogues/{id}/regenerate",
        _regenerate,
        "Answer the last message once more.",
        status=202,
        answers="Accepted",
        body=EmptyBody,
        errors=_WRITE_ERRORS,
    ),
    Endpoint(
        "POST",
        "/v1/ws-ticket",
        _ticket,
        "A ticket that opens one socket within 30 seconds.",
        status=201,
        answers="Ticket",
        body=EmptyBody,
        errors=("too_many",),
    ),
    Endpoint("GET", "/healthz", _healthz, "Whether the process is alive.", answers="Status", open=True),
    Endpoint(
        "GET",
        "/readyz",
        _readyz,
        "Whether work is taken; 503 says why not.",
        answers="Status",
        open=True,
        errors=("store_unavailable", "draining"),
    ),
    Endpoint("GET", "/metrics", _metrics, "Prometheus text.", media_type="text/plain"),
    Endpoint(
        "GET",
        "/v1/_inspect",
        _inspect,
        "The tree of actors as text: what each waits for, how often it was restarted, and its last crash.",
        query=(
            Query(
                "children",
                "Most children of one actor that are shown.",
                {"type": "integer", "minimum": 0, "maximum": _CHILDREN_MAX, "default": 50},
            ),
        ),
        media_type="text/plain",
        errors=("bad_request",),
    ),
    Endpoint("GET", "/openapi.json", _schema, "This document.", answers="Document", open=True),
)
"""All endpoints but the page, its files and the socket."""
