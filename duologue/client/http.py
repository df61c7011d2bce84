"""The requests that are answered over HTTP: history, lists, snapshots and deletion."""

from typing import Any

import httpx

from duologue.client.errors import ConnectionFailed, RemoteError, error_from_wire
from duologue.client.keeper import is_loopback
from duologue.client.wire import http_url

__all__ = ["Http", "fetch"]


class Http:
    """A small HTTP client of one server. No request is retried.

    Args:
        base: The server's address, without a trailing slash.
        token: Sent as a bearer token; `None`: no credentials.
        timeout: Seconds for one request.
        direct: Whether to ignore the environment's proxies.
    """

    def __init__(self, base: str, *, token: str | None, timeout: float, direct: bool) -> None:
        self._base = base
        self._token = token
        self._timeout = timeout
        self._direct = direct
        # Made at the first request: most programs only ever use the socket.
        self._client: httpx.AsyncClient | None = None

    async def request(self, method: str, path: str, params: dict[str, Any] | None = None) -> Any:
        """Do one request and return its decoded body, as text when it is not JSON; `None` when it has none.

        Raises:
            ConnectionFailed: No answer.
            DuologueError: What the server answered.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = await self._open().request(method, self._base + path, params=given)
        except httpx.TransportError as error:
            raise ConnectionFailed(f"the server did not answer {method} {path}") from error
        if response.is_success:
            if not response.content:
                return None
            is_text = response.headers.get("content-type", "").startswith("text/")
            return response.text if is_text else response.json()
        raise _error(response)

    async def close(self) -> None:
        """Close what is open. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            headers = {} if self._token is None else {"authorization": f"Bearer {self._token}"}
            self._client = httpx.AsyncClient(
                headers=headers, timeout=self._timeout, trust_env=not self._direct, follow_redirects=False
            )
        return self._client


async def fetch(
    url: str,
    path: str,
    params: dict[str, Any] | None = None,
    *,
    token: str | None = None,
    timeout: float = 10.0,
) -> Any:
    """Get one thing from the server at `url` without a client: see `Http.request`.

    Raises:
        BadRequest: `url` is no address of a server.
    """
    http = Http(http_url(url), token=token, timeout=timeout, direct=is_loopback(url))
    try:
        return await http.request("GET", path, params)
    finally:
        await http.close()


def _error(response: httpx.Response) -> Exception:
    try:
        return error_from_wire(response.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return RemoteError(
            f"the server answered with HTTP status {response.status_code}", wire_code="internal"
        )
