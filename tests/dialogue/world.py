"""A whole runtime in memory with scripted models: nothing of it is a stand-in of ours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from duologue.assembly import Runtime, open_runtime
from duologue.config.loading import load_settings
from duologue.config.settings import Settings
from duologue.dialogue.environment import DialogueLimits
from duologue.dialogue.events import TERMINAL, Event
from duologue.dialogue.handle import Dialogue
from duologue.dialogue.streams import EventStream
from duologue.providers.registry import Providers
from duologue.providers.scripted import End, Say, Script, ScriptedProvider
from duologue.providers.service import FailoverServices
from duologue.store.memory import MemoryState, MemoryStore
from duologue.supervisor import RestartPolicy
from duologue.telemetry import Metrics

LIMITS = DialogueLimits(checkpoint_interval=0.01, linger=0.01, not_saved_after=0.2)


def says(text: str) -> Script:
    return [Say(text), End()]


def settings_of(
    models: list[str], *, on_busy: str = "reject", on_interrupted: str = "retry", on_failure: str = "restart"
) -> Settings:
    tiers = dict(
        zip(("primary", "backup") if len(models) < 3 else ("primary", "secondary", "backup"), models)
    )
    service = {**tiers, "on_interrupted": on_interrupted, "on_stream_failure": on_failure}
    return load_settings(
        environ={},
        overrides={
            "store": {"url": "memory://"},
            "models": {name: {"provider": "scripted"} for name in models},
            "services": {"standard": service},
            "features": {
                "student_dialogue": {
                    "service": "standard",
                    "on_busy": on_busy,
                    "system_prompt": "You are a patient tutor.",
                }
            },
        },
    )


@dataclass
class World:
    runtime: Runtime
    store: MemoryStore
    models: dict[str, ScriptedProvider]
    metrics: Metrics

    async def open(self, name: str = "d1") -> Dialogue:
        return await self.runtime.open(name, feature="student_dialogue")

    async def crash(self, dialogue: Dialogue) -> None:
        """End the dialogue's actor in a way that it can't catch, and wait for its end."""
        ref = self.runtime._directory.awake(dialogue.id)
        assert ref is not None
        ref.kill()
        await ref.wait()

    def asleep(self, dialogue: Dialogue) -> bool:
        return self.runtime._directory.awake(dialogue.id) is None


@asynccontextmanager
async def world(
    *scripts: ScriptedProvider,
    state: MemoryState | None = None,
    store: MemoryStore | None = None,
    limits: DialogueLimits = LIMITS,
    policy: RestartPolicy | None = None,
    **configuration: Any,
) -> AsyncIterator[World]:
    """Models are named `m1`, `m2`, … in the order of failover."""
    models = {
        f"m{index}": script for index, script in enumerate(scripts or (ScriptedProvider(says("Hi.")),), 1)
    }
    settings = settings_of(list(models), **configuration)
    names = {id(model): name for name, model in settings.models.items()}
    providers = Providers(
        settings.models, factories={"scripted": lambda model, clients, key: models[names[id(model)]]}
    )
    metrics = Metrics()
    store = MemoryStore(state) if store is None else store
    async with open_runtime(
        settings,
        telemetry=metrics,
        store=store,
        services=FailoverServices(settings, providers, metrics),
        limits=limits,
        restart_policy=policy,
    ) as runtime:
        yield World(runtime, store, models, metrics)


def limits(**changes: Any) -> DialogueLimits:
    return replace(LIMITS, **changes)


async def until(condition: Callable[[], object], what: str) -> None:
    """Give way until the condition holds; fail after five seconds."""
    deadline = asyncio.get_running_loop().time() + 5
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        await asyncio.sleep(0.001)


async def next_of(stream: EventStream, kind: type[Event]) -> Any:
    """The next event of this kind; those before it are passed over."""
    async with asyncio.timeout(5):
        async for event in stream:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the stream ended without {kind.__name__}")


async def whole_turn(stream: EventStream) -> list[Event]:
    """All events to the terminal one."""
    events: list[Event] = []
    async with asyncio.timeout(5):
        async for event in stream:
            events.append(event)
            if isinstance(event, TERMINAL):
                break
    return events


def names(events: list[Event]) -> list[str]:
    """The events' wire names, with runs of deltas as one."""
    found: list[str] = []
    for event in events:
        if event.name != "turn.delta" or found[-1:] != ["turn.delta"]:
            found.append(event.name)
    return found
