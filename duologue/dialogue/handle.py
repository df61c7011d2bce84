"""What callers hold: the plain noun. A `Dialogue` is a name with verbs; its actor may sleep, crash and wake."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import Snapshot
from duologue.dialogue.requests import (
    Accepted,
    Ask,
    CancelTurn,
    Delete,
    Detach,
    Edit,
    GetMessages,
    GetSnapshot,
    MessagePage,
    Regenerate,
)
from duologue.dialogue.streams import EventStream, TurnStream
from duologue.errors import DuologueError, Interrupted
from duologue.messages import DialogueId, Message, MessageId, MessageStatus, OnBusy, Position, TurnId
from duologue.runtime import ActorDied, Outcome, Ref, Request

__all__ = ["Directory", "Dialogue"]

R = TypeVar("R")

_PAGE = 200


class Directory(Protocol):
    """Finds a dialogue's actor."""

    def find(self, dialogue: DialogueId, request: Request[Any] | None = None) -> Ref[Any]:
        """The actor, started if it sleeps. `request` is what it is wanted for.

        Raises:
            Quarantined: It crashed too often.
            Draining: The request is new work and none is taken.
        """
        ...

    def awake(self, dialogue: DialogueId) -> Ref[Any] | None:
        """The actor if it runs."""
        ...

    def forget(self, attachment: Attachment) -> None:
        """Drop an attachment from the registry, whether the actor runs or not."""
        ...


class Dialogue:
    """One dialogue, by name. Cheap to make; holds no state of the dialogue.

    Every method that waits has a deadline of 5 s by default and raises a `DuologueError`: `NotFound` when there
    is no such dialogue, `StoreUnavailable` when its state can't be reached, `CallTimeout` after the deadline,
    `Interrupted` when its actor crashed over the request (send again, with the same `client_message_id`).
    """

    __slots__ = ("_directory", "id")

    def __init__(self, dialogue: DialogueId, directory: Directory) -> None:
        self.id = dialogue
        self._directory = directory

    def __repr__(self) -> str:
        return f"<Dialogue {self.id}>"

    # ── for programs ────────────────────────────────────────────────────────────────────────────────────────

    def request(
        self,
        request: Request[R],
        on_reply: Callable[[Outcome[R]], None],
        *,
        timeout: float | None = 5.0,
    ) -> None:
        """Post a request without waiting; the actor is woken if it sleeps.

        `on_reply` is called exactly once: synchronously inside the actor's reply, so before any event that the
        request causes is delivered (or before this method returns, when the request can't be posted). It must
        neither block nor raise. Requests of one caller are handled in the order they were posted.

        Args:
            request: What is asked.
            on_reply: Gets the answer or the error.
            timeout: Seconds. `None`: as long as it takes. The work is not cancelled by it.
        """
        try:
            ref = self._directory.find(self.id, request)
        except DuologueError as error:
            on_reply(Outcome(error=error))
            return

        def replied(outcome: Outcome[R]) -> None:
            error = outcome.error
            if not isinstance(error, ActorDied):
                on_reply(outcome)
            elif error.reason.clean:
                # It went to sleep (or moved house) between finding and asking: ask the next one.
                self._ask_again(request, on_reply, timeout)
            else:
                on_reply(
                    Outcome(error=Interrupted("The dialogue's actor ended over this request; try again."))
                )

        ref.call_nowait(request, replied, timeout=timeout)

    def _ask_again(
        self, request: Request[R], on_reply: Callable[[Outcome[R]], None], timeout: float | None
    ) -> None:
        try:
            ref = self._directory.find(self.id, request)
        except DuologueError as error:
            on_reply(Outcome(error=error))
            return
        ref.call_nowait(request, on_reply, timeout=timeout)

    async def call(self, request: Request[R], *, timeout: float | None = 5.0) -> R:
        """Post a request and wait for its answer."""
        future: asyncio.Future[Outcome[R]] = asyncio.get_running_loop().create_future()

        def on_reply(outcome: Outcome[R]) -> None:
            if not future.done():
                future.set_result(outcome)

        self.request(request, on_reply, timeout=timeout)
        return (await future).result()

    def detach(self, attachment: Attachment) -> None:
        """Stop delivering to a viewer, at once and for good: it watches again through another attachment.

        Harmless when it is not attached, even while its attaching is under way.
        """
        attachment.left = True
        self._directory.forget(attachment)
        ref = self._directory.awake(self.id)
        if ref is not None:
            ref.cast(Detach(attachment))

    # ── for people ──────────────────────────────────────────────────────────────────────────────────────────

    def ask(
        self, content: str, *, client_message_id: str | None = None, on_busy: OnBusy | str | None = None
    ) -> TurnStream:
        """Say something and iterate over the events of its turn, to the terminal one.

        The message is sent at the first step of the iteration, which raises what `send` would. Leaving the
        iteration early does not stop the turn; `cancel` does.
        """
        policy = None if on_busy is None else OnBusy(on_busy)
        return TurnStream(self, Ask(content, client_message_id, policy))

    def events(self, after: Position | None = None, *, coalesce_ms: int = 0) -> EventStream:
        """Iterate over everything that happens from now on, without an end until the dialogue is closed.

        Args:
            after: A position that is known: what came since is delivered first, or, where that is not
                possible, a `DialogueSnapshot`. `None`: a snapshot first.
            coalesce_ms: Merge window for deltas, one of `attachments.WINDOWS`.
        """
        return EventStream(self, after, coalesce_ms)

    async def send(
        self, content: str, *, client_message_id: str | None = None, on_busy: OnBusy | str | None = None
    ) -> Accepted:
        """Say something and return when it is durable; the answer is for whoever watches."""
        policy = None if on_busy is None else OnBusy(on_busy)
        return await self.call(Ask(content, client_message_id, policy))

    async def cancel(self, turn_id: TurnId | None = None) -> bool:
        """Stop the answer. False when nothing (or another turn than the named one) was open."""
        return await self.call(CancelTurn(turn_id))

    async def regenerate(self) -> Accepted:
        """Have the last user message answered once more."""
        return await self.call(Regenerate())

    async def edit(self, message_id: MessageId, content: str) -> Accepted:
        """Replace a user message and all that follows it, and have the new one answered."""
        return await self.call(Edit(message_id, content))

    async def snapshot(self) -> Snapshot:
        """The dialogue as it stands, with its last 50 messages."""
        return await self.call(GetSnapshot())

    async def messages(self, *, before: str | None = None, limit: int = 50) -> MessagePage:
        """A page of history, newest page first, in order within the page; `limit` is from 1 to 200."""
        return await self.call(GetMessages(before, limit))

    async def history(self) -> list[Message]:
        """All messages that stand, in order: what a model would read. Superseded ones are left out."""
        pages: list[Message] = []
        before: str | None = None
        while True:
            page = await self.messages(before=before, limit=_PAGE)
            pages[:0] = page.messages
            before = page.before
            if before is None:
                return [message for message in pages if message.status is not MessageStatus.SUPERSEDED]

    async def delete(self) -> bool:
        """Forget the dialogue: its turn is stopped, its state removed, its viewers told. False: was not there."""
        return await self.call(Delete())
