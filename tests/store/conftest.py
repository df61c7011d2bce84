import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from duologue.store.bundled import BundledServer
from duologue.store.memory import MemoryStore
from duologue.store.port import Store
from duologue.store.redis import RedisStore
from tests.store.fault_proxy import FaultProxy

_prefixes = count(1)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledServer]:
    """One real Valkey for the whole run; tests keep apart by prefix."""
    server = BundledServer(tmp_path_factory.mktemp("valkey"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
def prefix() -> str:
    return f"test{next(_prefixes)}:"


@pytest.fixture
async def redis_store(valkey: BundledServer, prefix: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(valkey.url, prefix=prefix)
    await store.open()
    yield store
    await store.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, valkey: BundledServer, prefix: str) -> AsyncIterator[Store]:
    made: dict[str, Store] = {"memory": MemoryStore(), "redis": RedisStore(valkey.url, prefix=prefix)}
    chosen = made[request.param]
    await chosen.open()
    yield chosen
    await chosen.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def proxy(valkey: BundledServer, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the session's Valkey."""
    async with FaultProxy(valkey.url, tmp_path / "proxy.sock") as running:
        yield running


@pytest.fixture
async def proxied(proxy: FaultProxy, prefix: str) -> AsyncIterator[RedisStore]:
    """A store that reaches its server through the proxy, connected already."""
    store = RedisStore(proxy.url, prefix=prefix, timeout=0.3)
    await store.open()
    await store.ping()
    yield store
    await store.close()
