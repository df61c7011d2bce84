"""One client's socket: frames in, requests out, answers and events back. Holds no rule of dialogues.

No task belongs to a command: a request is posted to its dialogue, and the answer is written inside the
actor's reply, which is why it precedes the events that the command causes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import DialogueClosed, Event
from duologue.dialogue.handle import Dialogue
from duologue.dialogue.requests import (
    Ask,
    Attach,
    Attached,
    CancelTurn,
    Edit,
    Open,
    Opened,
    Regenerate,
)
from duologue.errors import BadFrame, DuologueError, Forbidden, NotAuthenticated, TooMany
from duologue.messages import DialogueId, Epoch, MessageId, OnBusy, Position, TurnId
from duologue.runtime import Outcome, Request
from duologue.web import frames
from duologue.web.channel import Channel
from duologue.web.closing import (
    GOING_AWAY,
    INTERNAL,
    NO_PONG,
    NOT_AUTHENTICATED,
    REPEATED_BAD_REQUESTS,
    TOO_BIG,
    TOO_SLOW,
)
from duologue.web.codec import Format
from duologue.web.hub import Hub
from duologue.web.liveness import Due, Liveness
from duologue.web.outbox import Outbox
from duologue.web.results import accepted_to_wire, attached_to_wire, cancelled_to_wire, opened_to_wire

__all__ = ["Session"]

R = TypeVar("R")
_log = logging.getLogger(__name__)
_access = logging.getLogger("duologue.access")

_AT_ONCE = (frames.Auth, frames.Pong, frames.Ack)
_NOTHING: Mapping[str, Any] = {}


class Session:
    """The server's side of one socket, from the accepted handshake to its end.

    Args:
        hub: What all connections share.
        channel: The way out.
        format_: How frames are read and written.
        authenticated: Whether the handshake showed who the client is.
        may_name: Whether the client may choose a new dialogue's id.
    """

    __slots__ = (
        "__weakref__",
        "_attachments",
        "_authenticated",
        "_backlog",
        "_channel",
        "_closing",
        "_encode",
        "_format",
        "_hub",
        "_in_flight",
        "_liveness",
        "_may_name",
        "_opened_at",
        "_opening",
        "_outbox",
        "_strikes",
        "close_code",
    )

    def __init__(
        self, hub: Hub, channel: Channel, format_: Format, *, authenticated: bool, may_name: bool
    ) -> None:
        now = hub.sweep.now()
        self._hub = hub
        self._channel = channel
        self._format = format_
        self._authenticated = authenticated
        self._may_name = may_name
        self._encode: Callable[[Event], bytes] = format_.event_frame if channel.framed else format_.event
        # Attachments are made at the first `attach`, so that a socket which only connects stays small.
        self._attachments: dict[DialogueId, Attachment] | None = None
        self._outbox: Outbox | None = None
        self._backlog: deque[frames.Command] | None = None
        self._strikes: frames.Strikes | None = None
        self._in_flight = 0
        self._opening = False
        """An `open` waits for its answer; what follows it may be about the dialogue that it makes."""
        self._liveness = Liveness(hub.limits.pulse, now, phase=hub.phase())
        self._closing: tuple[int, str] | None = None
        self.close_code: int | None = None
        """What this side closed with; `None` while it has not."""
        self._opened_at = hub.clock()
        channel.on_ready = self._on_ready
        sweep = hub.sweep
        sweep.schedule(self, self._liveness.next_at if authenticated else now + hub.limits.auth_timeout - 0.5)

    # ── the way out ─────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, attachment: Attachment, event: Event) -> None:
        """Write an event, or let it wait where the socket is full."""
        attachments = self._attachments
        if attachments is None or attachments.get(attachment.dialogue) is not attachment:
            return
        channel = self._channel
        if channel.ready:  # then nothing waits: see _on_ready
            data = self._encode(event)
            channel.write(data)
            self._count(len(data))
        elif self._closing is None and not self._waiting().put_event(event):
            self._close_now(*TOO_SLOW)
        if type(event) is DialogueClosed:
            attachments.pop(attachment.dialogue, None)
            # Not from here: the dialogue is in the middle of telling its viewers.
            asyncio.get_running_loop().call_soon(self._handle(attachment.dialogue).detach, attachment)

    def _send(self, payload: bytes) -> None:
        data = self._format.frame(payload) if self._channel.framed else payload
        if self._channel.ready:
            self._channel.write(data)
            self._count(len(data))
        elif self._closing is None and not self._waiting().put_bytes(data):
            self._close_now(*TOO_SLOW)

    def _count(self, size: int) -> None:
        liveness = self._liveness
        liveness.unanswered_bytes += size
        if liveness.wants_ping and self._authenticated:
            liveness.pinged(self._hub.sweep.now())
            self._hub.sweep.schedule(self, liveness.next_at)
            self._ping()

    def _ping(self) -> None:
        self._send(self._format.encode({"event": "ping"}))

    def _waiting(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(self._encode, bytes_max=self._hub.settings.limits.outbox_bytes_max)
        return self._outbox

    def _on_ready(self) -> None:
        """Write what waits. Afterwards nothing waits, or the channel is full again."""
        channel, outbox = self._channel, self._outbox
        while outbox and channel.ready:
            data = outbox.take()
            channel.write(data)
            self._count(len(data))
        if outbox:
            return
        self._outbox = None
        if self._closing is not None:
            self._close_now(*self._closing)
        elif self._backlog:
            asyncio.get_running_loop().call_soon(self._work_off)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, code: int, reason: str) -> None:
        """Close after what waits was written; a client that does not read it is cut off elsewhere."""
        if self._outbox:
            self._closing = self._closing or (code, reason)
        else:
            self._close_now(code, reason)

    def _close_now(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = code
            self._closing = (code, reason)
            self._outbox = None
            self._let_go()
            self._channel.close(code, reason)

    def on_closed(self, code: int) -> None:
        """The connection is gone, or about to be, whoever closed it."""
        if self._hub.release(self, code):
            _access.info("SOCKET /v1/socket %d %.1fs", code, self._hub.clock() - self._opened_at)
        self._let_go()
        self._outbox = None
        self._closing = self._closing or GOING_AWAY
        self._channel.on_ready = None

    def _let_go(self) -> None:
        self._hub.sweep.cancel(self)
        self._backlog = None
        attachments, self._attachments = self._attachments, None
        if not self._hub.running:
            return  # the runtime is gone, and its registry with it
        for attachment in (attachments or {}).values():
            self._handle(attachment.dialogue).detach(attachment)

    def announce_drain(self, reconnect_after_ms: int) -> None:
        """Tell the client to come back; what runs goes on until `close`."""
        self._send(
            self._format.encode({"event": "server.draining", "reconnect_after_ms": reconnect_after_ms})
        )

    def on_sweep(self, now: float) -> float | None:
        """What the clock asks for: a ping, or the end."""
        if not self._authenticated:
            self._close_now(*NOT_AUTHENTICATED)
            return None
        match self._liveness.due(now):
            case Due.PING:
                self._ping()
            case Due.CLOSE if self._channel.is_slow():
                self._liveness.pinged(now)  # the ping waits behind what is being read; count again from here
            case Due.CLOSE:
                self._close_now(*NO_PONG)
        return None if self.close_code is not None else self._liveness.next_at

    # ── the way in ──────────────────────────────────────────────────────────────────────────────────────────

    def on_message(self, data: bytes | str) -> None:
        """Read one message. Does not raise: what goes wrong here is this socket's trouble alone."""
        try:
            self._read(data)
        except Exception:  # noqa: BLE001 - the last line of defence; it reports and closes
            _log.exception("a socket's command failed")
            self._close_now(*INTERNAL)

    def _read(self, data: bytes | str) -> None:
        if self._closing is not None:
            return
        command: frames.Command | frames.Refusal
        if len(data) > frames.FRAME_BYTES_MAX:  # our own server refuses such a frame at its head
            self._close_now(*TOO_BIG)
            return
        if isinstance(data, str) == self._format.binary:
            kind = "binary" if self._format.binary else "text"
            command = frames.Refusal(None, BadFrame(f"this socket speaks {self._format.name}: {kind} frames"))
        else:
            command = self._parse(data)
        if isinstance(command, frames.Refusal):
            self._struck(command)
        elif not self._authenticated and not isinstance(command, frames.Auth):
            self._refuse(command.id, NotAuthenticated("say who you are first, with the command auth"))
        elif isinstance(command, _AT_ONCE) or not self._must_wait():
            self._do(command)
        else:
            self._postpone(command)

    def _parse(self, data: bytes | str) -> frames.Command | frames.Refusal:
        return frames.parse_json(data) if isinstance(data, str) else self._parse_bytes(data)

    def _parse_bytes(self, data: bytes) -> frames.Command | frames.Refusal:
        return frames.parse_msgpack(data) if self._format.binary else frames.parse_json(data)

    def _struck(self, refusal: frames.Refusal) -> None:
        self._refuse(refusal.re, refusal.error)
        if self._strikes is None:
            self._strikes = frames.Strikes()
        if self._strikes.add(self._hub.sweep.now()):
            self.close(*REPEATED_BAD_REQUESTS)

    def _must_wait(self) -> bool:
        return bool(self._backlog) or self._is_busy()

    def _is_busy(self) -> bool:
        return self._opening or bool(self._outbox) or self._in_flight >= self._hub.limits.in_flight_max

    def _postpone(self, command: frames.Command) -> None:
        """Keep a command until there is room for its answer: hundreds of attachments may come at once."""
        if self._backlog is None:
            self._backlog = deque()
        if len(self._backlog) >= self._hub.limits.backlog_max:
            self._refuse(command.id, TooMany("too many commands wait on this socket; read their answers"))
        else:
            self._backlog.append(command)

    def _work_off(self) -> None:
        while self._backlog and not self._is_busy() and self._closing is None:
            self._do(self._backlog.popleft())
        if not self._backlog:
            self._backlog = None

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, command: frames.Command) -> None:
        try:
            _HANDLERS[type(command)](self, command)
        except DuologueError as error:
            self._refuse(command.id, error)

    def _auth(self, command: frames.Auth) -> None:
        if not self._hub.authority.accepts(command.token.encode("utf-8", "surrogatepass")):
            self._refuse(command.id, NotAuthenticated("the token is not this server's"))
            self.close(*NOT_AUTHENTICATED)
            return
        if not self._authenticated:
            self._authenticated = True
            self._hub.sweep.schedule(self, self._liveness.next_at)
        self._answer(command.id, _NOTHING)

    def _open(self, command: frames.Open) -> None:
        if command.dialogue is None:
            dialogue = self._hub.new_dialogue_id()
        elif self._may_name:
            dialogue = DialogueId(command.dialogue)
        else:
            self._refuse(command.id, Forbidden("a socket with a ticket may not choose a dialogue's id"))
            return
        request = Open(
            command.feature,
            command.section,
            command.account,
            command.system_prompt,
            dict(command.metadata or {}),
        )
        handle = self._handle(dialogue)
        self._opening = True
        self._in_flight += 1
        handle.request(request, partial(self._on_opened, command.id))

    def _on_opened(self, re: int, outcome: Outcome[Opened]) -> None:
        self._opening = False
        self._on_reply(re, opened_to_wire, outcome)

    def _attach(self, command: frames.Attach) -> None:
        dialogue = DialogueId(command.dialogue)
        handle = self._handle(dialogue)
        attachments = self._attachments
        if attachments is None:
            attachments = self._attachments = {}
        attachment = attachments.get(dialogue)
        if attachment is None and len(attachments) >= self._hub.limits.dialogues_max:
            limit = self._hub.limits.dialogues_max
            self._refuse(command.id, TooMany(f"one socket watches at most {limit} dialogues; open another"))
            return
        if attachment is not None and attachment.coalesce_ms != command.coalesce_ms:
            handle.detach(attachment)
            attachment = None
        if attachment is None:
            attachment = Attachment(dialogue, self, coalesce_ms=command.coalesce_ms)
            attachments[dialogue] = attachment
        after = command.after
        position = None if after is None else Position(Epoch(after.epoch), after.seq)
        self._in_flight += 1
        handle.request(Attach(attachment, position), partial(self._on_attached, command.id, attachment))

    def _on_attached(self, re: int, attachment: Attachment, outcome: Outcome[Attached]) -> None:
        if outcome.error is not None and self._attachments is not None:
            if self._attachments.get(attachment.dialogue) is attachment:
                del self._attachments[attachment.dialogue]
            # After a timeout the actor may still come to it. Not from here: this is inside its reply.
            detach = self._handle(attachment.dialogue).detach
            asyncio.get_running_loop().call_soon(detach, attachment)
        self._on_reply(re, attached_to_wire, outcome)

    def _say(self, command: frames.Send) -> None:
        policy = None if command.on_busy is None else OnBusy(command.on_busy)
        request = Ask(command.content, command.client_message_id, policy)
        self._ask(command.id, DialogueId(command.dialogue), request, accepted_to_wire)

    def _cancel(self, command: frames.Cancel) -> None:
        request = CancelTurn(None if command.turn is None else TurnId(command.turn))
        self._ask(command.id, DialogueId(command.dialogue), request, cancelled_to_wire)

    def _regenerate(self, command: frames.Regenerate) -> None:
        self._ask(command.id, DialogueId(command.dialogue), Regenerate(), accepted_to_wire)

    def _edit(self, command: frames.Edit) -> None:
        request = Edit(MessageId(command.message), command.content)
        self._ask(command.id, DialogueId(command.dialogue), request, accepted_to_wire)

    def _ack(self, command: frames.Ack) -> None:
        self._heard()
        self._answer(command.id, _NOTHING)

    def _detach(self, command: frames.Detach) -> None:
        attachment = (self._attachments or {}).pop(DialogueId(command.dialogue), None)
        if attachment is not None:
            self._handle(attachment.dialogue).detach(attachment)
        self._answer(command.id, _NOTHING)

    def _pong(self, command: frames.Pong) -> None:
        self._heard()
        self._answer(command.id, _NOTHING)

    def _heard(self) -> None:
        # The sweep is left as it is: it asks `next_at` again when it comes by.
        self._liveness.answered(self._hub.sweep.now())

    # ── asking and answering ────────────────────────────────────────────────────────────────────────────────

    def _handle(self, dialogue: DialogueId) -> Dialogue:
        return self._hub.runtime.dialogue(dialogue)

    def _ask(
        self, re: int, dialogue: DialogueId, request: Request[R], to_wire: Callable[[R], Mapping[str, Any]]
    ) -> None:
        handle = self._handle(dialogue)
        self._in_flight += 1
        handle.request(request, partial(self._on_reply, re, to_wire))

    def _on_reply(self, re: int, to_wire: Callable[[R], Mapping[str, Any]], outcome: Outcome[R]) -> None:
        self._in_flight -= 1
        if self._closing is not None:
            return
        error = outcome.error
        if error is None:
            self._answer(re, to_wire(outcome.result()))
        else:
            self._refuse(re, error)
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._work_off)

    def _answer(self, re: int, ok: Mapping[str, Any]) -> None:
        self._send(self._format.answer(re, ok))

    def _refuse(self, re: int | None, error: Exception) -> None:
        if not isinstance(error, DuologueError):
            _log.error("a dialogue answered with an unexpected error: %s", type(error).__qualname__)
            error = DuologueError("something went wrong here")
        self._send(self._format.refusal(re, error))


_HANDLERS: Mapping[type, Callable[[Session, Any], None]] = {
    frames.Auth: Session._auth,  # noqa: SLF001 - the class's own table of its commands
    frames.Open: Session._open,  # noqa: SLF001
    frames.Attach: Session._attach,  # noqa: SLF001
    frames.Send: Session._say,  # noqa: SLF001
    frames.Cancel: Session._cancel,  # noqa: SLF001
    frames.Regenerate: Session._regenerate,  # noqa: SLF001
    frames.Edit: Session._edit,  # noqa: SLF001
    frames.Ack: Session._ack,  # noqa: SLF001
    frames.Detach: Session._detach,  # noqa: SLF001
    frames.Pong: Session._pong,  # noqa: SLF001
}
