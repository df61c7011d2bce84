"""From a registered model to the adapter that speaks its wire. Built when first called, kept until closed."""

import os
from collections.abc import Callable, Mapping

from duologue.config.models import RegisteredModel
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.http import HttpClients
from duologue.providers.null import NullProvider
from duologue.providers.openai_compatible import OpenAICompatible
from duologue.providers.port import Provider
from duologue.providers.scripted import ScriptedProvider

__all__ = ["Providers", "Factory"]

Factory = Callable[[RegisteredModel, HttpClients, Callable[[], str | None]], Provider]
"""Makes an adapter from its model, the shared connections and what gives the key when a call is made."""

FACTORIES: Mapping[str, Factory] = {
    "openai_compatible": OpenAICompatible,
    "null": lambda model, clients, key: NullProvider(),  # noqa: ARG005
    "scripted": lambda model, clients, key: ScriptedProvider.from_parameters(model.parameters),  # noqa: ARG005
}
"""The wire protocols that this version speaks, by their name in the configuration."""


class Providers:
    """The adapters of all registered models.

    Args:
        models: As they are configured.
        environ: Where keys are read from, at each call; a key that changes is used from the next call on.
        factories: By provider name.
        adapters: Made already, by the name of their model; closed with the others.
    """

    def __init__(
        self,
        models: Mapping[str, RegisteredModel],
        *,
        environ: Mapping[str, str] = os.environ,
        factories: Mapping[str, Factory] = FACTORIES,
        adapters: Mapping[str, Provider] | None = None,
    ) -> None:
        self._models = models
        self._environ = environ
        self._factories = factories
        self._clients = HttpClients(
            tls=any((model.url or "").startswith("https:") for model in models.values())
        )
        self._built: dict[str, Provider] = dict(adapters or {})

    def provider(self, name: str) -> Provider:
        """The adapter of a registered model.

        Raises:
            ProviderFailure: `model_misconfigured`: no adapter speaks its protocol, or it refuses the model.
        """
        provider = self._built.get(name)
        if provider is None:
            provider = self._built[name] = self._build(name)
        return provider

    async def close(self) -> None:
        """Close every adapter and every connection. Idempotent."""
        built, self._built = list(self._built.values()), {}
        for provider in built:
            await provider.close()
        await self._clients.close()

    def _build(self, name: str) -> Provider:
        model = self._models[name]
        factory = self._factories.get(model.provider)
        if factory is None:
            raise ProviderFailure(
                Category.MODEL_MISCONFIGURED,
                f"model {name!r}: this version has no adapter for provider {model.provider!r}",
            )
        try:
            return factory(model, self._clients, lambda: self._key(name))
        except ValueError as error:
            raise ProviderFailure(Category.MODEL_MISCONFIGURED, f"model {name!r}: {error}") from None

    def _key(self, name: str) -> str | None:
        variable = self._models[name].api_key_env
        if variable is None:
            return None
        key = self._environ.get(variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            problem = "holds characters that no key has" if key else "is not set"
            raise ProviderFailure(
                Category.MODEL_MISCONFIGURED, f"model {name!r}: the environment variable {variable} {problem}"
            )
        return key
