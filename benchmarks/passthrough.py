"""The baseline: what one would write by hand to put a model's tokens on a WebSocket, and write well.

One Starlette handler over the same HTTP client, server, loop and JSON library that Duologue uses. One frame
for each token. No actor, no store, no failover, no second viewer, nothing to resume.

A message `{"path": "/flood/100", "content": "..."}` is answered by `{"text": "..."}` frames and one `{"done": ...}`.
Run as `python -m benchmarks.passthrough http://127.0.0.1:PORT`; it prints the port that it listens on.
"""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import httpx
import orjson
import uvicorn
from httpx_aiohttp import AiohttpTransport
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["create_passthrough"]


def create_passthrough(upstream: str) -> Starlette:
    """The application. `upstream` is the base URL of an OpenAI-compatible server."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # limit=0: the pool does not limit; aiohttp's own default of 100 would queue half of 200 dialogues.
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        transport = AiohttpTransport(client=session, trust_env=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=upstream, timeout=60.0, trust_env=False
        ) as client:
            app.state.client = client
            yield

    async def relay(websocket: WebSocket) -> None:
        await websocket.accept()
        client: httpx.AsyncClient = websocket.app.state.client
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                asked = orjson.loads(await websocket.receive_text())
                await _relay_answer(client, websocket, asked["path"], asked["content"])

    return Starlette(routes=[WebSocketRoute("/relay", relay)], lifespan=lifespan)


async def _relay_answer(client: httpx.AsyncClient, websocket: WebSocket, path: str, content: str) -> None:
    request = {
        "model": "bench",
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    finish = None
    async with client.stream(
        "POST",
        f"{path}/v1/chat/completions",
        content=orjson.dumps(request),
        headers={"content-type": "application/json"},
    ) as response:
        response.raise_for_status()
        rest = b""
        async for data in response.aiter_raw():
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                if not event.startswith(b"data: ") or event == b"data: [DONE]":
                    continue
                choices = orjson.loads(event[6:])["choices"]
                if not choices:
                    continue
                text = choices[0]["delta"].get("content")
                if text:
                    await websocket.send_text(orjson.dumps({"text": text}).decode())
                finish = choices[0]["finish_reason"] or finish
    await websocket.send_text(orjson.dumps({"done": finish}).decode())


def _serve(upstream: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        create_passthrough(upstream),
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve(sys.argv[1])
