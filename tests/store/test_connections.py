import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from duologue.errors import ConfigurationError
from duologue.store.connections import connector
from duologue.store.redis import RedisStore


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://user:hunter2@localhost",
        "redis://user:hunter2@localhost:port",
        "redis://user:hunter2@localhost:99999",
        "redis://user:hunter2@localhost?db=first",
        "redis://user:hunter2@localhost/first",
        "redis://user:hunter2@localhost?no_such_option=1",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url") as caught:
        RedisStore(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost", Connection),
        ("rediss://localhost:6380/1", SSLConnection),
        ("unix:///run/valkey.sock?db=2", UnixDomainSocketConnection),
    ],
)
def test_each_scheme_has_its_kind_of_connection(url: str, kind: type) -> None:
    assert type(connector(url, connect_timeout=1.0)()) is kind


def test_a_connection_neither_repeats_nor_waits_by_itself_whatever_the_url_says() -> None:
    url = "redis://localhost?retry_on_timeout=yes&socket_timeout=9&max_connections=5&protocol=3&timeout=1"
    connection = connector(url, connect_timeout=0.7)()
    assert connection.retry.get_retries() == 0
    assert connection.socket_timeout is None
    assert connection.socket_connect_timeout == 0.7
    assert connection.protocol == 2


def test_every_connection_is_a_new_one() -> None:
    connect = connector("redis://localhost", connect_timeout=1.0)
    assert connect() is not connect()
