"""What the kernel writes to its log. Types, names and places only: never a message's or an exception's text.

The one exception is an error of Duologue's own tree, whose messages are safe by contract.
"""

import logging
from collections.abc import Mapping

from duologue.runtime.exits import ExitReason, places, safe_text

__all__ = [
    "logger",
    "report_callback",
    "report_crash",
    "report_stray",
    "report_held",
    "report_zombie",
    "report_child",
    "report_task",
]

logger = logging.getLogger("duologue.runtime")


def report_callback(actor: str, callback: str, error: BaseException) -> None:
    """A callback that must not raise did; what it was called for went on."""
    at = places(error.__traceback__)
    logger.error("%s of %s raised %s at %s", callback, actor, safe_text(error), at[-1] if at else "?")


def report_crash(actor: str, reason: ExitReason, during: str, state: Mapping[str, object]) -> None:
    """An actor ended for a reason of its own that is not clean. `state` is what its `describe` gave."""
    logger.error(
        "actor %s crashed in %s: %s; state %s; at %s",
        actor,
        during,
        reason,
        dict(state),
        " < ".join(reason.where),
    )


def report_stray(actor: str, message: object) -> None:
    """An actor without a `handle_info` got a message."""
    logger.warning("actor %s got a stray message of type %s", actor, type(message).__qualname__)


def report_held(actor: str, handler: str, message: str, seconds: float) -> None:
    """A handler, or a step of an async one, kept everybody else from running."""
    what = "" if message == handler else f" with a {message}"
    logger.warning("%s of actor %s held the loop for %.3f s%s", handler, actor, seconds, what)


def report_zombie(actor: str, task: str, seconds: float) -> None:
    """A task swallowed its cancellation and was left behind."""
    logger.error("task %s of actor %s did not end within %g s of its cancellation", task, actor, seconds)


def report_task(supervisor: str, task: str, reason: ExitReason) -> None:
    """A task of a task supervisor failed."""
    at = reason.where[-1] if reason.where else "?"
    logger.error("task %s of supervisor %s failed: %s at %s", task, supervisor, reason, at)


def report_child(supervisor: str, child: object, reason: ExitReason, what: str) -> None:
    """A supervisor's child ended, or could not be started."""
    logger.warning("supervisor %s: child %r %s: %s", supervisor, child, what, reason)
