"""Who else is restarted when a child ends: tables and arithmetic, with no actor in them."""

from collections.abc import Sequence
from enum import Enum

__all__ = ["Strategy", "AutoShutdown", "affected"]


class Strategy(Enum):
    """What the end of one child means for its siblings."""

    ONE_FOR_ONE = "one for one"
    """Nothing: it alone is restarted."""
    ONE_FOR_ALL = "one for all"
    """All are ended and started again."""
    REST_FOR_ONE = "rest for one"
    """Those that were started after it are ended and, after it, started again."""


class AutoShutdown(Enum):
    """Whether a supervisor ends with its significant children.

    It counts when such a child ends by itself and is not restarted: a transient one cleanly, a temporary one in any
    way. Ending it through its supervisor does not count.
    """

    NEVER = "never"
    ANY_SIGNIFICANT = "any significant"
    """When one of them ended."""
    ALL_SIGNIFICANT = "all significant"
    """When none of them runs any more."""


def affected(strategy: Strategy, order: Sequence[str], ended: str) -> list[str]:
    """The children that are to be started again, in the order of their starts, when `ended` has ended.

    Args:
        strategy: The supervisor's.
        order: The ids of all its children, in the order of their starts.
        ended: One of them.
    """
    if strategy is Strategy.ONE_FOR_ALL:
        return list(order)
    at = order.index(ended)
    if strategy is Strategy.REST_FOR_ONE:
        return list(order[at:])
    return [ended]
