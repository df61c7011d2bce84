"""A dialogue inside your own program: no server, no configuration file.

    python examples/embedded.py "What is a monad?"

With OPENAI_API_KEY and OPENAI_MODEL set, that model answers; with nothing set, a placeholder does.
"""

import asyncio
import sys

import duologue


async def main(question: str) -> None:
    # A data directory has one owner: this is not the one of a server that runs here.
    settings = duologue.load_settings(overrides={"store": {"data_dir": "./.duologue/embedded"}})
    async with duologue.open_runtime(settings) as runtime:
        dialogue = await runtime.open(feature="student_dialogue")
        async for event in dialogue.ask(question):
            if isinstance(event, duologue.TurnDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, duologue.TurnRestarted):
                print(f"\n[{event.model} answers instead]")
            elif isinstance(event, duologue.TurnFailed):
                print(f"\n[failed: {event.error.message}]")
        print()
        for message in await dialogue.history():
            print(f"{message.role}: {len(message.content)} characters")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is a monad?"))
