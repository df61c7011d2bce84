"""A dialogue's events as a stream over plain HTTP (server-sent events), resumable by `Last-Event-ID`.

For where a WebSocket does not get through. Same events, same order, same bound on what waits; the client
that is too slow loses its connection and comes back with the last id that it has.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import DialogueClosed, Event
from duologue.dialogue.requests import Attach
from duologue.errors import TooMany
from duologue.messages import DialogueId, Epoch, Position
from duologue.web.codec import JSON
from duologue.web.hub import Hub
from duologue.web.outbox import Outbox

__all__ = ["EventStreamResponse", "position_of"]

_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # asks nginx not to collect events
}
_CHUNK_BYTES = 16_384
_KEEP_ALIVE = b": keep-alive\n\n"


def position_of(event_id: str) -> Position | None:
    """Read an event's id. `None`: not one of ours, and the stream begins with a snapshot."""
    epoch, colon, number = event_id.rpartition(":")
    if not colon or not epoch or not (number.isascii() and number.isdigit()) or len(number) > 16:
        return None
    return Position(Epoch(epoch), int(number))


def _encode(event: Event) -> bytes:
    return event.encoded("sse", _encode_now)


def _encode_now(event: Event) -> bytes:
    # JSON has no line break in it, so one data line holds it.
    return b"id: %b:%d\ndata: %b\n\n" % (event.epoch.encode(), event.seq, JSON.event(event))


class EventStreamResponse(Response):
    """Attaches, streams until the client leaves, and detaches.

    Args:
        hub: What all connections share.
        dialogue: What is watched.
        after: What the client has seen; `None`: nothing.
        coalesce_ms: Merge window for deltas.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, dialogue: DialogueId, after: Position | None, coalesce_ms: int) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._after = after
        self._attachment = Attachment(dialogue, self, coalesce_ms=coalesce_ms)
        self._outbox = Outbox(_encode, bytes_max=hub.settings.limits.outbox_bytes_max)
        self._wake = asyncio.Event()
        self._ended = False

    # ── the viewer ──────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, attachment: Attachment, event: Event) -> None:  # noqa: ARG002 - the viewer's signature
        """Take an event from the dialogue."""
        if self._ended:
            return
        if not self._outbox.put_event(event):
            self.close()
        if isinstance(event, DialogueClosed):
            self._ended = True  # what waits is still written
        self._wake.set()

    def announce_drain(self, reconnect_after_ms: int) -> None:
        """Tell the client to come back."""
        self._put({"event": "server.draining", "reconnect_after_ms": reconnect_after_ms})

    def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002 - HTTP has no close codes
        """End the stream; what waits is dropped, for the client comes back for it."""
        self._ended = True
        self._outbox.clear()
        self._wake.set()

    def _put(self, value: Mapping[str, Any]) -> None:
        if not self._ended and self._outbox.put_bytes(b"data: %b\n\n" % orjson.dumps(value)):
            self._wake.set()

    # ── the response ────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        hub = self._hub
        hub.check_open()
        dialogue = hub.runtime.dialogue(self._attachment.dialogue)
        if hub.streams_open >= hub.limits.streams_max:
            raise TooMany("too many event streams are open; use the socket")
        hub.streams_open += 1
        hub.connections.add(self)
        try:
            await dialogue.call(Attach(self._attachment, self._after))
            await self._stream(receive, send)
        finally:
            hub.streams_open -= 1
            hub.connections.discard(self)
            dialogue.detach(self._attachment)

    async def _stream(self, receive: Receive, send: Send) -> None:
        writer = asyncio.current_task()
        assert writer is not None
        watcher = asyncio.create_task(self._watch(receive), name="duologue-event-stream-watcher")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while True:
                await self._write_all(send)
                if self._ended:
                    break
                if not await self._wait():
                    await send({"type": "http.response.body", "body": _KEEP_ALIVE, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watcher.cancel()

    async def _write_all(self, send: Send) -> None:
        self._wake.clear()
        while self._outbox:
            chunk = bytearray()
            while self._outbox and len(chunk) < _CHUNK_BYTES:
                chunk += self._outbox.take()
            await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})

    async def _wait(self) -> bool:
        """Until there is something to do. False when nothing was for as long as proxies are patient."""
        try:
            async with asyncio.timeout(self._hub.limits.keep_alive):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.close()
