"""One dialogue in a terminal: what the person does, and what happens."""

import asyncio
from collections.abc import Callable

from duologue.chat.answer import Answer
from duologue.chat.lines import Lines
from duologue.chat.screen import PROMPT, Screen
from duologue.client import Connection, Dialogue, Event, Message, Snapshot
from duologue.errors import DuologueError

__all__ = ["Conversation"]

_HISTORY_SHOWN = 20  # messages; the rest is a scroll away on the page


class Conversation:
    """Says lines, shows events.

    Args:
        dialogue: Which dialogue.
        screen: Where it is shown.
        new_id: Names our own messages, so that they are not shown to the person who typed them.
    """

    def __init__(self, dialogue: Dialogue, screen: Screen, new_id: Callable[[], str]) -> None:
        self._dialogue = dialogue
        self._screen = screen
        self._new_id = new_id
        # The turn that is open, as far as we have seen, with its answer.
        self._answer: Answer | None = None
        # The turn that `converse` waits for, and which turns have ended since it last said something.
        self._awaited: str | None = None
        self._ended: set[str] = set()
        self._change = asyncio.Event()
        # The last name under which we said something; its message is ours.
        self._our_name = ""
        self._sending = False
        # Somebody pressed Ctrl-C once; the task that tells the server.
        self._stopping = False
        self._stop_task: asyncio.Task[None] | None = None
        # The loss of the connection was told; each attempt since is not worth a line.
        self._away = False
        self._joined = asyncio.Event()
        self.leaving = asyncio.Event()
        """Set when it is over: the person wants to go, or the dialogue was closed."""
        self.failed = False
        """Whether anything was left without a complete answer."""

    # ── what the person does ────────────────────────────────────────────────────────────────────────────────

    async def converse(self, lines: Lines) -> None:
        """Read a line, say it, wait for the answer, until there are no more lines."""
        await self._joined.wait()
        if self._answer is not None:
            await self._wait_for(self._answer.turn)
        while (line := await lines.next()) is not None:
            if line.strip():
                await self._say(line)

    def interrupt(self) -> None:
        """Ctrl-C: the first one stops the answer; without an answer, or a second time, it leaves."""
        busy = self._sending or self._answer is not None
        if self._screen.is_prompting or self._stopping or not busy:
            self.leaving.set()
            return
        self._stopping = True
        self._screen.note("stopping; Ctrl-C again leaves")
        if self._answer is not None:
            self._stop(self._answer.turn)

    async def _say(self, content: str) -> None:
        self._our_name = self._new_id()
        self._ended.clear()
        self._stopping = False
        self._sending = True
        try:
            accepted = await self._dialogue.send(content, client_message_id=self._our_name, timeout=None)
        except DuologueError as error:
            self._fail(f"not sent: {error}")
            return
        finally:
            self._sending = False
        turn = accepted["turn_id"]
        if self._stopping:
            self._stop(turn)
        await self._wait_for(turn)

    async def _wait_for(self, turn: str) -> None:
        self._awaited = turn
        while turn not in self._ended:
            self._change.clear()
            await self._change.wait()
        self._awaited = None

    def _stop(self, turn: str) -> None:
        self._stop_task = asyncio.create_task(self._cancel(turn), name="duologue-chat-stop")

    async def _cancel(self, turn: str) -> None:
        try:
            await self._dialogue.cancel(turn)
        except DuologueError as error:
            self._screen.note(f"could not stop it: {error}", "red")

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────

    async def watch(self) -> None:
        """Show everything that happens, until the dialogue is closed."""
        async for event in self._dialogue.events():
            self.show(event)
        self.leaving.set()

    def show_connection(self, connection: Connection) -> None:
        """Show that the connection was lost, or is back."""
        if connection.connected:
            self._screen.note("connected again", "green")
        elif connection.retry_in is not None and not self._away:
            self._screen.note(f"connection lost ({connection.reason}); trying again", "yellow")
        self._away = not connection.connected

    def show(self, event: Event) -> None:
        """Show one event."""
        match event["event"]:
            case "dialogue.snapshot":
                self._show_snapshot(event["snapshot"])
            case "message.accepted":
                self._show_question(event["message"])
            case "dialogue.closed":
                self._screen.note(f"the dialogue was closed: {event['reason']}", "red")
            case "message.superseded" | "turn.tool_call" | "turn.tool_result":
                pass
            case _:
                self._show_turn(event)

    def _show_turn(self, event: Event) -> None:
        match event["event"]:
            case "turn.started":
                self._begin(event["turn"])
                self._screen.note(_byline(event["model"], event["tier"]))
            case "turn.delta":
                self._begin(event["turn"]).extend(event["text"])
            case "turn.restarted":
                self._begin(event["turn"]).withdraw()
                self._screen.note(f"withdrawn ({event['reason']}); once more from the start", "yellow")
                self._screen.note(_byline(event["model"], event["tier"]))
            case "turn.continued":
                self._screen.note(f"broke off ({event['reason']}); goes on", "yellow")
                self._screen.note(_byline(event["model"], event["tier"]))
            case "turn.interrupted":
                self._screen.note("interrupted by a restart; it recovers by itself", "yellow")
            case "turn.completed":
                reason = event["finish_reason"]
                self._end(event["turn"], "" if reason == "stop" else f"ended early: {reason}")
            case "turn.cancelled":
                self._end(event["turn"], "stopped")
            case "turn.failed":
                self._end(event["turn"], "")
                self._fail(f"failed: {event['error']['message']}")

    def _show_question(self, message: Message) -> None:
        if message.get("client_message_id") != self._our_name and self._screen.interactive:
            self._screen.block(f"somebody> {message['content']}")

    def _begin(self, turn: str) -> Answer:
        if self._answer is None or self._answer.turn != turn:
            self._answer = Answer(turn, self._screen)
        return self._answer

    def _end(self, turn: str, remark: str) -> None:
        if self._answer is not None and self._answer.turn == turn:
            self._answer.end()
            self._answer = None
            self._stopping = False
        if remark:
            self._screen.note(remark, "yellow")
        self._ended.add(turn)
        self._change.set()

    def _fail(self, remark: str) -> None:
        self.failed = True
        self._screen.note(remark, "red")

    # ── snapshots ───────────────────────────────────────────────────────────────────────────────────────────

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        live = snapshot["turn"]
        if self._joined.is_set():
            self._catch_up(snapshot)
        elif self._screen.interactive:
            self._show_history(snapshot["messages"])
        if live is not None:
            if live["model"] is not None and (self._answer is None or self._answer.turn != live["id"]):
                self._screen.note(_byline(live["model"], live["tier"]))
            self._begin(live["id"]).replace(live["text"])
        self._joined.set()

    def _catch_up(self, snapshot: Snapshot) -> None:
        """Finish the turns that ended while we were away."""
        live = None if snapshot["turn"] is None else snapshot["turn"]["id"]
        seen = None if self._answer is None else self._answer.turn
        for turn in {seen, self._awaited} - {None, live}:
            of_turn = [message for message in snapshot["messages"] if message["turn_id"] == turn]
            answer = next((message for message in of_turn if message["role"] == "assistant"), None)
            if turn is None or (answer is None and (not of_turn or live is not None)):
                continue  # not begun yet
            if answer is not None:
                self._begin(turn).replace(answer["content"])
            self._end(turn, "")
            if answer is None or answer["status"] != "complete":
                self._fail("it ended without a complete answer")

    def _show_history(self, messages: list[Message]) -> None:
        current = [message for message in messages if message["status"] != "superseded"]
        if len(current) > _HISTORY_SHOWN:
            self._screen.note(f"… {len(current) - _HISTORY_SHOWN} earlier messages")
        for message in current[-_HISTORY_SHOWN:]:
            if message["role"] == "user":
                self._screen.block(PROMPT + message["content"])
            elif message["role"] == "assistant":
                self._screen.note(_byline(message.get("model"), None))
                self._screen.block(message["content"])
                if message["status"] == "partial":
                    self._screen.note("(not complete)")


def _byline(model: str | None, tier: str | None) -> str:
    return " · ".join(word for word in (model or "assistant", tier) if word)
