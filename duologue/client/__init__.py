"""The Python client of the wire.

    async with duologue.client.connect("http://127.0.0.1:8400") as client:
        dialogue = await client.open(feature="student_dialogue")
        async for event in dialogue.ask("What is a monad?"):
            if event["event"] == "turn.delta":
                print(event["text"], end="")

One socket carries any number of dialogues. A lost connection is made again and every stream of events goes on
where it was; a message that was not answered is sent again under the same name, so it is said once.
"""

from duologue.client.dialogue import Dialogue
from duologue.client.errors import ConnectionClosed, ConnectionFailed, NumberingBroken, RemoteError
from duologue.client.events import TERMINAL, Accepted, Event, Message, Snapshot
from duologue.client.keeper import Connection
from duologue.client.rules import Backoff
from duologue.client.session import Client, connect

__all__ = [
    # entering
    "connect",
    "Client",
    "Connection",
    "Backoff",
    # talking and watching
    "Dialogue",
    "Event",
    "TERMINAL",
    "Accepted",
    "Message",
    "Snapshot",
    # what goes wrong
    "ConnectionFailed",
    "ConnectionClosed",
    "NumberingBroken",
    "RemoteError",
]
