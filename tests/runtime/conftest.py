import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from duologue.runtime import ActorSystem
from duologue.runtime.testing import VirtualTimeLoop
from tests.runtime.actors import Ledger


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time, unless a test module names its own loops."""
    return getattr(item.module, "LOOPS", None) or {"virtual": VirtualTimeLoop}


@pytest.fixture
def ledger() -> Ledger:
    """Telemetry that keeps what it is told."""
    return Ledger()


@pytest.fixture
async def system(ledger: Ledger) -> AsyncIterator[ActorSystem]:
    """A system that must be empty at the end: no actor, no waiting call, no task but the zombies it knows of."""
    before = asyncio.all_tasks()
    system = ActorSystem(telemetry=ledger)
    yield system
    await system.shutdown()
    statistics = system.statistics()
    assert (statistics.actors, statistics.waiting_calls) == (0, 0)
    assert len(system.registry) == 0
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert len(left) == statistics.zombies, f"tasks left behind: {left}"
