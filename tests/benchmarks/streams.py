"""What several of these tests need: an upstream in this process, and frames as a server sends them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson

from benchmarks.upstream import Counters, Pacer, Upstream


def chunk_of(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ") and event.endswith(b"\n\n")
    return orjson.loads(event[6:])


def server_frame(payload: bytes, *, opcode: int = 0x1) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


@contextlib.asynccontextmanager
async def running_upstream() -> AsyncIterator[int]:
    """The port of a real upstream."""
    loop = asyncio.get_running_loop()
    pacer, counters = Pacer(loop), Counters()
    connections: list[Upstream] = []

    def connect() -> Upstream:
        connections.append(Upstream(pacer, counters))
        return connections[-1]

    server = await loop.create_server(connect, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.close()
        pacer.close()
        await server.wait_closed()
