"""Which dialogues of a runtime are answering right now, so that going away can wait for them."""

import asyncio

from duologue.messages import DialogueId

__all__ = ["OpenTurns"]


class OpenTurns:
    """The dialogues with a turn under way. Plain memory; used from the loop's thread only."""

    __slots__ = ("_dialogues", "_waiting")

    def __init__(self) -> None:
        self._dialogues: set[DialogueId] = set()
        self._waiting: set[asyncio.Future[None]] = set()

    def add(self, dialogue: DialogueId) -> None:
        """A turn of this dialogue is under way."""
        self._dialogues.add(dialogue)

    def discard(self, dialogue: DialogueId) -> None:
        """None is any more. Harmless when none was."""
        self._dialogues.discard(dialogue)
        if not self._dialogues:
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)

    def __contains__(self, dialogue: DialogueId) -> bool:
        return dialogue in self._dialogues

    def __len__(self) -> int:
        return len(self._dialogues)

    async def settled(self, timeout: float) -> bool:
        """Wait until no turn is under way, at most `timeout` seconds. Whether that was reached."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._dialogues:
            remaining = deadline - loop.time()
            if remaining <= 0:
                return False
            waiting: asyncio.Future[None] = loop.create_future()
            self._waiting.add(waiting)
            try:
                await asyncio.wait((waiting,), timeout=remaining)
            finally:
                self._waiting.discard(waiting)
        return True
