"""The conformance suite, once for each adapter."""

import pytest

from duologue.providers.failures import Category
from duologue.providers.http import HttpClients
from duologue.providers.null import NULL_TEXT, NullProvider
from duologue.providers.openai_compatible import OpenAICompatible
from duologue.providers.port import Provider
from duologue.providers.scripted import ScriptedProvider
from tests.providers.builders import model
from tests.providers.conformance.suite import FailingProviderContract, ProviderContract, Stage
from tests.system.fake_upstream import FakeUpstream, Fault, Play


class _Null(Stage):
    text = NULL_TEXT

    def complete(self) -> Provider:
        return NullProvider(interval=0.0)

    def stalls(self) -> Provider:
        return NullProvider(interval=10_000.0)

    def fails(self, category: Category) -> Provider:
        raise NotImplementedError

    def is_idle(self) -> bool:
        return True


class _Scripted(Stage):
    text = "One two three"

    def __init__(self) -> None:
        self.made: list[ScriptedProvider] = []

    def complete(self) -> Provider:
        return self._make(text=self.text)

    def stalls(self) -> Provider:
        return self._make(text=self.text, fault="stall", at=2)

    def fails(self, category: Category) -> Provider:
        faults = {
            Category.CONNECT: "refuse",
            Category.RATE_LIMITED: "rate_limited",
            Category.SERVER_ERROR: "server_error",
            Category.TRUNCATED: "die",
            Category.MALFORMED: "garbage",
        }
        return self._make(text=self.text, fault=faults[category], at=2)

    def is_idle(self) -> bool:
        return all(provider.open == 0 for provider in self.made)

    def _make(self, **parameters: object) -> ScriptedProvider:
        self.made.append(ScriptedProvider.from_parameters(parameters))
        return self.made[-1]


class _OpenAICompatible(Stage):
    text = "Hello from the fake upstream."

    def __init__(self, upstream: FakeUpstream, clients: HttpClients) -> None:
        self.upstream = upstream
        self.adapter = OpenAICompatible(model(upstream.url), clients)

    def complete(self) -> Provider:
        self.upstream.play(Play())
        return self.adapter

    def stalls(self) -> Provider:
        self.upstream.play(Play(fault=Fault.STALL, at=2))
        return self.adapter

    def fails(self, category: Category) -> Provider:
        if category is Category.CONNECT:
            self.upstream.refuse()
            return self.adapter
        faults = {
            Category.RATE_LIMITED: Fault.RATE_LIMITED,
            Category.SERVER_ERROR: Fault.SERVER_ERROR,
            Category.TRUNCATED: Fault.DIE,
            Category.MALFORMED: Fault.GARBAGE,
        }
        self.upstream.play(Play(fault=faults[category], at=2))
        return self.adapter

    def is_idle(self) -> bool:
        return self.upstream.open_answers == 0

    async def settled(self) -> None:
        await self.upstream.wait_until(self.is_idle, 0.5)


class TestNull(ProviderContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return _Null()


class TestScripted(FailingProviderContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return _Scripted()


class TestOpenAICompatible(FailingProviderContract):
    @pytest.fixture
    def stage(self, upstream: FakeUpstream, clients: HttpClients) -> Stage:
        return _OpenAICompatible(upstream, clients)
