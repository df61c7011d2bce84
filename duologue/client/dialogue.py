"""What a client holds of one dialogue."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from duologue.client.events import TERMINAL, Accepted, Event, Message, MessagePage, Snapshot
from duologue.client.rules import Numbering
from duologue.client.stream import Stream
from duologue.messages import DialogueId, Epoch, Position

if TYPE_CHECKING:
    from duologue.client.session import Client

__all__ = ["Dialogue", "OnBusyName"]

OnBusyName = Literal["reject", "queue", "interrupt", "merge"]


class Dialogue:
    """A dialogue on a server. Made by `Client.open` or `Client.dialogue`; cheap, and holds nothing open.

    Every command waits for a connection when there is none, up to its `timeout` in seconds (`None`: for
    ever). All raise `CallTimeout` then, and the server's typed error when it refuses.
    """

    def __init__(
        self, client: "Client", dialogue: DialogueId, position: Position | None, *, created: bool
    ) -> None:
        self._client = client
        self.id = dialogue
        self.position = position
        """Up to where the events were read; where the dialogue stood when it was opened; `None`: unknown."""
        self.created = created
        """Whether our `open` made it."""

    def __repr__(self) -> str:
        return f"<Dialogue {self.id} at {self.position}>"

    # ── talking ─────────────────────────────────────────────────────────────────────────────────────────────

    async def send(
        self,
        content: str,
        *,
        client_message_id: str | None = None,
        on_busy: OnBusyName | None = None,
        timeout: float | None = 30.0,
    ) -> Accepted:
        """Say something. Returns when the message is durable; the answer comes as events.

        Sent again after a lost connection under the same `client_message_id`, so it is accepted once.

        Args:
            content: At most 32 KiB of UTF-8, unless the server is configured otherwise.
            client_message_id: The message's own name; `None`: a random one.
            on_busy: What to do when an answer is streaming; `None`: what the feature says.
            timeout: Seconds, reconnecting included. After `CallTimeout` the message may or may not have been
                accepted: sending it again with the same `client_message_id` finds out, and does no harm.
        """
        fields = {
            "dialogue": self.id,
            "content": content,
            "client_message_id": client_message_id or self._client.new_id(),
            "on_busy": on_busy,
        }
        return cast("Accepted", await self._client.command("send", fields, repeatable=True, timeout=timeout))

    async def ask(
        self,
        content: str,
        *,
        client_message_id: str | None = None,
        on_busy: OnBusyName | None = None,
        timeout: float | None = 30.0,
    ) -> AsyncIterator[Event]:
        """Say something and iterate over the events of its turn, up to the terminal one.

        Uses the dialogue's one stream of events, like `events`. Leaving early does not stop the turn:
        `cancel` does. Where events could not be replayed after a reconnect, `dialogue.snapshot` is among
        them; the iteration also ends when that shows that the turn is over.

        Args:
            content: As for `send`.
            client_message_id: As for `send`.
            on_busy: As for `send`.
            timeout: Seconds until the message is accepted; the answer itself has no limit here.
        """
        stream = self._client.claim_stream(self.id)
        try:
            await self._attach(stream, self.position, 0)
            accepted = await self.send(
                content, client_message_id=client_message_id, on_busy=on_busy, timeout=timeout
            )
            async for event in self._read(stream, self.position, 0):
                if event["event"] == "dialogue.snapshot":
                    if not _knows(event["snapshot"], accepted):
                        continue  # from before our message
                    yield event
                    if _is_over(event["snapshot"], accepted["turn_id"]):
                        return
                elif event.get("turn") == accepted["turn_id"]:
                    yield event
                    if event["event"] in TERMINAL:
                        return
                elif event["event"] == "dialogue.closed":
                    yield event
        finally:
            self._client.release_stream(self.id, stream)

    async def cancel(self, turn: str | None = None, *, timeout: float | None = 5.0) -> bool:
        """Stop the answer. False when nothing, or another turn than the named one, was open.

        Args:
            turn: Which turn; `None`: whichever is open. Only with a name is the command repeated after a lost
                connection, since otherwise it could hit a later turn: then `ConnectionFailed` is raised.
            timeout: Seconds.
        """
        fields = {"dialogue": self.id, "turn": turn}
        answer = await self._client.command("cancel", fields, repeatable=turn is not None, timeout=timeout)
        return bool(answer["cancelled"])

    async def regenerate(self, *, timeout: float | None = 30.0) -> Accepted:
        """Have the last message answered once more. Not repeated after a lost connection."""
        answer = await self._client.command(
            "regenerate", {"dialogue": self.id}, repeatable=False, timeout=timeout
        )
        return cast("Accepted", answer)

    async def edit(self, message: str, content: str, *, timeout: float | None = 30.0) -> Accepted:
        """Replace a user message and have it answered. Not repeated after a lost connection.

        Args:
            message: The id of the message.
            content: What to say instead.
            timeout: Seconds.
        """
        fields = {"dialogue": self.id, "message": message, "content": content}
        return cast("Accepted", await self._client.command("edit", fields, repeatable=False, timeout=timeout))

    # ── watching ────────────────────────────────────────────────────────────────────────────────────────────

    async def events(
        self, after: Position | None = None, *, coalesce_ms: Literal[0, 40, 100, 500] = 0
    ) -> AsyncIterator[Event]:
        """Watch: every event in order, without a hole or a double, across lost connections, for ever.

        It ends by itself after `dialogue.closed`. One stream per dialogue and client: a later `events` or
        `ask` of the same dialogue takes over, and this one raises `Conflict`.

        Args:
            after: What is known already, such as `dialogue.position`; `None`: a snapshot comes first. One
                also comes when the server can't fill the gap exactly.
            coalesce_ms: Milliseconds within which the server may merge deltas.

        Raises:
            NumberingBroken: An event is not the one that must come next.
            ConnectionClosed: The client was closed, or the server does not want it back.
        """
        stream = self._client.claim_stream(self.id)
        try:
            async for event in self._read(stream, after, coalesce_ms):
                yield event
        finally:
            self._client.release_stream(self.id, stream)

    async def _read(self, stream: Stream, after: Position | None, coalesce_ms: int) -> AsyncIterator[Event]:
        numbering = Numbering(after)
        while True:
            event = await stream.next()
            if event is None:
                await self._attach(stream, numbering.position, coalesce_ms)
                continue
            numbering.take(event)
            self.position = numbering.position
            yield event
            if event["event"] == "dialogue.closed":
                return

    async def _attach(self, stream: Stream, after: Position | None, coalesce_ms: int) -> None:
        fields = {
            "dialogue": self.id,
            "after": None if after is None else {"epoch": after.epoch, "seq": after.seq},
            "coalesce_ms": coalesce_ms or None,
        }
        await self._client.attach(fields, stream.attach)

    # ── reading over HTTP ───────────────────────────────────────────────────────────────────────────────────

    async def snapshot(self) -> Snapshot:
        """The dialogue as it stands."""
        return cast("Snapshot", await self._http("GET", ""))

    async def messages(self, *, before: str | None = None, limit: int = 50) -> MessagePage:
        """One page of history.

        Args:
            before: The cursor of an earlier page; `None`: the newest page.
            limit: 1 to 200 messages.
        """
        return cast("MessagePage", await self._http("GET", "/messages", {"before": before, "limit": limit}))

    async def history(self, *, limit: int | None = 1000) -> list[Message]:
        """The newest messages that stand, in order, over as many pages as it takes.

        Superseded ones are left out; `messages` has them too.

        Args:
            limit: At most so many; `None`: all.
        """
        found: list[Message] = []
        before: str | None = None
        while limit is None or len(found) < limit:
            page = await self.messages(before=before, limit=200)
            found[:0] = [message for message in page["messages"] if message["status"] != "superseded"]
            before = page["before"]
            if before is None:
                break
        return found if limit is None else found[-limit:]

    async def delete(self) -> None:
        """Forget the dialogue: its turn is stopped and its state is gone from the store."""
        await self._http("DELETE", "")

    async def _http(self, method: str, path: str, params: dict[str, Any] | None = None) -> Any:
        return await self._client.http.request(
            method, f"/v1/dialogues/{quote(self.id, safe='')}{path}", params
        )


def position_of(answer: dict[str, Any]) -> Position:
    """Where an answer says that the dialogue stands."""
    return Position(Epoch(answer["epoch"]), int(answer["seq"]))


def _knows(snapshot: Snapshot, accepted: Accepted) -> bool:
    """Whether the snapshot was taken after the message was accepted."""
    if snapshot["epoch"] == accepted["epoch"]:
        return snapshot["seq"] >= accepted["seq"]
    return any(message["id"] == accepted["message_id"] for message in snapshot["messages"])


def _is_over(snapshot: Snapshot, turn: str) -> bool:
    if snapshot["turn"] is not None and snapshot["turn"]["id"] == turn:
        return False
    if snapshot["status"] == "idle":
        return True
    return any(
        message["turn_id"] == turn and message["role"] == "assistant" for message in snapshot["messages"]
    )
