"""The application and its server: `create_app` for anybody's ASGI server, `build_server` for our own.

An application that was given settings owns a runtime for as long as its lifespan runs. One that was given
a runtime leaves it to its owner, and so can be mounted under a path of another application, whose server
does not run the lifespan of what is mounted.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope

from duologue.assembly import Runtime, open_runtime
from duologue.config.loading import load_settings
from duologue.config.settings import Settings
from duologue.errors import ConfigurationError, DuologueError
from duologue.telemetry import Metrics, Telemetry
from duologue.web.answers import on_error, on_http_exception
from duologue.web.closing import DRAINING, GOING_AWAY
from duologue.web.frames import FRAME_BYTES_MAX
from duologue.web.gate import Gate
from duologue.web.handshake import SocketEndpoint
from duologue.web.hub import Hub, WebLimits
from duologue.web.pages import page_routes
from duologue.web.protocol import HttpProtocol, SocketProtocol
from duologue.web.rest import ENDPOINTS, Endpoint, check_caller
from duologue.web.security import is_loopback

__all__ = ["DuologueServer", "build_server", "create_app"]

SETTLE_TIMEOUT = 15.0
"""Seconds that running answers may take to end after SIGTERM; what is left is recovered at the next start."""
_GOODBYE_TIMEOUT = 2.0
_HANGUP_TIMEOUT = 3


# ── the application ─────────────────────────────────────────────────────────────────────────────────────────


def create_app(
    source: Settings | Runtime | None = None,
    *,
    limits: WebLimits | None = None,
    telemetry: Telemetry | None = None,
) -> Starlette:
    """Build the Starlette application.

    Args:
        source: Settings: the application opens a runtime in its lifespan. A runtime: its owner keeps it open for
            as long as the application serves. `None`: settings as `load_settings()` finds them.
        limits: Bounds on connections; `None`: the defaults.
        telemetry: For a runtime that is opened here; `None`: `Metrics`, which `/metrics` shows.

    Raises:
        ConfigurationError: The settings that were looked for are wrong.
    """
    settings = source.settings if isinstance(source, Runtime) else source or load_settings()
    hub = Hub(settings, limits=limits)
    if isinstance(source, Runtime):
        hub.runtime = source
        return _build(hub, _borrowed(hub))
    return _build(hub, _owned(hub, settings, telemetry or Metrics()))


Lifespan = Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]


def _owned(hub: Hub, settings: Settings, telemetry: Telemetry) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with open_runtime(settings, telemetry=telemetry) as runtime:
            hub.runtime = runtime
            try:
                yield
            finally:
                hub.close_all(*GOING_AWAY)
                hub.runtime = None

    return lifespan


def _borrowed(hub: Hub) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        hub.close_all(*GOING_AWAY)

    return lifespan


def _build(hub: Hub, lifespan: Lifespan | None) -> Starlette:
    routes: list[BaseRoute] = [WebSocketRoute("/v1/socket", SocketEndpoint(hub))]
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    patterns: dict[Any, str] = {}
    for path, endpoints in by_path.items():
        dispatch = _dispatcher(hub, endpoints)
        patterns[dispatch] = path
        routes.append(Route(path, dispatch, methods=[endpoint.method for endpoint in endpoints]))
    for page in page_routes(hub):
        patterns[page.endpoint if isinstance(page, Route) else page.app] = page.path
        routes.append(page)
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={DuologueError: on_error, HTTPException: on_http_exception},
        middleware=[Middleware(Gate, hub=hub, route_of=_route_finder(patterns))],
    )
    app.router.redirect_slashes = False
    app.state.hub = hub
    return app


def _dispatcher(hub: Hub, endpoints: Sequence[Endpoint]) -> Callable[[Request], Any]:
    """One function for all methods of a path, so that a method that is missing is told from a path that is."""
    by_method = {endpoint.method: endpoint for endpoint in endpoints}
    if "GET" in by_method:
        by_method["HEAD"] = by_method["GET"]

    async def dispatch(request: Request) -> Response:
        endpoint = by_method[request.method]
        if not endpoint.open:
            check_caller(hub, request)
        return await endpoint.handler(hub, request)

    return dispatch


def _route_finder(patterns: dict[Any, str]) -> Callable[[Scope], str]:
    def route_of(scope: Scope) -> str:
        return patterns.get(scope.get("endpoint"), "none")

    return route_of


# ── our own server ──────────────────────────────────────────────────────────────────────────────────────────


class DuologueServer(uvicorn.Server):
    """uvicorn with our protocols, which opens the runtime, drains on SIGTERM and then returns normally.

    `run()` blocks with a loop of its own, `await serve()` uses the caller's. Both return when everything has
    been stopped, so that a process that was asked to go exits with 0.

    Raises (from `run` and `serve`):
        ConfigurationError: The address can't be bound, or the runtime can't be opened.
    """

    def __init__(
        self,
        source: Settings | Runtime,
        *,
        limits: WebLimits | None = None,
        settle_timeout: float = SETTLE_TIMEOUT,
    ) -> None:
        settings = source.settings if isinstance(source, Runtime) else source
        _check_exposure(settings)
        self.settings = settings
        self._runtime = source if isinstance(source, Runtime) else None
        self.hub = Hub(settings, limits=limits)
        self.hub.runtime = self._runtime
        self.app = _build(self.hub, None)
        self._settle_timeout = settle_timeout
        self._settling: asyncio.Task[bool] | None = None
        self._sockets: list[socket.socket] = []
        super().__init__(_config(self.app, settings))

    @property
    def port(self) -> int:
        """The port that is listened on; the one in the settings until it is bound."""
        if self._sockets and self._sockets[0].fileno() >= 0:
            port: int = self._sockets[0].getsockname()[1]
            return port
        return self.settings.server.port

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host = self.settings.server.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def bind(self) -> str:
        """Take the address now and return it as `address` has it. `serve` does it otherwise.

        Raises:
            ConfigurationError: It is in use, or not this machine's.
        """
        if not self._sockets:
            self._sockets = [_listen(self.settings.server.host, self.settings.server.port)]
        return self.address

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the runtime and serve until a signal or `should_exit`."""
        if sockets is None:
            self.bind()
            sockets = self._sockets
        try:
            async with self._open_runtime() as runtime:
                self.hub.runtime = runtime
                await super().serve(sockets)
        finally:
            self.hub.runtime = self._runtime
            for sock in self._sockets:
                sock.close()

    def _open_runtime(self) -> contextlib.AbstractAsyncContextManager[Runtime]:
        if self._runtime is not None:
            return contextlib.nullcontext(self._runtime)
        return open_runtime(self.settings, telemetry=Metrics())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """First signal: drain. Second one: now. Unlike uvicorn's, it is not raised again after a clean end."""
        if self.should_exit:
            self.force_exit = sig == signal.SIGINT or self.force_exit
            settling = self._settling
            if settling is not None:
                # A signal's handler runs between any two steps of the loop, or while it waits.
                settling.get_loop().call_soon_threadsafe(settling.cancel)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new work, tell every client, let running answers end, close the sockets, then uvicorn's part."""
        hub = self.hub
        hub.begin_drain()
        self._settling = asyncio.create_task(hub.runtime.settle(self._settle_timeout), name="duologue-settle")
        await asyncio.wait((self._settling,))
        hub.close_all(*DRAINING)
        await self._until_closed(_GOODBYE_TIMEOUT)
        await super().shutdown(sockets)

    async def _until_closed(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.hub.connections and loop.time() < deadline and not self.force_exit:  # noqa: ASYNC110 - a flag
            await asyncio.sleep(0.02)


def build_server(
    source: Settings | Runtime | None = None, *, limits: WebLimits | None = None
) -> DuologueServer:
    """Build the server that `duologue serve` runs: `build_server(settings).run()`.

    Args:
        source: Settings, a runtime that its owner keeps open, or `None`: settings as `load_settings()` finds them.
        limits: Bounds on connections; `None`: the defaults.

    Raises:
        ConfigurationError: The settings are wrong, or bind another host than loopback without a token.
    """
    return DuologueServer(source or load_settings(), limits=limits)


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        loop="auto",  # uvloop where it is installed
        http=HttpProtocol,
        ws=SocketProtocol,
        ws_max_size=FRAME_BYTES_MAX,
        ws_ping_interval=None,  # ours are messages, which pages can see and which wait behind what was sent
        ws_per_message_deflate=False,
        lifespan="off",  # the runtime is opened round the server, so that its errors reach the caller as they are
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_HANGUP_TIMEOUT,
    )


def _check_exposure(settings: Settings) -> None:
    host = settings.server.host
    if settings.auth.token is None and not is_loopback(host):
        raise ConfigurationError(
            f"[server] host {host!r} can be reached from other machines, which needs a token: "
            "set [auth] token or DUOLOGUE_AUTH_TOKEN, or bind 127.0.0.1"
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"[server] can't listen on {host} port {port}: {error.strerror}") from error
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return sock
