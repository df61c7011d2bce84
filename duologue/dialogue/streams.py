"""Watching from the same process: asynchronous iterators over a dialogue's events."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import TERMINAL, DialogueClosed, DialogueSnapshot, Event, TurnDelta
from duologue.dialogue.requests import Accepted, Ask, Attach
from duologue.messages import DialogueStatus, Position

if TYPE_CHECKING:
    from duologue.dialogue.handle import Dialogue

__all__ = ["EventStream", "TurnStream"]


class EventStream:
    """Everything that happens in a dialogue, in order. Made by `Dialogue.events`.

    One consumer. It never holds the dialogue up: deltas that it is too slow for are merged while they wait,
    so what waits is bounded by the text and the number of other events. It stops watching when it is closed,
    dropped, or used as a context manager and left.
    """

    def __init__(self, dialogue: "Dialogue", after: Position | None, coalesce_ms: int) -> None:
        self._dialogue = dialogue
        self._after = after
        self._attachment = Attachment(dialogue.id, self, coalesce_ms=coalesce_ms)
        self._waiting: deque[Event] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._attached = False
        self._ended = False

    def deliver(self, attachment: Attachment, event: Event) -> None:  # noqa: ARG002 - the viewer's signature
        """Take an event from the dialogue."""
        waiting = self._waiting
        last = waiting[-1] if waiting else None
        if isinstance(event, TurnDelta) and isinstance(last, TurnDelta) and event.offset > 0:
            waiting[-1] = last.merged_with(event)
        else:
            waiting.append(event)
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _start(self) -> None:
        self._attached = True
        try:
            await self._dialogue.call(Attach(self._attachment, self._after))
        except BaseException:
            self.close()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._attached and not self._ended:
            await self._start()
        event = await self._next()
        if isinstance(event, DialogueClosed):
            self.close()
        return event

    async def _next(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None
        return self._waiting.popleft()

    def close(self) -> None:
        """Stop watching. What was delivered already can still be read; then the iteration ends. Idempotent."""
        self._ended = True
        if self._attached:
            self._attached = False
            self._dialogue.detach(self._attachment)
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Breaking out of `async for` drops the iterator; its attachment must not stay behind.
        if self._attached:
            self._attached = False
            self._dialogue.detach(self._attachment)


class TurnStream(EventStream):
    """The events of one turn, from the accepted message to the terminal event. Made by `Dialogue.ask`.

    After a crash of the dialogue's actor a `DialogueSnapshot` comes first, as for every viewer; if the turn
    had ended by then, that snapshot is the last event and holds the answer.
    """

    def __init__(self, dialogue: "Dialogue", request: Ask) -> None:
        super().__init__(dialogue, None, 0)
        self._request = request
        self.accepted: Accepted | None = None
        """The turn's and the message's names; `None` until the message is durable."""

    async def __anext__(self) -> Event:
        if self.accepted is None and not self._ended:
            await self._send()
        while True:
            event = await super().__anext__()
            if self._concerns(event):
                return event

    async def _send(self) -> None:
        await self._start()
        try:
            self.accepted = await self._dialogue.call(self._request)
        except BaseException:
            self._waiting.clear()
            self.close()
            raise
        # What happened before our message is not of this turn; the first snapshot is among it.
        while self._waiting and not self._is_ours(self._waiting[0]):
            self._waiting.popleft()

    def _is_ours(self, event: Event) -> bool:
        assert self.accepted is not None
        return getattr(event, "turn", None) == self.accepted.turn_id

    def _concerns(self, event: Event) -> bool:
        if isinstance(event, DialogueSnapshot):
            if event.snapshot.status is DialogueStatus.IDLE:
                self.close()
            return True
        if isinstance(event, DialogueClosed):
            return True
        if not self._is_ours(event):
            return False
        if isinstance(event, TERMINAL):
            self.close()
        return True
