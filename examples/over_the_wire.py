"""The same through a running server (`duologue serve`), and a second pair of eyes on it.

python examples/over_the_wire.py "What is a monad?"
"""

import asyncio
import sys

from duologue.client import TERMINAL, Dialogue, connect

URL = "http://127.0.0.1:8400"


async def watch(dialogue: Dialogue) -> None:
    """What an instructor's dashboard does: merged every 500 ms, to the end of one turn."""
    async for event in dialogue.events(coalesce_ms=500):
        print(f"    [{event['event']}]")
        if event["event"] in TERMINAL:
            return


async def main(question: str) -> None:
    async with connect(URL) as student, connect(URL) as instructor:
        dialogue = await student.open(feature="student_dialogue")
        watching = asyncio.create_task(watch(instructor.dialogue(dialogue.id)))
        async for event in dialogue.ask(question):
            if event["event"] == "turn.delta":
                print(event["text"], end="", flush=True)
            elif event["event"] == "turn.completed":
                print(f"\n[{event['model']}, {event['finish_reason']}]")
        await watching


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is a monad?"))
