"""The cases of OTP's and Elixir's own suites, on two loops.

Each test runs on virtual time, where a deadline of an hour costs nothing and time is exact, and on uvloop. There
time can't be virtual, because libuv keeps its own clock; so it runs `HASTE` times as fast, and bounds on how
long something took are only checked from below. Tests marked `virtual_time` depend on exact times (a race
between a timeout and a piece of work, or a long sequence of timers) and run on virtual time only.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import uvloop

from duologue.runtime import ActorSystem
from duologue.runtime.testing import VirtualTimeLoop

HASTE = 50.0


class HastyLoop(uvloop.Loop):  # type: ignore[misc]  # uvloop has no types
    """A uvloop in which a second takes 20 ms."""

    def time(self) -> float:
        return super().time() * HASTE  # type: ignore[no-any-return]  # as above

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return super().call_later(delay / HASTE, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_later(when - self.time(), callback, *args, context=context)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: depends on exact times; does not run on uvloop")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"virtual": VirtualTimeLoop, "uvloop": HastyLoop}


class Elapsed:
    """Seconds since it was made, on the loop's clock."""

    def __init__(self, system: ActorSystem) -> None:
        self._loop = system.loop
        self._began = self._loop.time()

    def check(self, at_least: float, at_most: float) -> None:
        """Both bounds on virtual time; on uvloop the lower one, less a tick of libuv's clock."""
        took = self._loop.time() - self._began
        if isinstance(self._loop, VirtualTimeLoop):
            assert at_least - 1e-6 <= took <= at_most + 1e-6
        else:
            assert took >= at_least - 2 * HASTE / 1000


@pytest.fixture
def elapsed(system: ActorSystem) -> Elapsed:
    return Elapsed(system)
