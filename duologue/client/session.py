"""The client: any number of dialogues on one socket that comes back by itself."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Literal, Self, cast

from duologue.client.dialogue import Dialogue, position_of
from duologue.client.errors import ConnectionFailed
from duologue.client.events import DialoguePage, Event
from duologue.client.http import Http
from duologue.client.keeper import Connection, Keeper, Waits, is_loopback
from duologue.client.link import LinkLost
from duologue.client.rules import Backoff
from duologue.client.stream import Stream
from duologue.client.wire import Format, Frame, http_url, socket_url
from duologue.errors import CallTimeout, Conflict, Draining, DuologueError, FrameTooLarge
from duologue.messages import DialogueId

__all__ = ["Client", "connect"]


def _random_id() -> str:
    return secrets.token_hex(16)


def connect(
    url: str = "ws://127.0.0.1:8400/v1/socket",
    *,
    token: str | None = None,
    format: Format = "msgpack",  # noqa: A002 - the word that the contract uses
    timeout: float = 10.0,
    buffer_max: int = 1024,
    on_connection: Callable[[Connection], None] | None = None,
    backoff: Backoff | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    fraction: Callable[[], float] = random.random,
    new_id: Callable[[], str] = _random_id,
) -> "Client":
    """Make a client of the server at `url`; use it with `async with`.

    Entering connects and authenticates, once: what fails then is raised. A connection that is lost later is
    made again, for as long as the client is open; dialogues resume where they were.

    Args:
        url: The socket's address, or the server's HTTP address.
        token: Proves who we are, where the server wants it.
        format: How frames are written.
        timeout: Seconds for one attempt to connect and authenticate, and for one HTTP request.
        buffer_max: Events of one dialogue that may wait to be read.
        on_connection: Told of each loss and each return. Must return at once and must not raise.
        backoff: How long to wait between attempts; `None`: full jitter from 0.25 s to 10 s.
        sleep: Waits; passed in by tests.
        fraction: Random numbers in [0, 1) for the backoff.
        new_id: Makes `client_message_id`s.

    Raises:
        BadRequest: `url` is no server's address.
    """
    return Client(
        url,
        token=token,
        wire_format=format,
        buffer_max=buffer_max,
        on_connection=on_connection,
        waits=Waits(backoff or Backoff(), sleep, fraction, timeout),
        new_id=new_id,
    )


class Client:
    """A connection that lasts. Made by `connect`; used from one event loop."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        wire_format: Format,
        buffer_max: int,
        on_connection: Callable[[Connection], None] | None,
        waits: Waits,
        new_id: Callable[[], str],
    ) -> None:
        self.new_id = new_id
        """Makes a random name."""
        address = socket_url(url)
        self.http = Http(http_url(url), token=token, timeout=waits.timeout, direct=is_loopback(address))
        """The HTTP half of the contract."""
        self._buffer_max = buffer_max
        self._waits = waits
        # Who reads which dialogue's events; at most one each, since an event names its dialogue alone.
        self._streams: dict[str, Stream] = {}
        self._keeper = Keeper(
            address,
            token=token,
            wire_format=wire_format,
            waits=waits,
            on_event=self._take,
            on_lost=self._lose,
            on_end=self._end,
            on_connection=on_connection,
        )

    async def __aenter__(self) -> Self:
        await self._keeper.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether commands go out now."""
        return self._keeper.current is not None

    async def close(self) -> None:
        """Close the socket. Turns go on at the server; who waits here gets `ConnectionClosed`. Idempotent."""
        await self._keeper.close()
        await self.http.close()

    # ── dialogues ───────────────────────────────────────────────────────────────────────────────────────────

    async def open(
        self,
        dialogue: str | None = None,
        *,
        feature: str,
        section: str | None = None,
        account: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = 30.0,
    ) -> Dialogue:
        """Create a dialogue, or find the one that was opened with the same words.

        Args:
            dialogue: Its name, where the server lets clients choose; `None`: the server makes a random one,
                and a lost connection is `ConnectionFailed`, since a second dialogue could come of it.
            feature: What it is for, as the server's configuration names it.
            section: Whose section's override applies.
            account: Whose account's choice applies.
            system_prompt: Used instead of the feature's own.
            metadata: Kept with it, shown in lists.
            timeout: Seconds, reconnecting included.

        Raises:
            Conflict: It was opened with other words.
            FeatureNotConfigured: The feature resolves to no model.
        """
        fields = {
            "dialogue": dialogue,
            "feature": feature,
            "section": section,
            "account": account,
            "system_prompt": system_prompt,
            "metadata": None if metadata is None else dict(metadata),
        }
        answer = await self.command("open", fields, repeatable=dialogue is not None, timeout=timeout)
        name = DialogueId(answer["dialogue"])
        return Dialogue(self, name, position_of(answer), created=bool(answer.get("created")))

    def dialogue(self, dialogue: str) -> Dialogue:
        """A handle of a dialogue that somebody opened. Nothing is looked up or checked."""
        return Dialogue(self, DialogueId(dialogue), None, created=False)

    async def list_dialogues(
        self,
        *,
        status: Literal["idle", "generating"] | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> DialoguePage:
        """Dialogues, the newest first.

        Args:
            status: Only these; `None`: all.
            before: The cursor of an earlier page.
            limit: How many at most; `None`: as many as the server likes.
        """
        params = {"status": status, "before": before, "limit": limit}
        return cast("DialoguePage", await self.http.request("GET", "/v1/dialogues", params))

    # ── for Dialogue ────────────────────────────────────────────────────────────────────────────────────────

    async def command(self, op: str, fields: Frame, *, repeatable: bool, timeout: float | None) -> Frame:
        """Send a command, again on the next socket when this one is lost, and return its answer.

        Args:
            op: Which command.
            fields: Its fields.
            repeatable: Whether doing it twice is the same as doing it once.
            timeout: Seconds for all of it; `None`: for ever.

        Raises:
            CallTimeout: No answer in time; it may or may not have been done.
            ConnectionFailed: Not repeatable, and the connection was lost before the answer.
            DuologueError: The server's own answer.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await self._keeper.link()
                    try:
                        return await link.request(op, fields)
                    except Draining:
                        if not repeatable:
                            raise
                        await asyncio.wait([link.ended])  # the next server will do it
                    except LinkLost as lost:
                        _check_repeatable(op, lost, repeatable=repeatable)
        except TimeoutError:
            raise CallTimeout(f"no answer to {op!r} within {timeout:g} s") from None

    async def attach(self, fields: Frame, on_ok: Callable[[], None]) -> None:
        """Attach, and again for as long as it fails in a way that passes. Returns when it is done."""
        failures = 0
        while True:
            link = await self._keeper.link()
            try:
                await link.request("attach", fields, on_ok)
            except LinkLost:
                continue
            except DuologueError as error:
                if not error.retryable:
                    raise
                await self._waits.after(failures)
                failures += 1
            else:
                return

    def claim_stream(self, dialogue: str) -> Stream:
        """A new stream for this dialogue's events; the one before it ends."""
        before = self._streams.get(dialogue)
        if before is not None:
            before.end(Conflict("a later events() or ask() of this dialogue took over"))
        stream = self._streams[dialogue] = Stream(self._buffer_max)
        if self._keeper.error is not None:
            stream.end(self._keeper.error)
        return stream

    def release_stream(self, dialogue: str, stream: Stream) -> None:
        """The stream is not read any more. One that was taken over is left to its successor."""
        if self._streams.get(dialogue) is stream:
            del self._streams[dialogue]
            self._detach(dialogue)

    # ── what the keeper tells ───────────────────────────────────────────────────────────────────────────────

    def _take(self, frame: Frame) -> None:
        dialogue = str(frame.get("dialogue"))
        stream = self._streams.get(dialogue)
        if stream is not None and stream.attached and not stream.push(cast("Event", frame)):
            self._detach(dialogue)  # its reader attaches again when it has caught up

    def _detach(self, dialogue: str) -> None:
        if self._keeper.current is not None:
            self._keeper.current.post("detach", {"dialogue": dialogue})

    def _lose(self) -> None:
        for stream in self._streams.values():
            stream.detach()

    def _end(self, error: DuologueError) -> None:
        for stream in self._streams.values():
            stream.end(error)


def _check_repeatable(op: str, lost: LinkLost, *, repeatable: bool) -> None:
    if lost.code == 1009:
        raise FrameTooLarge("the server takes no command as long as this one")
    if not repeatable:
        raise ConnectionFailed(
            f"the connection was lost before {op!r} was answered; it may or may not have been done"
        )
