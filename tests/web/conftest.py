"""Servers for the tests of the wire."""

from collections.abc import AsyncIterator

import pytest

from tests.web.place import Place, place

# Our own server writes frames straight into the transport, any other one is spoken to through ASGI.
SERVERS = {"own": {}, "foreign": {"foreign": True}, "mounted": {"mounted": "/tutor"}}


@pytest.fixture(params=["own", "foreign"])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A server without authentication: our own, and a plain uvicorn."""
    async with place(**SERVERS[request.param]) as running:
        yield running


@pytest.fixture
async def own() -> AsyncIterator[Place]:
    """Our own server without authentication."""
    async with place() as running:
        yield running


@pytest.fixture(params=["json", "msgpack"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both subprotocols."""
    return str(request.param)
