"""HTTP to providers: httpx's API over the aiohttp transport, one client per host, errors in our words.

Why not httpx's own transport: it leaks connections when streams are cancelled, and costs six times as much
for each chunk. What this module adds to the aiohttp transport:
  * no limit on connections (admission is the service's, per model), no cookies, no proxy or netrc from the
    environment, no redirects, no compression: a redirect or a compressed body is an answer we do not want;
  * no read timeout: a server that sends only pings would never hit one. Deadlines count content (attempt.py);
  * one more try on a new connection where a kept one turned out to be closed: that is nobody's failure;
  * failures by category. The transport makes a lost connection a `ConnectTimeout`, so its cause counts.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from duologue.providers.failures import Category, ProviderFailure

__all__ = ["HttpClients", "READ_ERRORS", "chunks_of", "read_body"]

READ_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
"""What reading a body may raise when the connection is lost or its framing is broken."""

_KEPT_SECONDS = 15.0  # an idle connection is closed by us before most servers close it under us
_HEADERS = {
    "accept": "text/event-stream, application/json",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": "duologue",
}


class HttpClients:
    """One HTTP client per provider host, made when it is first needed and shared by the models there.

    Args:
        tls: Whether a host with `https` will be called. Its certificates are read here then, because that
            takes tens of milliseconds, which no turn should wait for.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._clients: dict[tuple[str, str], _Client] = {}
        self._tls = httpx.create_ssl_context() if tls else None

    @asynccontextmanager
    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connect: float
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and wait for the answer's headers; its body is still to be read.

        Leaving the block closes the connection at once, unless the body was read to its end. So does
        cancelling at any moment: while connecting, before the headers and within the body.

        Args:
            url: Where to; `http` or `https`.
            headers: On top of the common ones.
            body: What to send.
            connect: Seconds until the connection stands: name, TCP and TLS together.

        Raises:
            ProviderFailure: `connect`, `disconnected`, `malformed` or `model_misconfigured`.
        """
        response = await self._client(url).send(url, headers=headers, body=body, connect=connect)
        try:
            yield response
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close all connections, also those in use. Idempotent; a later `post` starts anew."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _client(self, url: str) -> "_Client":
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client(self._tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return client


class _Client:
    """The client of one host. A context without certificates trusts no host at all."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._on_kept: set[asyncio.Task[Any] | None] = set()  # whose request went out on a kept connection
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(self._note_kept)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=_KEPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(verify=tls, client=session),
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connect: float
    ) -> httpx.Response:
        timeout = httpx.Timeout(None, connect=connect, pool=connect)
        request = self._http.build_request("POST", url, headers=headers, content=body, timeout=timeout)
        task = asyncio.current_task()
        for may_repeat in (True, False):
            try:
                return await self._http.send(request, stream=True)
            except (*READ_ERRORS, httpx.InvalidURL, ValueError) as error:
                failure = _failure_of(error)
                if not (may_repeat and task in self._on_kept and failure.category is Category.DISCONNECTED):
                    raise failure from None
            finally:
                self._on_kept.discard(task)
        raise AssertionError

    async def _note_kept(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, params: object
    ) -> None:
        del session, context, params
        self._on_kept.add(asyncio.current_task())


def chunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes, one item per network read (at most 16 KiB each).

    Raises while it is read: one of `READ_ERRORS`.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    return aiter(stream)


async def read_body(response: httpx.Response, *, bytes_max: int, seconds: float | None) -> bytes:
    """The body as one, cut off at `bytes_max` bytes, after `seconds` (`None`: never), or where it broke."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks_of(response):
                body += chunk
                if len(body) >= bytes_max:
                    break
    except (TimeoutError, *READ_ERRORS):
        pass
    return bytes(body[:bytes_max])


def _failure_of(error: Exception) -> ProviderFailure:
    """Why no answer began. The cause's class is told, its words are not: they hold addresses."""
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    name = type(cause).__name__
    match cause:
        case (
            aiohttp.ClientConnectorError()
            | aiohttp.ClientConnectorCertificateError()
            | aiohttp.ServerTimeoutError()
            | ssl.SSLError()
        ):
            return ProviderFailure(Category.CONNECT, f"no connection to the provider ({name})")
        case aiohttp.NonHttpUrlClientError() | httpx.InvalidURL() | ValueError():
            return ProviderFailure(Category.MODEL_MISCONFIGURED, "the model's url or key can't be sent")
        case aiohttp.ClientResponseError():
            return ProviderFailure(Category.MALFORMED, f"the provider does not speak HTTP ({name})")
        case _:
            return ProviderFailure(Category.DISCONNECTED, f"the provider hung up before it answered ({name})")
