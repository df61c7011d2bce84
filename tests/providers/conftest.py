"""Real sockets for this room's tests; whatever a test leaves open fails it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from duologue.providers.http import HttpClients
from duologue.providers.openai_compatible import OpenAICompatible
from tests.providers.builders import model
from tests.system.fake_upstream import FakeUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[HttpClients]:
    """Connections; after the test none of its tasks may be left."""
    tasks = asyncio.all_tasks()
    clients = HttpClients()
    yield clients
    await clients.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= tasks | {asyncio.current_task()}


@pytest.fixture
def provider(upstream: FakeUpstream, clients: HttpClients) -> OpenAICompatible:
    return OpenAICompatible(model(upstream.url), clients)


@pytest.fixture
def sockets() -> Callable[[], int]:
    """How many sockets this process has open."""

    def count() -> int:
        found = 0
        for entry in Path("/proc/self/fd").iterdir():
            try:
                found += str(entry.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue
        return found

    return count
