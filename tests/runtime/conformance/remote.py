"""Refs to actors of another node, as their callers see them.

The kernel has one node. What a ref to another one may do is fixed by the contract of `Ref`: calls fail with
`NoProc` and the reason `NOCONNECTION`, or time out; nothing else raises or waits. These doubles have it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from duologue.errors import CallTimeout
from duologue.runtime import CALL_TIMEOUT, NOCONNECTION, NORMAL, ExitReason, NoProc, Outcome, Ref


class NodeDown(Ref[Any]):
    """Its node can't be reached."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self.id = 0
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def alive(self) -> bool:
        return False

    @property
    def exit_reason(self) -> ExitReason | None:
        return NOCONNECTION

    def _answer(self, timeout: float | None) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(NoProc(self._name, NOCONNECTION))
        return future

    def call(self, request: Any, timeout: float | None = CALL_TIMEOUT) -> "asyncio.Future[Any]":
        return self._answer(timeout)

    def call_nowait(
        self, request: Any, on_reply: Callable[[Outcome[Any]], None], timeout: float | None = CALL_TIMEOUT
    ) -> None:
        def told(answer: "asyncio.Future[Any]") -> None:
            error = answer.exception()
            assert isinstance(error, Exception)
            on_reply(Outcome(error=error))

        self._answer(timeout).add_done_callback(told)

    def cast(self, message: object) -> None:
        pass

    def info(self, message: object) -> None:
        pass

    def exit(self, reason: ExitReason, sender: Ref[Any] | None = None) -> None:
        pass

    def kill(self) -> None:
        pass

    def stop(
        self, reason: ExitReason = NORMAL, timeout: float | None = CALL_TIMEOUT
    ) -> "asyncio.Future[ExitReason]":
        return self._answer(timeout)

    async def wait(self) -> ExitReason:
        return NOCONNECTION

    async def wait_started(self) -> None:
        raise NoProc(self._name, NOCONNECTION)


class BlackHole(NodeDown):
    """Its node takes everything and answers nothing."""

    __slots__ = ()

    def _answer(self, timeout: float | None) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def expire() -> None:
            if not future.done():
                future.set_exception(CallTimeout(f"actor {self._name} did not answer within the deadline"))

        if timeout is not None:
            loop.call_later(timeout, expire)
        return future
