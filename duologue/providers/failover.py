"""Which model is called next. Pure: what was tried so far goes in, the next call comes out.

Rules, in this order:
  1. A failure after the first content ends the turn where the service says `terminate`. With `restart` the
     next model answers from the start; `continue` does the same until an adapter can continue an answer.
  2. A content filter's refusal ends the turn: it is not routed around.
  3. A one-off 500, and a rate limit that asks for at most `SHORT_WAIT` seconds, is tried once more on the
     same model, if no content came.
  4. Anything else goes to the next tier, at once. Nothing goes back to an earlier one.
  5. After a prompt that did not fit, tiers that are known to hold no more are passed over.
  6. A model at its cap counts as tried, though no call was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from duologue.messages import Tier
from duologue.providers.failures import Category, ProviderFailure

__all__ = ["Candidate", "Tried", "Call", "OnStreamFailure", "next_call", "SHORT_WAIT"]

SHORT_WAIT = 2.0
"""Seconds; a provider that asks for a longer pause is passed over instead."""
_PAUSE_AFTER_500 = 0.1


class OnStreamFailure(StrEnum):
    """What a failure after the first content leads to."""

    RESTART = "restart"
    CONTINUE = "continue"
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in its place in a service."""

    tier: Tier
    model: str
    """Name of the registered model."""
    context_length: int | None = None
    """In tokens. `None`: unknown, taken as larger than any that is known."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate, by its position, and why it gave no complete answer."""

    position: int
    failure: ProviderFailure


@dataclass(frozen=True, slots=True)
class Call:
    """Call this candidate next.

    Args:
        position: Its place among the candidates.
        after: Seconds to wait before.
        reason: The failure that made it necessary; `None` for a turn's first call.
    """

    position: int
    after: float = 0.0
    reason: Category | None = None


def next_call(
    candidates: Sequence[Candidate], tried: Sequence[Tried], policy: OnStreamFailure = OnStreamFailure.RESTART
) -> Call | None:
    """The next call, or `None` when the turn has failed.

    Args:
        candidates: In the order of failover, at least one.
        tried: Everything so far, in order.
        policy: The service's.
    """
    if not tried:
        return Call(0)
    last = tried[-1]
    failure = last.failure
    if failure.had_content and policy is OnStreamFailure.TERMINATE:
        return None
    if failure.category is Category.CONTENT_FILTER:
        return None
    if (pause := _pause_before_repeat(tried)) is not None:
        return Call(last.position, pause, failure.category)
    too_small = _largest_too_small(candidates, tried)
    for position in range(last.position + 1, len(candidates)):
        size = candidates[position].context_length
        if size is None or too_small is None or size > too_small:
            return Call(position, 0.0, failure.category)
    return None


def _pause_before_repeat(tried: Sequence[Tried]) -> float | None:
    """Seconds until the same model is called once more; `None`: it is not."""
    last = tried[-1]
    failure = last.failure
    if failure.had_content or any(earlier.position == last.position for earlier in tried[:-1]):
        return None
    if failure.category is Category.SERVER_ERROR and failure.http_status == 500:
        return _PAUSE_AFTER_500
    if failure.category is Category.RATE_LIMITED and failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= SHORT_WAIT else None
    return None


def _largest_too_small(candidates: Sequence[Candidate], tried: Sequence[Tried]) -> int | None:
    """The largest known context that the prompt did not fit; `None` when none is known."""
    sizes = [
        candidates[entry.position].context_length or 0
        for entry in tried
        if entry.failure.category is Category.CONTEXT_LENGTH
    ]
    return max(sizes, default=None)
