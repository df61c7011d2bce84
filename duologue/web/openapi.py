"""The schema of the HTTP interface, built from the table of endpoints, so that it can't name what is not there."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from duologue.errors import DuologueError

if TYPE_CHECKING:
    from duologue.web.rest import Endpoint

__all__ = ["build_schema"]

_STRING: Mapping[str, Any] = {"type": "string"}
_INTEGER: Mapping[str, Any] = {"type": "integer"}
_NULL: Mapping[str, Any] = {"type": "null"}


def _object(optional: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _NULL]}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


_STATUS: Mapping[str, Any] = {"type": "string", "enum": ["idle", "generating"]}
_USAGE = _object(input_tokens=_or_null(_INTEGER), output_tokens=_or_null(_INTEGER))

_SCHEMAS: Mapping[str, Any] = {
    "Opened": _object(dialogue=_STRING, epoch=_STRING, seq=_INTEGER, created={"type": "boolean"}),
    "Accepted": _object(message_id=_STRING, turn_id=_STRING, epoch=_STRING, seq=_INTEGER),
    "Cancelled": _object(cancelled={"type": "boolean"}),
    "Ticket": _object(ticket=_STRING, expires_in=_INTEGER),
    "Status": _object(status=_STRING),
    "Document": {"type": "object"},
    "Message": _object(
        ("model", "usage", "client_message_id"),
        id=_STRING,
        role={"type": "string", "enum": ["system", "user", "assistant", "tool"]},
        content=_STRING,
        turn_id=_STRING,
        created_at={"type": "number", "description": "Seconds since the Unix epoch. Not for ordering."},
        status={"type": "string", "enum": ["complete", "partial", "superseded"]},
        model=_STRING,
        usage=_USAGE,
        client_message_id=_STRING,
    ),
    "MessagePage": _object(messages=_list_of(_ref("Message")), before=_or_null(_STRING)),
    "Snapshot": _object(
        id=_STRING,
        epoch=_STRING,
        seq=_INTEGER,
        feature=_STRING,
        section=_or_null(_STRING),
        account=_or_null(_STRING),
        status=_STATUS,
        messages=_list_of(_ref("Message")),
        before=_or_null(_STRING),
        turn=_or_null(
            _object(
                id=_STRING,
                attempt=_INTEGER,
                text=_STRING,
                model=_or_null(_STRING),
                tier=_or_null({"type": "string", "enum": ["primary", "secondary", "backup"]}),
            )
        ),
        usage=_USAGE,
    ),
    "DialogueRow": _object(
        id=_STRING,
        feature=_STRING,
        section=_or_null(_STRING),
        account=_or_null(_STRING),
        status=_STATUS,
        viewers=_INTEGER,
        updated_at={"type": "number"},
        preview=_STRING,
    ),
    "DialoguePage": _object(dialogues=_list_of(_ref("DialogueRow")), before=_or_null(_STRING)),
    "Error": _object(
        error=_object(
            ("category",), code=_STRING, message=_STRING, retryable={"type": "boolean"}, category=_STRING
        ),
        request_id=_STRING,
    ),
}

_ALWAYS = ("forbidden", "not_authenticated", "internal")
_WITH_BODY = ("bad_frame", "bad_request", "frame_too_large", "timeout")


def build_schema(endpoints: Sequence["Endpoint"]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these endpoints."""
    paths: dict[str, Any] = {}
    schemas = dict(_SCHEMAS)
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
        if endpoint.body is not None:
            schemas[endpoint.body.__name__] = endpoint.body.model_json_schema()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Duologue",
            "version": _version(),
            "description": "Dialogues with language models. The socket at /v1/socket is described in docs/protocol.md.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: "Endpoint") -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if endpoint.answers is not None:
        success["content"] = {endpoint.media_type: {"schema": _ref(endpoint.answers)}}
    elif endpoint.status != 204:
        success["content"] = {endpoint.media_type: {"schema": _STRING}}
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__.lstrip("_"),
        "summary": endpoint.summary,
        "responses": {str(endpoint.status): success, **_failures(endpoint)},
        "security": [] if endpoint.open else [{"token": []}],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _STRING}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ] + [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in endpoint.query
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": _ref(endpoint.body.__name__)}},
        }
    return operation


def _failures(endpoint: "Endpoint") -> dict[str, Any]:
    codes = [*endpoint.errors, *(() if endpoint.open else _ALWAYS)]
    if endpoint.body is not None:
        codes += _WITH_BODY
    elif endpoint.query:
        codes.append("bad_request")
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(_STATUS_OF[code], []).append(code)
    return {
        str(status): {
            "description": ", ".join(sorted(set(names))),
            "content": {"application/json": {"schema": _ref("Error")}},
        }
        for status, names in sorted(by_status.items())
    }


def _status_of_codes() -> dict[str, int]:
    # Several classes may share a code; the one that is nearest to the root comes first and stands for it.
    found: dict[str, int] = {}
    kinds = [DuologueError]
    for kind in kinds:
        found.setdefault(kind.code, kind.status)
        kinds += kind.__subclasses__()
    return found


_STATUS_OF = _status_of_codes()


def _version() -> str:
    try:
        return version("duologue")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"
