"""A whole server on real sockets: the real runtime on the store in memory, with a scripted model."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgpack
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import ClientConnection, connect

from duologue.app import build_server, create_app
from duologue.assembly import Runtime, open_runtime
from duologue.config.loading import load_settings
from duologue.config.settings import Settings
from duologue.dialogue.environment import DialogueLimits
from duologue.providers.port import CompletionRequest, ProviderEvent
from duologue.providers.registry import Providers
from duologue.providers.scripted import End, Say, ScriptedProvider
from duologue.providers.service import FailoverServices
from duologue.store.memory import MemoryStore
from duologue.store.port import Write
from duologue.telemetry import Metrics
from duologue.web.hub import Hub, WebLimits

FEATURE = "student_dialogue"
TOKEN = "correct-horse-battery"


async def wait_until(holds: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Look again and again, where there is nothing to wait on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not holds():
        assert loop.time() < deadline, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.005)


class Stage:
    """The provider of the only model: plays whatever was put on last."""

    def __init__(self) -> None:
        self.play(Say("One two three."), End())

    def play(self, *steps: Any) -> None:
        self.playing = ScriptedProvider(steps)

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        return self.playing.stream(request)

    async def close(self) -> None:
        return None


class GatedStore(MemoryStore):
    """A store whose writes wait while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.hangs = False

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        await super().ping()

    async def append(self, write: Write) -> int:
        await self.gate.wait()
        return await super().append(write)


def settings_of(**tables: Any) -> Settings:
    return load_settings(
        environ={},
        overrides={
            "server": {"port": 0},
            "store": {"url": "memory://"},
            "models": {"m": {"provider": "scripted"}},
            "services": {"standard": {"primary": "m"}},
            "features": {FEATURE: {"service": "standard"}},
            **tables,
        },
    )


class Place:
    """A server that runs, and what a test may want to touch behind it."""

    def __init__(self, url: str, runtime: Runtime, hub: Hub, store: GatedStore, stage: Stage) -> None:
        self.url = url
        self.runtime = runtime
        self.hub = hub
        self.store = store
        self.stage = stage
        self.server: uvicorn.Server | None = None

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/socket"

    def plays(self, *steps: Any) -> None:
        self.stage.play(*steps)

    def says(self, text: str) -> None:
        self.stage.play(Say(text), End())

    def http(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=10, **options)

    @asynccontextmanager
    async def socket(self, kind: str = "json", *, query: str = "", **options: Any) -> AsyncIterator["Client"]:
        options.setdefault("subprotocols", [f"duologue.v1.{kind}"] if kind else None)
        async with connect(
            self.socket_url + query,
            compression=None,
            proxy=None,
            ping_interval=None,
            max_queue=None,
            **options,
        ) as ws:
            yield Client(ws, binary=kind == "msgpack")


