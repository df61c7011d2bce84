"""The endpoint of `/v1/socket`: checks a handshake, accepts it and runs the session until the end."""

import asyncio
import contextlib
import logging
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from duologue.errors import BadRequest, DuologueError, NotAuthenticated
from duologue.web.answers import error_body
from duologue.web.channel import AsgiChannel, Channel, direct_channel
from duologue.web.closing import NOT_AUTHENTICATED, TOO_MANY
from duologue.web.codec import Format, choose_format
from duologue.web.gate import log_path, sane_request_id
from duologue.web.hub import Hub
from duologue.web.security import bearer_of, check_host, check_origin, header
from duologue.web.socket import Session

__all__ = ["SocketEndpoint"]

_access = logging.getLogger("duologue.access")
_ABNORMAL = 1006


class _Admission:
    """What a handshake has shown."""

    __slots__ = ("authenticated", "format", "may_name", "refused", "subprotocol")

    def __init__(self, format_: Format, subprotocol: str | None) -> None:
        self.format = format_
        self.subprotocol = subprotocol
        self.authenticated = False
        self.may_name = True
        self.refused: tuple[int, str] | None = None
        """Close code for a handshake that a browser has to be let into to be told why not."""


class SocketEndpoint:
    """Raw ASGI: the machinery for short requests would stay in memory as long as the socket."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            admission = self._admit(scope)
        except DuologueError as error:
            await _reject(scope, send, error)
            return
        await send({"type": "websocket.accept", "subprotocol": admission.subprotocol})
        direct = direct_channel(scope)
        if admission.refused is not None:
            code, reason = admission.refused
            _access.info("SOCKET %s %d", log_path(scope), code)
            await send({"type": "websocket.close", "code": code, "reason": reason})
        elif direct is not None:
            direct.hand_over(self._begin(admission, direct))
        else:
            await self._serve(admission, receive, send)

    def _admit(self, scope: Scope) -> _Admission:
        """Decide before the upgrade what can be decided.

        Raises:
            DuologueError: No upgrade.
        """
        hub, headers = self._hub, scope["headers"]
        query = parse_qs(scope["query_string"].decode("latin-1"))
        # Servers that log a handshake's address do it after this; a ticket is used up, but it need not be read.
        scope["query_string"] = b""
        check_origin(headers, scheme=scope["scheme"], allowed=hub.allowed_origins)
        if not hub.authority.required:
            check_host(headers, allowed=hub.allowed_origins)
        hub.check_open()
        chosen = choose_format(scope.get("subprotocols", []))
        if chosen is None:
            raise BadRequest("none of the offered subprotocols is spoken here")
        admission = _Admission(*chosen)
        if hub.sockets_open >= hub.limits.sockets_max:
            admission.refused = TOO_MANY
        elif not hub.authority.required:
            admission.authenticated = True
        elif "ticket" in query:
            admission.may_name = False
            admission.authenticated = hub.tickets.redeem(query["ticket"][0])
            admission.refused = None if admission.authenticated else NOT_AUTHENTICATED
        elif header(headers, b"authorization") is not None:
            if not hub.authority.accepts(bearer_of(headers)):
                raise NotAuthenticated("the token is not this server's")
            admission.authenticated = True
        return admission

    def _begin(self, admission: _Admission, channel: Channel) -> Session:
        session = Session(
            self._hub,
            channel,
            admission.format,
            authenticated=admission.authenticated,
            may_name=admission.may_name,
        )
        self._hub.admit(session)
        return session

    async def _serve(self, admission: _Admission, receive: Receive, send: Send) -> None:
        """On a foreign server: read until the end, in the task that it runs us in."""
        reader = asyncio.current_task()
        assert reader is not None
        stuck = False

        def on_stuck() -> None:
            nonlocal stuck
            stuck = True
            reader.cancel()

        channel = AsgiChannel(send, binary=admission.format.binary, on_stuck=on_stuck)
        session = self._begin(admission, channel)
        code = _ABNORMAL
        try:
            code = await _read(session, receive)
        except asyncio.CancelledError:
            # The client neither reads nor leaves, and a foreign server gives us no way to cut it off.
            if not stuck or reader.uncancel():
                raise
        finally:
            session.on_closed(code)
            channel.stop()


async def _read(session: Session, receive: Receive) -> int:
    """Hand over every message until the disconnect, and return the code that the socket ended with."""
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            break
        data: bytes | str | None = message.get("text")
        if data is None:
            data = message.get("bytes")
        session.on_message(b"" if data is None else data)
        del message, data  # a socket waits here for hours
    own = session.close_code
    return own if own is not None else int(message.get("code") or _ABNORMAL)


async def _reject(scope: Scope, send: Send, error: DuologueError) -> None:
    """Answer a handshake with an HTTP error; with a bare 403 where the server can't send a body."""
    request_id = sane_request_id(header(scope["headers"], b"x-request-id")) or ""
    _access.info("SOCKET %s refused %s", log_path(scope), error.code)
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    with contextlib.suppress(OSError):
        await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
        await send(
            {"type": "websocket.http.response.body", "body": orjson.dumps(error_body(error, request_id))}
        )
