"""The program round a conversation: connects, joins, wires the keyboard, leaves the terminal as it was."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console

from duologue.chat.conversation import Conversation
from duologue.chat.lines import Lines, PipeLines, TerminalLines
from duologue.chat.screen import Screen
from duologue.client import Client, Connection, Dialogue, connect
from duologue.errors import NotFound

__all__ = ["ChatOptions", "run_chat"]


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the command line says.

    Args:
        url: The server's address.
        dialogue: Which dialogue; `None`: a new one.
        feature: What a new dialogue is for.
        section: Whose section's override applies to a new one.
        account: Whose account's choice applies to a new one.
        token: Where the server wants one.
    """

    url: str
    dialogue: str | None
    feature: str
    section: str | None
    account: str | None
    token: str | None


async def run_chat(options: ChatOptions) -> int:
    """Talk until the person leaves or the input ends.

    With a terminal on both ends it asks, streams and shows what happens to the answer. Otherwise it answers
    one line of input after the other, answers on standard output and everything else on standard error.

    Returns:
        The exit status: 0, or 1 when a line of piped input was left without a complete answer.

    Raises:
        DuologueError: No connection, or the server refused.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen(sys.stdout, Console(stderr=not interactive), interactive=interactive)
    lines = TerminalLines(screen) if interactive else PipeLines(sys.stdin.fileno())
    listeners: list[Callable[[Connection], None]] = []

    def tell(connection: Connection) -> None:
        for listener in listeners:
            listener(connection)

    async with connect(options.url, token=options.token, on_connection=tell) as client:
        dialogue = await _join(client, options)
        screen.note(
            f"dialogue {dialogue.id}" + (" · Ctrl-C stops an answer, or leaves" if interactive else "")
        )
        conversation = Conversation(dialogue, screen, client.new_id)
        listeners.append(conversation.show_connection)
        with _terminal_kept(), _on_interrupt(conversation.interrupt):
            await _until_over(conversation, lines)
        listeners.clear()
    screen.end_line()
    if interactive:
        screen.note(f"\nto come back: duologue chat --dialogue {dialogue.id}")
    return 0 if interactive or not conversation.failed else 1


async def _join(client: Client, options: ChatOptions) -> Dialogue:
    if options.dialogue is not None:
        known = client.dialogue(options.dialogue)
        with contextlib.suppress(NotFound):
            await known.snapshot()
            return known
    return await client.open(
        options.dialogue, feature=options.feature, section=options.section, account=options.account
    )


async def _until_over(conversation: Conversation, lines: Lines) -> None:
    """Until the lines end, the person leaves, or the dialogue or the connection is closed for good."""
    talking = asyncio.create_task(conversation.converse(lines), name="duologue-chat-talk")
    watching = asyncio.create_task(conversation.watch(), name="duologue-chat-watch")
    leaving = asyncio.create_task(conversation.leaving.wait(), name="duologue-chat-leave")
    try:
        await asyncio.wait((talking, watching, leaving), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        if talking.done():
            talking.result()
    finally:
        for task in (talking, watching, leaving):
            task.cancel()
        await asyncio.gather(talking, watching, leaving, return_exceptions=True)


@contextlib.contextmanager
def _on_interrupt(call: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, call)
    except NotImplementedError:  # Windows: Ctrl-C leaves at once
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Put the terminal back as it was: a thread may be left inside readline, which had changed it."""
    try:
        import termios  # noqa: PLC0415 - not on every platform
    except ImportError:
        yield
        return
    descriptor = sys.stdin.fileno()
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