class Client:
    """A client of the wire that trusts nothing but the bytes."""

    def __init__(self, ws: ClientConnection, *, binary: bool) -> None:
        self.ws = ws
        self.binary = binary
        self.log: list[dict[str, Any]] = []
        """Everything that came, in order."""
        self._read = 0
        self._last_id = 0

    async def send(self, **command: Any) -> int:
        self._last_id += 1
        command = {"id": self._last_id, **command}
        await self.ws.send(msgpack.packb(command) if self.binary else json.dumps(command))
        return int(command["id"])

    async def receive(self) -> dict[str, Any]:
        data = await asyncio.wait_for(self.ws.recv(), 10)
        assert isinstance(data, bytes) == self.binary
        message = msgpack.unpackb(data) if self.binary else json.loads(data)
        self.log.append(message)
        return message

    async def answer(self, re: int | None) -> dict[str, Any]:
        """The answer to a command, whatever comes before it."""
        for message in self.log:
            if "re" in message and message["re"] == re and not message.get("taken"):
                message["taken"] = True
                return message
        while True:
            message = await self.receive()
            if "re" in message and message["re"] == re:
                message["taken"] = True
                return message

    async def do(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return its `ok`."""
        answer = await self.answer(await self.send(op=op, **fields))
        assert "ok" in answer, answer
        ok: dict[str, Any] = answer["ok"]
        return ok

    async def refused(self, op: str, **fields: Any) -> str:
        """Send a command and return the code of its error."""
        answer = await self.answer(await self.send(op=op, **fields))
        assert set(answer["error"]) >= {"code", "message", "retryable"}, answer
        return str(answer["error"]["code"])

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of this name that was not returned before."""
        while True:
            while self._read < len(self.log):
                message = self.log[self._read]
                self._read += 1
                if message.get("event") == name:
                    return message
            await self.receive()

    def events(self, dialogue: str | None = None) -> list[dict[str, Any]]:
        return [m for m in self.log if "event" in m and (dialogue is None or m.get("dialogue") == dialogue)]

    async def opened(self, dialogue: str = "d1", **attach: Any) -> dict[str, Any]:
        await self.do("open", dialogue=dialogue, feature=FEATURE)
        return await self.do("attach", dialogue=dialogue, **attach)

    async def closed(self) -> int:
        """Read to the end and return the close code."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(10):
                while True:
                    await self.receive()
        await asyncio.wait_for(self.ws.wait_closed(), 10)
        assert self.ws.close_code is not None
        return self.ws.close_code


def text_of(events: Sequence[dict[str, Any]]) -> str:
    """The answer as the deltas give it, each checked for its offset."""
    text = ""
    for event in events:
        if event["event"] == "turn.delta":
            assert event["offset"] == len(text), "a delta that does not follow"
            text += event["text"]
    return text


def check_numbers(events: Sequence[dict[str, Any]]) -> None:
    """No hole, no double, no reorder."""
    last: int | None = None
    for event in events:
        if event["event"] == "dialogue.snapshot":
            last = event["seq"]
        elif "seq" in event and event["event"] != "dialogue.closed":
            first = event.get("first_seq", event["seq"])
            assert last is None or first == last + 1, (last, event)
            last = event["seq"]


@asynccontextmanager
async def place(
    *,
    foreign: bool = False,
    mounted: str = "",
    limits: WebLimits | None = None,
    dialogue_limits: DialogueLimits | None = None,
    tables: Mapping[str, Any] | None = None,
    **more_tables: Any,
) -> AsyncIterator[Place]:
    """Run a server on a free port.

    Args:
        foreign: Under a plain uvicorn, as anybody would run the application, instead of our own.
        mounted: Path that the application is mounted under in another one.
    """
    settings = settings_of(**{**(tables or {}), **more_tables})
    stage, store = Stage(), GatedStore()
    providers = Providers(settings.models, environ={}, factories={"scripted": lambda *_: stage})
    metrics = Metrics()
    async with open_runtime(
        settings,
        store=store,
        services=FailoverServices(settings, providers, metrics),
        telemetry=metrics,
        limits=dialogue_limits or DialogueLimits(linger=0.01),
    ) as runtime:
        server: uvicorn.Server
        if foreign or mounted:
            inner = create_app(runtime, limits=limits)
            hub: Hub = inner.state.hub
            app = Starlette(routes=[Mount(mounted, inner)]) if mounted else inner
            server = uvicorn.Server(
                uvicorn.Config(app, ws="websockets-sansio", http="h11", lifespan="off", log_config=None)
            )
        else:
            server = build_server(runtime, limits=limits)
            hub = server.hub
        sock = socket.create_server(("127.0.0.1", 0))
        here = Place(f"http://127.0.0.1:{sock.getsockname()[1]}{mounted}", runtime, hub, store, stage)
        here.server = server
        async with _serving(server, sock):
            yield here


@asynccontextmanager
async def _serving(server: uvicorn.Server, sock: socket.socket) -> AsyncIterator[None]:
    """uvicorn without its main loop, whose shutdown would cost half a second for each test."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[sock])
    await server.on_tick(0)
    try:
        yield
    finally:
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        state = server.server_state
        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: not state.connections and not state.tasks, "connections end")
