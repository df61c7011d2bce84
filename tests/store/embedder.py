"""A program that embeds the bundled server, for tests that kill it: `python -m tests.store.embedder DATA_DIR`.

Says "ready PID-OF-VALKEY DIALOGUE", then the number of each append once it was acknowledged.
"""

import asyncio
import sys

from duologue.store.bundled import BundledServer
from duologue.store.redis import RedisStore
from tests.store.builders import Writer


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(data_dir: str) -> None:
    server = BundledServer(data_dir)
    await server.start()
    store = RedisStore(server.url)
    writer = await Writer.create(store)
    say("ready", server.pid, writer.dialogue)
    number = 0
    while True:
        await writer.say(str(number))
        say(number)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
