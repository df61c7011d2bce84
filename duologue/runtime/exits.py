"""Why an actor ended, as a value that can be compared, kept and sent.

A reason never holds an exception or a traceback: those keep frames alive, and frames keep an actor's state
alive. What is left of an exception is its type, its message and the places that it passed.
"""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from duologue.errors import DuologueError

__all__ = [
    "ExitReason",
    "NORMAL",
    "SHUTDOWN",
    "KILLED",
    "NOPROC",
    "NOCONNECTION",
    "IGNORED",
    "check_reason",
    "places",
]

_PLACES_MAX = 16


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an actor ended.

    Args:
        kind: `normal`, `shutdown`, `killed`, `noproc`, `noconnection`, `error`, `bad_return`, `ignored`, or a
            word of your own. Compared by value.
        detail: More about it, fit to be logged: for `error` the exception's type, for `shutdown` a term.
        message: What the exception said. Not shown by `str` and `repr`, because the kernel can't know
            whether it quotes something private; an error of Duologue's own tree promises that it does not.
        where: The places that the exception passed, outermost first, as `module:line in function`.
    """

    kind: str
    detail: str | None = None
    message: str | None = field(default=None, repr=False)
    where: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, error: BaseException) -> "ExitReason":
        """The reason that an exception amounts to. Keeps neither the exception nor its frames."""
        return cls(
            kind="error",
            detail=type(error).__qualname__,
            message=str(error),
            where=places(error.__traceback__),
        )

    @classmethod
    def shutdown(cls, detail: str) -> "ExitReason":
        """An orderly end with a word about its cause; counts as clean, as `SHUTDOWN` does."""
        return cls("shutdown", detail)

    @property
    def clean(self) -> bool:
        """An end that was asked for: nothing is reported, and a transient child is not started again."""
        return self.kind in {"normal", "shutdown", "ignored"}

    def __str__(self) -> str:
        if self.detail is None:
            return self.kind
        return f"{self.kind}: {self.detail}"


NORMAL: Final = ExitReason("normal")
"""The actor had nothing left to do."""
SHUTDOWN: Final = ExitReason("shutdown")
"""Its supervisor, or the system, asked it to end."""
KILLED: Final = ExitReason("killed")
"""`kill` ended it; its `terminate` was not run."""
NOPROC: Final = ExitReason("noproc")
"""There was no such actor, or no longer."""
NOCONNECTION: Final = ExitReason("noconnection")
"""The node that it lived on can't be reached."""
IGNORED: Final = ExitReason("ignored")
"""Its `init` raised `Ignore`: it did not want to run, and nothing is wrong."""


def places(traceback: TracebackType | None) -> tuple[str, ...]:
    """The last places of a traceback, outermost first, with no text of the program and no file path."""
    found: list[str] = []
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__", "?")
        found.append(f"{module}:{traceback.tb_lineno} in {frame.f_code.co_qualname}")
        traceback = traceback.tb_next
    return tuple(found[-_PLACES_MAX:])


def check_reason(reason: object) -> None:
    """Refuse what is no `ExitReason` where it comes in, before it could spoil an actor's end.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(reason, ExitReason):
        raise TypeError(f"an exit reason must be an ExitReason, not {type(reason).__name__}")


def safe_text(error: BaseException) -> str:
    """An exception in words that may be logged: its message only where its class vouches for it."""
    name = type(error).__qualname__
    return f"{name}: {error}" if isinstance(error, DuologueError) else name
