"""What can go wrong on the client's side of the wire. What the server answers is in `duologue.errors`."""

from collections.abc import Mapping
from typing import Any, Final

from duologue import errors
from duologue.errors import DuologueError, ProviderFailed

__all__ = ["ConnectionFailed", "ConnectionClosed", "NumberingBroken", "RemoteError", "error_from_wire"]


class ConnectionFailed(DuologueError):
    """No connection, or one that broke before a command that can't be repeated was answered.

    In the second case the command may or may not have been done; the message says which case it is.
    """

    code = "connection_failed"
    retryable = True


class ConnectionClosed(DuologueError):
    """The client was closed, or the server closed the socket and told us not to come back.

    Args:
        message: What happened.
        close_code: The server's close code; `None` when it was our side that closed.
    """

    code = "connection_closed"

    def __init__(self, message: str, *, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class NumberingBroken(DuologueError):
    """An event was missing, doubled or out of order: a bug of the server or of something between it and us.

    Nothing is lost for good: call `events(after=dialogue.position)` again.
    """

    code = "numbering_broken"


class RemoteError(DuologueError):
    """The server answered with a code that has no class here (`internal`, or one of a newer server).

    Args:
        message: The server's message.
        wire_code: The code as it came.
    """

    def __init__(self, message: str, *, wire_code: str) -> None:
        super().__init__(message)
        self.wire_code = wire_code


_CLASSES: Final[Mapping[str, type[DuologueError]]] = {
    cls.code: cls
    for cls in (
        errors.BadFrame,
        errors.BadRequest,
        errors.NotAuthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Busy,
        errors.MessageTooLarge,
        errors.FrameTooLarge,
        errors.RateLimited,
        errors.TooMany,
        errors.FeatureNotConfigured,
        errors.ModelMisconfigured,
        errors.StoreUnavailable,
        errors.Moved,
        errors.Draining,
        errors.NotSaved,
        errors.Interrupted,
        errors.Quarantined,
        errors.CallTimeout,
    )
}


def error_from_wire(wire: Mapping[str, Any]) -> DuologueError:
    """The exception for `{"code", "message", "retryable"}`: the class that an embedded runtime raises."""
    code = str(wire.get("code", "internal"))
    message = str(wire.get("message", code))
    if code == ProviderFailed.code:
        return ProviderFailed(message, category=str(wire.get("category", "unknown")))
    cls = _CLASSES.get(code)
    return RemoteError(message, wire_code=code) if cls is None else cls(message)
