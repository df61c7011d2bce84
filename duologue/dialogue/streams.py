"""Watching from the same process: asynchronous iterators over a dialogue's events."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import TERMINAL, DialogueClosed, DialogueSnapshot, Event, Snapshot, TurnDelta
from duologue.dialogue.requests import Accepted, Ask, Attach
from duologue.messages import DialogueStatus, Position, Role

if TYPE_CHECKING:
    from duologue.dialogue.handle import Dialogue

__all__ = ["EventStream", "TurnStream"]


class _Inbox:
    """The viewer behind a stream. Apart from it, so that an attachment does not keep a dropped stream alive."""

    __slots__ = ("_wakeup", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Event] = deque()
        self._wakeup: asyncio.Future[None] | None = None

    def deliver(self, attachment: Attachment, event: Event) -> None:  # noqa: ARG002 - the viewer's signature
        """Take an event. A delta that follows a waiting one is merged into it."""
        last = self.waiting[-1] if self.waiting else None
        if isinstance(event, TurnDelta) and isinstance(last, TurnDelta) and event.offset > 0:
            self.waiting[-1] = last.merged_with(event)
        else:
            self.waiting.append(event)
        self.wake()

    def wake(self) -> None:
        """Let the consumer look again."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self) -> None:
        """Return when there is something to look at."""
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None


class EventStream:
    """Everything that happens in a dialogue, in order. Made by `Dialogue.events`.

    One consumer. It never holds the dialogue up: deltas that it is too slow for are merged while they wait,
    so what waits is bounded by the text and the number of other events. It stops watching when it is closed,
    dropped, or used as a context manager and left.
    """

    def __init__(self, dialogue: "Dialogue", after: Position | None, coalesce_ms: int) -> None:
        self._dialogue = dialogue
        self._after = after
        self._inbox = _Inbox()
        self._attachment = Attachment(dialogue.id, self._inbox, coalesce_ms=coalesce_ms)
        self._attached = False
        self._ended = False

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
        while not self._inbox.waiting:
            if self._ended:
                raise StopAsyncIteration
            await self._inbox.wait()
        event = self._inbox.waiting.popleft()
        if isinstance(event, DialogueClosed):
            self.close()
        return event

    def close(self) -> None:
        """Stop watching. What was delivered already can still be read; then the iteration ends. Idempotent."""
        self._ended = True
        self._detach()
        self._inbox.wake()

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def _detach(self) -> None:
        if self._attached:
            self._attached = False
            self._dialogue.detach(self._attachment)

    def __del__(self) -> None:
        # Breaking out of `async for` drops the iterator; its attachment must not stay behind.
        self._detach()


class TurnStream(EventStream):
    """The events of one turn, from the accepted message to the terminal event. Made by `Dialogue.ask`.

    After a crash of the dialogue's actor, or for a message that was sent before under the same
    `client_message_id`, a `DialogueSnapshot` comes first, as for every viewer; if the turn had ended by then,
    that snapshot is the last event and holds the answer.
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
            self._inbox.waiting.clear()
            self.close()
            raise
        # What happened before our message is not of this turn; the first snapshot is among it. Only when the
        # message was there already, sent before by its name, is the snapshot what tells how it fared.
        waiting = self._inbox.waiting
        while waiting and not self._is_ours(waiting[0]) and not self._holds_ours(waiting[0]):
            waiting.popleft()

    def _holds_ours(self, event: Event) -> bool:
        assert self.accepted is not None
        at = self.accepted
        return isinstance(event, DialogueSnapshot) and (at.epoch != event.epoch or at.seq <= event.seq)

    def _is_ours(self, event: Event) -> bool:
        assert self.accepted is not None
        return getattr(event, "turn", None) == self.accepted.turn_id

    def _is_over(self, snapshot: Snapshot) -> bool:
        assert self.accepted is not None
        ours, live = self.accepted.turn_id, snapshot.turn
        if live is not None and live.id == ours:
            return False
        answered = any(m.turn_id == ours and m.role is Role.ASSISTANT for m in snapshot.messages)
        return answered or snapshot.status is DialogueStatus.IDLE

    def _concerns(self, event: Event) -> bool:
        if isinstance(event, DialogueSnapshot):
            if self._is_over(event.snapshot):
                self.close()
            return True
        if isinstance(event, DialogueClosed):
            return True
        if not self._is_ours(event):
            return False
        if isinstance(event, TERMINAL):
            self.close()
        return True
