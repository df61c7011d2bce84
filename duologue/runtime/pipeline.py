"""Many calls at once: in a pipeline, answered in any order, or one request to many actors."""

import asyncio
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from duologue.errors import CallTimeout
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.requests import Outcome, Request

__all__ = ["Pipeline", "MultiOutcome", "multi_call"]

L = TypeVar("L", bound=Hashable)
R = TypeVar("R")


class Pipeline(Generic[L]):
    """Requests that were sent, each under a label, whose outcomes are taken in the order of completion.

    An outcome is a value: `NoProc`, `ActorDied` and the other errors of a call come in it and are not raised.
    Whoever holds the pipeline may wait; one at a time.
    """

    __slots__ = ("_done", "_news", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[L, asyncio.Future[Any]] = {}
        self._done: dict[L, Outcome[Any]] = {}  # completed and not taken yet, in that order
        self._news: asyncio.Future[None] | None = None  # of the waiter, if there is one

    def send(self, label: L, ref: Ref[Any], request: Request[Any], timeout: float | None = None) -> None:
        """Send a request now.

        Args:
            label: Tells its outcome from the others.
            ref: To whom.
            request: What is asked.
            timeout: Seconds until its outcome is a `CallTimeout`; `None`: as long as the actor lives.

        Raises:
            ValueError: The label is in use. Nothing was sent.
        """
        self._check(label)
        self.add(label, ref.call(request, timeout))

    def add(self, label: L, answer: "asyncio.Future[Any]") -> None:
        """Take up a call that is under way: what `Ref.call` returned.

        Raises:
            ValueError: The label, or this very future, is in the pipeline.
        """
        self._check(label)
        if answer in self._waiting.values():
            raise ValueError("this call is in the pipeline under another label")
        self._waiting[label] = answer
        answer.add_done_callback(lambda done: self._completed(label, done))

    async def wait(
        self, timeout: float | None = None, *, deadline: float | None = None
    ) -> tuple[L, Outcome[Any]] | None:
        """The next outcome with its label; it leaves the pipeline. When time passes the requests go on.

        Args:
            timeout: Seconds; 0 does not wait. `None`: as long as it takes.
            deadline: Instead, a time on the loop's clock.

        Returns:
            `None` when time has passed, or the pipeline is empty.
        """
        loop = asyncio.get_running_loop()
        until = deadline if timeout is None else loop.time() + timeout
        await asyncio.sleep(0)  # what has just been answered counts, also with a timeout of 0
        while not self._done:
            left = None if until is None else until - loop.time()
            if not self._waiting or (left is not None and left <= 0):
                return None
            self._news = loop.create_future()
            try:
                await asyncio.wait((self._news,), timeout=left)
            finally:
                self._news = None
        label = next(iter(self._done))
        return label, self._done.pop(label)

    async def receive(
        self, timeout: float | None = None, *, deadline: float | None = None
    ) -> tuple[L, Outcome[Any]] | None:
        """As `wait`, but when time passes all that is left is abandoned: later answers are dropped and counted.

        Returns:
            `None` when the pipeline is empty.

        Raises:
            CallTimeout: Time has passed.
        """
        found = await self.wait(timeout, deadline=deadline)
        if found is None and self._waiting:
            left = len(self._waiting)
            self.abandon()
            raise CallTimeout(f"{left} requests of a pipeline were not answered within the deadline")
        return found

    def abandon(self) -> None:
        """Expect nothing more. The actors' work is not cancelled."""
        waiting, self._waiting = self._waiting, {}
        self._done.clear()
        for answer in waiting.values():
            answer.cancel()

    def labels(self) -> list[L]:
        """What was sent, or came back, and was not taken yet."""
        return [*self._done, *self._waiting]

    def __len__(self) -> int:
        return len(self._waiting) + len(self._done)

    def _check(self, label: L) -> None:
        if label in self._waiting or label in self._done:
            raise ValueError(f"the label {label!r} is in the pipeline already")

    def _completed(self, label: L, answer: "asyncio.Future[Any]") -> None:
        if self._waiting.get(label) is not answer:
            return
        del self._waiting[label]
        self._done[label] = _outcome(answer)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


@dataclass(frozen=True, slots=True)
class MultiOutcome(Generic[R]):
    """What many actors answered.

    Args:
        replies: The answers, in the order of asking.
        failed: Those that did not answer, with what a call to them would have raised.
    """

    replies: dict[Ref[Any], R]
    failed: dict[Ref[Any], Exception]


async def multi_call(
    refs: Iterable[Ref[Any]], request: Request[R], timeout: float | None = CALL_TIMEOUT
) -> MultiOutcome[R]:
    """Ask many actors the same at once, and wait until each has answered, failed or run out of time.

    Args:
        refs: Whom; one that is named twice is asked once.
        request: What. All get the same object.
        timeout: Seconds, for all of them together; an answer that comes later is dropped.
    """
    answers = {ref: ref.call(request, timeout) for ref in dict.fromkeys(refs)}
    if answers:
        try:
            await asyncio.wait(answers.values())
        finally:
            for answer in answers.values():
                answer.cancel()  # when the wait was cancelled; else they are done
    outcomes = {ref: _outcome(answer) for ref, answer in answers.items()}
    return MultiOutcome(
        {ref: outcome.result() for ref, outcome in outcomes.items() if outcome.error is None},
        {ref: outcome.error for ref, outcome in outcomes.items() if outcome.error is not None},
    )


def _outcome(answer: "asyncio.Future[R]") -> Outcome[R]:
    if answer.cancelled():
        return Outcome(error=CallTimeout("the call was cancelled before it was answered"))
    error = answer.exception()
    if error is None:
        return Outcome(answer.result())
    return Outcome(error=error if isinstance(error, Exception) else RuntimeError(repr(error)))
