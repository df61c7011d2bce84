"""Makes connections to a Redis or Valkey server from its URL."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url

from duologue.errors import ConfigurationError

__all__ = ["connector"]

_OF_POOLS: Final = ("max_connections", "timeout", "retry_on_timeout")
"""Options that a URL may carry for a pool of connections; a lane has one."""


def connector(url: str, *, connect_timeout: float) -> Callable[[], AbstractConnection]:
    """What makes unconnected connections to `url`, for lanes.

    They speak RESP2 and return bytes. They repeat nothing by themselves and have no time limit but for
    connecting: the library's defaults would send a command up to eleven times, for up to a minute.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database where needed. Options of
            the client library may follow as a query (`ssl_ca_certs=...`).
        connect_timeout: Seconds.

    Raises:
        ConfigurationError: `url` can't be understood. The message does not repeat it: it may hold a password.
    """
    try:
        options: dict[str, Any] = dict(parse_url(url))
        make: Callable[..., AbstractConnection] = options.pop("connection_class", Connection)
        database = urlsplit(url).path.strip("/")
        if database and "db" not in options and "path" not in options:
            options["db"] = int(database)  # fails where the library would silently take 0
        for name in _OF_POOLS:
            options.pop(name, None)
        options |= {
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": None,
            "socket_connect_timeout": connect_timeout,
            "health_check_interval": 0,
            "client_name": "duologue",
            "driver_info": None,  # spares two commands for each connection
        }
        make(**options)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "store.url is no address of a Redis or Valkey server. Write redis://[user:password@]host:port/db,"
            " rediss://... or unix:///path?db=0."
        ) from error
    return lambda: make(**options)
