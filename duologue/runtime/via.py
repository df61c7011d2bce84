"""A ref by name: who has the name when something is sent is who gets it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from duologue.runtime.exits import NOPROC, NORMAL, ExitReason, check_reason
from duologue.runtime.failures import NoProc
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.reports import report_callback
from duologue.runtime.requests import Asks, Outcome

__all__ = ["Via"]

R = TypeVar("R")
A_co = TypeVar("A_co", covariant=True)


class Via(Ref[A_co]):
    """Stands for whoever has a name, and for each next one: it stays good over restarts.

    Everything that is sent goes to the life that has the name at that moment. With nobody there a call fails with
    `NoProc` and anything else is lost. It is equal to itself only, not to the refs that it finds.

    Args:
        name: For people and errors.
        find: Looks the name up; `None` for nobody. Must not block.
    """

    __slots__ = ("_find", "_name")

    def __init__(self, name: str, find: Callable[[], Ref[Any] | None]) -> None:
        self.id = 0  # it is no life of its own
        self._name = name
        self._find = find

    def resolve(self) -> Ref[Any] | None:
        ref = self._find()
        return ref if ref is not None and ref.alive else None

    @property
    def name(self) -> str:
        return self._name

    @property
    def alive(self) -> bool:
        return self.resolve() is not None

    @property
    def exit_reason(self) -> ExitReason | None:
        return None if self.alive else NOPROC

    def call(self, request: Asks[Any, R], timeout: float | None = CALL_TIMEOUT) -> "asyncio.Future[R]":
        ref = self.resolve()
        return self._nobody() if ref is None else ref.call(request, timeout)

    def call_nowait(
        self,
        request: Asks[Any, R],
        on_reply: Callable[[Outcome[R]], None],
        timeout: float | None = CALL_TIMEOUT,
    ) -> None:
        ref = self.resolve()
        if ref is not None:
            ref.call_nowait(request, on_reply, timeout)
            return

        def tell() -> None:
            try:
                on_reply(Outcome(error=NoProc(self._name)))
            except BaseException as error:  # noqa: BLE001 - as when an actor answers: it reaches nobody else
                report_callback(self._name, "on_reply", error)

        asyncio.get_running_loop().call_soon(tell)

    def cast(self, message: object) -> None:
        ref = self.resolve()
        if ref is not None:
            ref.cast(message)

    def info(self, message: object) -> None:
        ref = self.resolve()
        if ref is not None:
            ref.info(message)

    def exit(self, reason: ExitReason, sender: Ref[Any] | None = None) -> None:
        check_reason(reason)
        ref = self.resolve()
        if ref is not None:
            ref.exit(reason, sender)

    def kill(self) -> None:
        ref = self.resolve()
        if ref is not None:
            ref.kill()

    def stop(
        self, reason: ExitReason = NORMAL, timeout: float | None = CALL_TIMEOUT
    ) -> "asyncio.Future[ExitReason]":
        check_reason(reason)
        ref = self.resolve()
        return self._nobody() if ref is None else ref.stop(reason, timeout)

    async def wait(self) -> ExitReason:
        ref = self.resolve()
        return NOPROC if ref is None else await ref.wait()

    async def wait_started(self) -> None:
        ref = self.resolve()
        if ref is None:
            raise NoProc(self._name)
        await ref.wait_started()

    def _nobody(self) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(NoProc(self._name))
        return future
