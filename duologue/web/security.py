"""Who may connect: `Origin`, `Host` and the token. Pure; works on headers as they came.

A browser tells the page's origin in every handshake, and nothing else stops a foreign page from opening
a socket here. With no authentication the `Host` has to be this machine's too, or a page whose name was
pointed at 127.0.0.1 after it was loaded ("DNS rebinding") would pass as one of ours.
"""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from duologue.errors import Forbidden

__all__ = ["Authority", "RawHeaders", "bearer_of", "check_host", "check_origin", "header", "is_loopback"]

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Header names in lower case, and values, as ASGI hands them over."""

_HTTP_OF = {"ws": "http", "wss": "https"}
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


class Authority:
    """Knows the one token, if there is one.

    Args:
        token: What clients have to show. `None`: everybody on this machine may do everything.
    """

    __slots__ = ("_expected",)

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else token.encode()

    @property
    def required(self) -> bool:
        """Whether clients have to show a token."""
        return self._expected is not None

    def accepts(self, shown: bytes | None) -> bool:
        """Whether these bytes are the token. Takes as long for any guess of the token's length."""
        if self._expected is None:
            return True
        return shown is not None and hmac.compare_digest(shown, self._expected)

    def __repr__(self) -> str:
        return f"<Authority required={self.required}>"


def header(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of a header. `None`: not there, or there more than once with differing meanings."""
    found = [value for given, value in headers if given == name]
    return found[0] if len(found) == 1 else None


def bearer_of(headers: RawHeaders) -> bytes | None:
    """The bytes after `Bearer` in the one `Authorization` header."""
    value = header(headers, b"authorization")
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip()


def check_origin(headers: RawHeaders, *, scheme: str, allowed: Iterable[str]) -> None:
    """Let pass no `Origin` at all, this host's own, and those that were allowed, each exactly.

    Args:
        headers: The request's.
        scheme: The connection's: http, https, ws or wss.
        allowed: Origins like `https://app.example.com`, with no path and no slash at the end.

    Raises:
        Forbidden: Another origin, an opaque one (`null`), or several.
    """
    origins = [value for name, value in headers if name == b"origin"]
    if not origins:
        return
    if len(origins) == 1:
        origin = origins[0].decode("latin-1")
        if origin in set(allowed):
            return
        host = header(headers, b"host")
        if host is not None and _is_own(origin, _HTTP_OF.get(scheme, scheme), host.decode("latin-1")):
            return
    raise Forbidden("this origin may not connect; name it in [server] allowed_origins")


def check_host(headers: RawHeaders, *, allowed: Iterable[str]) -> None:
    """Where there is no authentication: let pass only a `Host` of this machine or of an allowed origin.

    Raises:
        Forbidden: Another host, none or several.
    """
    value = header(headers, b"host")
    if value is not None:
        host = value.decode("latin-1").lower()
        if is_loopback(_hostname(host)) or host in {urlsplit(origin).netloc.lower() for origin in allowed}:
            return
    raise Forbidden("without [auth] token this server answers to names of this machine alone")


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port or brackets, can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_own(origin: str, scheme: str, host: str) -> bool:
    given_scheme, separator, authority = origin.partition("://")
    if not separator or given_scheme != scheme or not authority:
        return False
    # A browser leaves the scheme's own port out of both, but a client may name it in Host.
    return authority == host.lower().removesuffix(_DEFAULT_PORT.get(scheme, ":"))


def _hostname(host: str) -> str:
    """A `Host` value without its port; the empty string for one that is malformed."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket and (not rest or _is_port(rest)) else ""
    name, colon, port = host.partition(":")
    return name if not colon or _is_port(colon + port) else ""


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()
