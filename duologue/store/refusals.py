"""What the store's server says when it can't serve, in our words. A table; no I/O."""

from typing import Final, Literal

from redis.exceptions import AuthenticationError, RedisError

from duologue.errors import StoreUnavailable

__all__ = ["refusal", "unreachable"]

# By the first word of the server's error. Each of them comes before anything was done.
_REASONS: Final = {
    "LOADING": "The store is loading its data.",
    "BUSY": "The store is busy with a script that does not end.",
    "READONLY": "The store's server is a replica and can't be written to.",
    "OOM": "The store is full: it has reached its maxmemory.",
    "MISCONF": "The store can't write to its disk.",
    "NOREPLICAS": "The store has too few replicas to take a write.",
    "MASTERDOWN": "The store's server has lost its primary.",
    "CLUSTERDOWN": "The store's cluster is down.",
    "TRYAGAIN": "The store's cluster is moving these keys.",
    "MOVED": "store.url names one node of a cluster, and the keys are on another.",
    "ASK": "store.url names one node of a cluster, and the keys are on their way to another.",
    "NOAUTH": "The store wants a password; store.url has none.",
    "WRONGPASS": "The store does not accept the user or password of store.url.",
    "NOPERM": "The store's user may not run a command that Duologue needs (see its ACL).",
}


def refusal(error: BaseException) -> StoreUnavailable:
    """An error of the client library as ours.

    The server's own text is not repeated: it may hold keys, and with them names that users chose.
    """
    code = _code(error)
    if code in _REASONS:
        return StoreUnavailable(_REASONS[code], applied="no")
    if "compiling script" in str(error):
        return StoreUnavailable("The store's server is too old: Redis 7.0 or Valkey is needed.", applied="no")
    return StoreUnavailable(f"The store refused a command ({code}).", applied="unknown")


def unreachable(error: BaseException, *, applied: Literal["no", "unknown"]) -> StoreUnavailable:
    """A connection that could not be made, or ended, as our error."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]  # the client wraps what happened while it connected
    code = _code(error)
    if code in _REASONS:
        return StoreUnavailable(_REASONS[code], applied=applied)
    if isinstance(error, AuthenticationError):
        return StoreUnavailable(_REASONS["WRONGPASS"], applied=applied)
    if applied == "no":
        return StoreUnavailable("The store can't be reached.", applied="no")
    return StoreUnavailable("The store's connection was lost.", applied="unknown")


def _code(error: BaseException) -> str:
    """First word of a server's error; the client keeps it apart for the codes that it knows."""
    code = error.status_code if isinstance(error, RedisError) else None
    if code is None:
        code = str(error).partition(" ")[0]
    return code if code.isascii() and code.isupper() else "no code"
