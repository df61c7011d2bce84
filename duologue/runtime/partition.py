"""Several actors that share one job, each with a part of the keys."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar
from zlib import crc32

from duologue.runtime.actor import Actor
from duologue.runtime.checks import is_count
from duologue.runtime.children import ChildSpec, ChildType, Restart, Shutdown
from duologue.runtime.failures import NoProc
from duologue.runtime.ref import Ref
from duologue.runtime.supervisor import Supervisor
from duologue.runtime.via import Via

__all__ = ["PartitionSupervisor"]

A = TypeVar("A", bound=Actor)


class PartitionSupervisor(Supervisor, Generic[A]):
    """Runs some copies of one actor, and says which of them has a key.

    A key has the same partition as long as their number stays: an int by its remainder, a string or bytes by
    their checksum (the same in every process), anything else by its `hash`. Each partition is restarted alone.

    Args:
        start: Makes a partition's actor, given its number, for each of its lives.
        partitions: How many, 1 or more.
        type: What they are; say `ChildType.SUPERVISOR` for supervisors, which get the time to end their children.
        restart: When one is started again.
        shutdown: As in `ChildSpec`.
        start_timeout: As in `ChildSpec`.
        intensity: Restarts allowed within `period`, of all partitions together.
        period: Seconds.

    Raises:
        ValueError: `partitions` is out of bounds.
        BadChildSpec: One of the others is.
    """

    __slots__ = ("_active", "_actors", "_make", "_total")

    def __init__(
        self,
        start: Callable[[int], A],
        *,
        partitions: int,
        type: ChildType = ChildType.WORKER,  # noqa: A002 - what it is called in a specification
        restart: Restart = Restart.PERMANENT,
        shutdown: float | Shutdown | None = None,
        start_timeout: float | None = 30.0,
        intensity: int = 3,
        period: float = 5.0,
    ) -> None:
        if not is_count(partitions, 1):
            raise ValueError(f"partitions must be 1 or more, not {partitions!r}")
        self._make = start
        self._total = self._active = partitions
        self._actors: dict[int, A] = {}  # of each partition, the actor of its latest life
        super().__init__(
            [
                ChildSpec(
                    str(number),
                    partial(self._start_partition, number),
                    restart,
                    shutdown,
                    type,
                    start_timeout=start_timeout,
                )
                for number in range(partitions)
            ],
            intensity=intensity,
            period=period,
        )

    @property
    def partitions(self) -> int:
        """How many keys are spread over."""
        return self._active

    def number(self, key: Hashable) -> int:
        """The partition of a key.

        Raises:
            NoProc: There are none.
        """
        if not self._active:
            raise NoProc(type(self).__name__)
        return _spread(key) % self._active

    def partition(self, key: Hashable) -> A:
        """The actor that has the key now, for its own methods: `tasks.partition(key).start_child_nowait(spec)`.

        Raises:
            NoProc: It does not run at this moment, or the supervisor does not.
        """
        number = self.number(key)
        if self._ref_of(number) is None:
            raise NoProc(f"{type(self).__name__} partition {number}")
        return self._actors[number]

    def via(self, key: Hashable) -> Via[A]:
        """A ref of whoever has the key, over restarts and resizing."""
        return Via(
            f"{type(self).__name__} partition of a key",
            lambda: self._ref_of(self.number(key)) if self._active else None,
        )

    async def resize(self, partitions: int) -> int:
        """Spread the keys over fewer partitions, the others being ended, or over more again.

        Keys move at once, before anything is ended, and what their partitions kept stays where it was.

        Args:
            partitions: From 0 to as many as the supervisor was made with.

        Returns:
            How many there were.

        Raises:
            ValueError: `partitions` is out of bounds. Nothing was changed.
            StartFailed: One did not start. The keys are spread over those before it.
        """
        if not is_count(partitions) or partitions > self._total:
            raise ValueError(f"partitions must be 0 to {self._total}, not {partitions!r}")
        before = self._active
        if partitions < before:
            self._active = partitions
            for number in reversed(range(partitions, before)):
                await self.terminate_child(str(number))
        for number in range(before, partitions):
            await self.restart_child(str(number))
            self._active = number + 1
        return before

    def _ref_of(self, number: int) -> Ref[Any] | None:
        ref = self.child(str(number))
        return ref if ref is not None and ref.alive else None

    def _start_partition(self, number: int) -> A:
        actor = self._actors[number] = self._make(number)
        return actor


def _spread(key: Hashable) -> int:
    match key:
        case str():
            return crc32(key.encode("utf-8", "surrogatepass"))
        case bytes():
            return crc32(key)
    return hash(key)
