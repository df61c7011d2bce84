"""What one dialogue's events wait in until they are read."""

import asyncio
from collections import deque

from duologue.client.events import Event
from duologue.errors import DuologueError

__all__ = ["Stream"]


class Stream:
    """A bounded buffer between the socket's reader and whoever iterates.

    When it is full it stops being attached and takes nothing more: the reader of the events attaches again
    at its own position once it has read what is here, so a slow reader costs neither memory nor the other
    dialogues of its socket.

    Args:
        size: How many events it holds.
    """

    __slots__ = ("_buffer", "_error", "_size", "_wake", "attached")

    def __init__(self, size: int) -> None:
        self._buffer: deque[Event] = deque()
        self._size = size
        self._wake = asyncio.Event()
        self._error: DuologueError | None = None
        self.attached = False
        """Whether what comes from the socket is ours: true from the attach's answer to the link's end."""

    def __len__(self) -> int:
        return len(self._buffer)

    def attach(self) -> None:
        """The server has answered: its next event of this dialogue is ours."""
        self.attached = True

    def detach(self) -> None:
        """Nothing more will come over this link."""
        self.attached = False
        self._wake.set()

    def end(self, error: DuologueError) -> None:
        """Raise this to the reader once it has read what is here."""
        self._error = error
        self.detach()

    def push(self, event: Event) -> bool:
        """Take an event. False: full; the event was not taken and the stream is no longer attached."""
        if len(self._buffer) >= self._size:
            self.detach()
            return False
        self._buffer.append(event)
        self._wake.set()
        return True

    async def next(self) -> Event | None:
        """The next event; `None` when there is none and the stream has to be attached (again).

        Raises:
            DuologueError: What `end` was given.
        """
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if not self.attached:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._buffer.popleft()
