"""One attempt: any provider's stream under the rules that hold for all of them.

  * An answer is complete only with `Finished`; a stream that ends without it was cut.
  * An answer without text is a failure, once.
  * Time is counted in content: the first within `first_token` of the start, the next within `idle` of the one
    before, all within `total`. What is no text (headers, comments, usage) moves no deadline.
  * Whatever goes wrong comes out as a `ProviderFailure` that knows whether text was passed on.

The deadlines are the loop's clock and one timer per attempt. A token costs one reading of the clock: the
timer is left where it is and looks, when it rings, whether content has moved the deadline meanwhile. It never
cancels a consumer: only while the provider is waited for does it interrupt the task.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NoReturn

from duologue.config.models import Timeouts
from duologue.messages import FinishReason
from duologue.providers.failures import Category, ProviderFailure, cut_short, nothing_said
from duologue.providers.port import CompletionRequest, Finished, Provider, ProviderEvent, TextDelta

__all__ = ["run_attempt", "ContentDeadlines"]

_logger = logging.getLogger("duologue.providers")

_LATE = {
    Category.TIMEOUT_FIRST_TOKEN: "no content came in time",
    Category.TIMEOUT_IDLE: "the answer stalled",
    Category.TIMEOUT_TOTAL: "the answer took too long",
}


async def run_attempt(
    provider: Provider, request: CompletionRequest, timeouts: Timeouts
) -> AsyncGenerator[Sequence[ProviderEvent], None]:
    """The provider's batches; the last one ends with `Finished`, and text came before it.

    Raises:
        ProviderFailure: With `had_content` set.
    """
    deadlines = ContentDeadlines(timeouts)
    had_content = False
    try:
        async with aclosing(provider.stream(request)) as batches:
            deadlines.start_reading()
            async for batch in batches:
                deadlines.stop_reading()
                for event in batch:
                    if type(event) is TextDelta:
                        had_content = True
                        deadlines.content_came()
                    elif type(event) is Finished and not had_content:
                        _refuse_silence(event)
                yield batch
                if type(batch[-1]) is Finished:
                    return
                deadlines.start_reading()
            _refuse_cut()
    except ProviderFailure as failure:
        failure.had_content = had_content
        raise
    except asyncio.CancelledError:
        if (late := deadlines.take_expiry()) is None:
            raise
        raise ProviderFailure(late, _LATE[late], had_content=had_content) from None
    except Exception as error:  # noqa: BLE001 - an adapter's bug must not cost the turn: another model may answer
        _report_crash(error)
        raise ProviderFailure(
            Category.INTERNAL, "the provider's adapter crashed", had_content=had_content
        ) from None
    finally:
        deadlines.close()


class ContentDeadlines:
    """The three deadlines of one attempt, counted from its making. Read in one task at a time."""

    __slots__ = (
        "_armed_for",
        "_cancelling",
        "_due",
        "_expired",
        "_handle",
        "_idle",
        "_loop",
        "_stale",
        "_started",
        "_task",
        "_total_at",
    )

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._idle = timeouts.idle
        self._total_at = now + timeouts.total
        self._due = now + timeouts.first_token
        self._started = False  # whether content came
        self._stale = False  # content came since `_due` was set
        self._expired: Category | None = None
        self._task: asyncio.Task[object] | None = None  # who waits for the provider right now
        task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()  # what is more than this is ours or new
        self._armed_for = 0.0
        self._handle: asyncio.TimerHandle | None = None  # None: rang while a consumer worked
        self._arm()

    def start_reading(self) -> None:
        """The task is about to wait for the provider. A consumer's time before this is not idle time."""
        if self._stale:
            self._stale = False
            self._due = self._loop.time() + self._idle
            if self._due < self._armed_for:  # only after the first content, where `idle` is the shorter one
                self._arm()
        if self._handle is None:
            self._arm()
        # Naming the loop spares Python 3.11 a system call for each read.
        self._task = asyncio.current_task(self._loop)

    def stop_reading(self) -> None:
        """Something came.

        Raises:
            CancelledError: A deadline passed and the adapter swallowed the interruption.
        """
        self._task = None
        if self._expired is not None:
            raise asyncio.CancelledError

    def content_came(self) -> None:
        """What came has text in it."""
        self._started = self._stale = True

    def take_expiry(self) -> Category | None:
        """Which deadline interrupted the task; `None` when somebody else cancelled it, also if both did."""
        if self._expired is None:
            return None
        late, self._expired = self._expired, None
        task = asyncio.current_task()
        assert task is not None
        return late if task.uncancel() <= self._cancelling else None

    def close(self) -> None:
        """Stop the timer, and take back an interruption that came out as something else."""
        if self._handle is not None:
            self._handle.cancel()
        self.take_expiry()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = min(self._due, self._total_at)
        self._handle = self._loop.call_at(self._armed_for, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self._task is None:
            return
        if min(self._due, self._total_at) > self._armed_for:
            self._arm()
            return
        if self._total_at <= self._due:
            self._expired = Category.TIMEOUT_TOTAL
        else:
            self._expired = Category.TIMEOUT_IDLE if self._started else Category.TIMEOUT_FIRST_TOKEN
        self._task.cancel()


def _refuse_cut() -> NoReturn:
    raise cut_short()


def _refuse_silence(end: Finished) -> NoReturn:
    if end.reason is FinishReason.CONTENT_FILTER:
        raise ProviderFailure(Category.CONTENT_FILTER, "the provider's content filter refused the answer")
    raise nothing_said()


def _report_crash(error: Exception) -> None:
    # Where, but not what: an exception's words may hold the text that it choked on.
    where = "".join(traceback.format_tb(error.__traceback__))
    _logger.error("a provider's adapter crashed with %s\n%s", type(error).__name__, where)
