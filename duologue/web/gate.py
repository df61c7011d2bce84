"""What every HTTP request passes: an id, one log line, headers that keep browsers strict, and a last catch.

The log line has the path and never the query string, and nothing of a header or body.
"""

import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.errors import DuologueError
from duologue.web.answers import error_answer
from duologue.web.hub import Hub
from duologue.web.security import header

__all__ = ["CONTENT_SECURITY_POLICY", "Gate", "log_path", "sane_request_id"]

_access = logging.getLogger("duologue.access")
_log = logging.getLogger(__name__)

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # nginx's number for "the client left before the answer"; only in the log

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For everything that is served: a page runs and fetches what comes from here and nothing else."""

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def sane_request_id(value: bytes | None) -> str | None:
    """A client's own id for its request, where it is safe to repeat: 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    if value is None or _SANE_ID.fullmatch(value) is None:
        return None
    return value.decode()


def log_path(scope: Mapping[str, Any]) -> str:
    """The path as it may stand in a log: percent-encoded, so without control characters, and cut."""
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"].encode() if raw is None else raw.partition(b"?")[0]
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in path[:256])


class Gate:
    """ASGI middleware round all HTTP endpoints. WebSockets pass through; they have a line of their own.

    Args:
        app: What is inside.
        hub: For the clock and the telemetry.
        route_of: The pattern of the route that a finished request took, for metrics.
    """

    def __init__(self, app: ASGIApp, *, hub: Hub, route_of: Callable[[Scope], str]) -> None:
        self._app = app
        self._hub = hub
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(self._hub, scope, send)
        try:
            await self._app(scope, receive, passage.send)
        except ClientDisconnect:
            passage.status = passage.status or _CLIENT_GONE
        except Exception:  # noqa: BLE001 - the last catch: the client gets an id, the log gets the rest
            _log.exception("request %s failed", passage.request_id)
            await passage.fail(receive)
        finally:
            passage.done(self._route_of(scope))


class _Passage:
    """One request on its way through."""

    def __init__(self, hub: Hub, scope: Scope, send: Send) -> None:
        given = sane_request_id(header(scope["headers"], b"x-request-id"))
        self.request_id = given or secrets.token_urlsafe(12)
        self.status = 0
        self._hub = hub
        self._scope = scope
        self._send = send
        self._began_at = hub.clock()
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = list(message.get("headers", ()))
            given = {name for name, _ in present}
            extra = [pair for pair in _HEADERS if pair[0] not in given]
            own = (b"x-request-id", self.request_id.encode())
            message = {**message, "headers": [*present, *extra, own]}
        await self._send(message)

    async def fail(self, receive: Receive) -> None:
        """Answer with an id only; if an answer has begun, all that is left is to cut it off."""
        if self.status:
            raise RuntimeError("an answer failed after it had begun")
        response = error_answer(DuologueError("something went wrong here"), self.request_id)
        await response(self._scope, receive, self.send)

    def done(self, route: str) -> None:
        scope, seconds = self._scope, self._hub.clock() - self._began_at
        # A method is the client's word, too: HTTP allows any token.
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._hub.telemetry.request_served(method=method, route=route, status=self.status, seconds=seconds)
        _access.info(
            "%s %s %d %.1fms request_id=%s",
            method,
            log_path(scope),
            self.status,
            seconds * 1000,
            self.request_id,
        )


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
