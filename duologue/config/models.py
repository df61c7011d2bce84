"""A registered model: where it is, how it is called, how long it may take and what it costs."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from duologue.config.fields import Count, FrozenMapping, Seconds, Value

__all__ = ["RegisteredModel", "Timeouts", "Price", "ProviderName", "PENDING_PROVIDERS", "NEEDED_KEYS"]

ProviderName = Literal["openai_compatible", "claude", "http_service", "null", "scripted"]
"""The wire protocols by name."""

PENDING_PROVIDERS = frozenset({"claude", "http_service"})
"""Accepted in a configuration, but this version has no adapter: a call fails with `model_misconfigured`."""

NEEDED_KEYS: dict[ProviderName, tuple[Literal["model", "url"], ...]] = {
    "openai_compatible": ("model", "url"),
    "claude": ("model",),
    "http_service": ("url",),
}
"""What a provider can't be called without. Those that are not named need nothing."""


def _base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        sound = False
    if not sound:
        raise PydanticCustomError("base_url", 'must be a base URL such as "https://api.openai.com"')
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError(
            "base_url", "must hold no credentials; name the key's variable in api_key_env"
        )
    if parts.query or parts.fragment:
        raise PydanticCustomError("base_url", "must end with its path: the adapter adds the rest")
    return url.rstrip("/")


def _json_only(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError):
        raise PydanticCustomError(
            "json_only", "must hold only what JSON can say: no dates, no infinity"
        ) from None
    return parameters


class Timeouts(Value):
    """How long one attempt may take, in seconds. All four run; the first to end ends the attempt."""

    connect: Seconds = 5.0
    """Until the connection stands, TLS included."""
    first_token: Seconds = 20.0
    """From the attempt's start (connect and headers included) to its first content."""
    idle: Seconds = 15.0
    """Between two pieces of content. Comments and pings do not count as content."""
    total: Seconds = 120.0
    """For the whole attempt."""


class Price(Value):
    """What a million tokens cost."""

    input: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    """Per million tokens read."""
    output: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    """Per million tokens written."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    """Three letters as in ISO 4217."""


class RegisteredModel(Value):
    """One language model under a name of ours. Which keys a provider needs is checked by `Settings`."""

    provider: ProviderName
    """The wire protocol that it speaks."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """The vendor's own name for it. `None`: the provider needs none."""
    url: Annotated[str, StringConstraints(max_length=2048), AfterValidator(_base_url)] | None = None
    """Base URL, no slash at its end; the adapter adds its path. `None`: the adapter's own."""
    api_key_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    """Name of the variable that holds the key, read when a call is made. `None`: no key is sent."""
    context_length: Count | None = None
    """Tokens that fit, prompt and answer together.

    `None`: unknown, taken as larger when a context does not fit elsewhere.
    """
    max_concurrent: Count | None = None
    """Calls at the same time. `None`: no cap."""
    parameters: Annotated[FrozenMapping[str, Any], BeforeValidator(_json_only)] = Field(default_factory=dict)
    """Sent as they are; the adapter knows where a model wants another name."""
    timeouts: Timeouts = Timeouts()
    price: Price | None = None
    """`None`: the cost is unknown, which is not 0."""
