"""A server of real sockets that does what a test tells it, frame by frame."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

EPOCH = "e1"


class Peer:
    """The server's end of one socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.msgpack = socket.subprotocol == "duologue.v1.msgpack"

    async def receive(self) -> dict[str, Any]:
        data = await self.socket.recv()
        return msgpack.unpackb(data) if self.msgpack else json.loads(data)

    async def expect(self, op: str) -> dict[str, Any]:
        command = await self.receive()
        assert command["op"] == op, command
        return command

    async def send(self, frame: dict[str, Any]) -> None:
        await self.socket.send(
            msgpack.packb(frame) if self.msgpack else json.dumps(frame, ensure_ascii=False)
        )

    async def ok(self, command: dict[str, Any], **fields: Any) -> None:
        await self.send({"re": command["id"], "ok": fields})

    async def refuse(self, command: dict[str, Any], code: str, **more: Any) -> None:
        error = {"code": code, "message": f"no: {code}", "retryable": False, **more}
        await self.send({"re": command["id"], "error": error})

    async def event(
        self, name: str, seq: int, *, epoch: str = EPOCH, dialogue: str = "d1", **fields: Any
    ) -> None:
        await self.send({"event": name, "dialogue": dialogue, "epoch": epoch, "seq": seq, **fields})

    async def delta(self, seq: int, text: str = "x", **fields: Any) -> None:
        await self.event("turn.delta", seq, turn="t1", attempt=1, offset=0, text=text, **fields)

    async def snapshot(self, seq: int, *, epoch: str = EPOCH, **fields: Any) -> None:
        snapshot = {
            "id": "d1",
            "epoch": epoch,
            "seq": seq,
            "feature": "student_dialogue",
            "section": None,
            "account": None,
            "status": "idle",
            "messages": [],
            "before": None,
            "turn": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
            **fields,
        }
        await self.event("dialogue.snapshot", seq, epoch=epoch, snapshot=snapshot)

    async def attached(self, *, resumed: bool = True, seq: int = 0) -> dict[str, Any]:
        """Expect an attach and agree to it."""
        command = await self.expect("attach")
        await self.ok(command, resumed=resumed, epoch=EPOCH, seq=seq)
        return command

    async def opened(self, dialogue: str = "d1", seq: int = 0) -> dict[str, Any]:
        """Expect an open and agree to it."""
        command = await self.expect("open")
        await self.ok(command, dialogue=dialogue, epoch=EPOCH, seq=seq, created=True)
        return command

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.socket.close(code, reason)

    def abort(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class WireServer:
    def __init__(self, scripts: tuple[Script, ...], tickets: int) -> None:
        self._scripts = list(scripts)
        self.url = ""
        self.failures: list[BaseException] = []
        self.sockets = 0
        self.handshakes = 0
        # Handshakes to refuse with 503 before the first one that is let in.
        self.refusals = tickets

    async def handle(self, socket: ServerConnection) -> None:
        script = self._scripts[min(self.sockets, len(self._scripts) - 1)]
        self.sockets += 1
        try:
            await script(Peer(socket))
            await socket.wait_closed()  # the script has said all; the client leaves
        except (ConnectionClosed, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.failures.append(error)
            await socket.close(4999, f"{type(error).__name__}")

    def admit(self, connection: ServerConnection, request: Any) -> Any:
        self.handshakes += 1
        if self.refusals > 0:
            self.refusals -= 1
            return connection.respond(503, "not yet\n")
        return None


@asynccontextmanager
async def wire_server(
    *scripts: Script, refusals: int = 0, subprotocols: bool = True
) -> AsyncIterator[WireServer]:
    """Run one script for each socket, in order; the last one for all that come later."""
    server = WireServer(scripts, refusals)
    names: Any = ["duologue.v1.json", "duologue.v1.msgpack"] if subprotocols else None
    async with serve(
        server.handle, "127.0.0.1", 0, subprotocols=names, compression=None, process_request=server.admit
    ) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.url = f"ws://127.0.0.1:{port}/v1/socket"
        yield server
    assert server.failures == []
