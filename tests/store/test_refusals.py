import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from duologue.store.refusals import refusal, unreachable


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BusyLoadingError("is loading", status_code="LOADING"), "loading its data"),
        (ReadOnlyError("You can't write", status_code="READONLY"), "replica"),
        (OutOfMemoryError("command not allowed", status_code="OOM"), "full"),
        (ResponseError("MISCONF Errors writing to the AOF file"), "disk"),
        (ResponseError("BUSY Redis is busy running a script"), "script"),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "replicas"),
        (ResponseError("ERR Error compiling script (new function): user_script:1"), "Redis 7.0"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_a_server_refuses_before_it_begins_left_no_trace(error: Exception, words: str) -> None:
    told = refusal(error)
    assert words in str(told)
    assert told.applied == "no"


def test_what_nobody_foresaw_may_have_left_a_trace_and_is_not_repeated_to_clients() -> None:
    told = refusal(ResponseError("WRONGTYPE Operation against duologue:{secret-id}:log"))
    assert str(told) == "The store refused a command (WRONGTYPE)."
    assert told.applied == "unknown"
    assert "secret" not in str(refusal(ResponseError("secret text without a code")))


@pytest.mark.parametrize("applied", ["no", "unknown"])
def test_a_connection_that_failed_is_told_without_its_address(applied: str) -> None:
    error = RedisConnectionError("Error 111 connecting to secret.example:6379. Connection refused.")
    told = unreachable(error, applied=applied)  # type: ignore[arg-type]
    assert "secret" not in str(told)
    assert told.applied == applied


def test_what_the_client_wrapped_while_it_connected_is_unwrapped() -> None:
    inner = AuthenticationError("Authentication required.", status_code="NOAUTH")
    assert "wants a password" in str(unreachable(RedisConnectionError(inner), applied="no"))
    assert "does not accept" in str(unreachable(AuthenticationError("invalid password"), applied="no"))
