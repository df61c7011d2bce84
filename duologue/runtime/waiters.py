"""Those who wait on the wheel for an actor's start or end."""

import asyncio
from typing import TYPE_CHECKING, Any

from duologue.errors import CallTimeout
from duologue.runtime.exits import ExitReason
from duologue.runtime.failures import StartFailed

if TYPE_CHECKING:
    from duologue.runtime.process import Process

__all__ = ["EndWaiter", "StartDeadline"]


class EndWaiter:
    """Somebody who awaits an actor's end, for a time or for ever."""

    __slots__ = ("_bucket", "_future")

    def __init__(self, future: "asyncio.Future[ExitReason]", bucket: set[Any] | None) -> None:
        self._future = future
        self._bucket = bucket
        if bucket is not None:
            bucket.add(self)

    def ended(self, reason: ExitReason) -> None:
        if self._bucket is not None:
            self._bucket.discard(self)
        if not self._future.done():
            self._future.set_result(reason)

    def expire(self) -> None:
        if not self._future.done():
            self._future.set_exception(CallTimeout("the actor has not ended within the deadline"))


class StartDeadline:
    """Ends an actor whose async `init` takes too long."""

    __slots__ = ("_bucket", "_process")

    def __init__(self, process: "Process", timeout: float) -> None:
        self._process = process
        self._bucket = process.system.deadlines.bucket(timeout)
        self._bucket.add(self)
        assert process.starters is not None
        process.starters.append(self._started)

    def expire(self) -> None:
        if self._process.starters is not None:
            self._process.exit_with(ExitReason("start_timeout"), "init")

    def _started(self, _: StartFailed | None) -> None:
        self._bucket.discard(self)
