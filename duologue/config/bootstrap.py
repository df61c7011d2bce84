"""What holds when no model is configured: the well-known variables of vendors, else the null provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duologue.config.features import BUILT_IN_FEATURES
from duologue.config.problems import Problem

__all__ = ["SERVICE", "is_wanted", "bootstrap"]

SERVICE = "default"
"""Name of the one service that is made up here."""


@dataclass(frozen=True, slots=True)
class _Vendor:
    """One model that two variables are enough for."""

    name: str
    provider: str
    key_variable: str
    partner_variable: str
    partner: str
    """The key of `[models]` that the partner variable fills in."""
    url: str | None = None
    """Where the vendor is; `None`: the partner variable says it."""


# In the order in which they are asked.
_VENDORS = (
    _Vendor(
        "openai", "openai_compatible", "OPENAI_API_KEY", "OPENAI_MODEL", "model", "https://api.openai.com"
    ),
    _Vendor(
        "anthropic", "claude", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL", "model", "https://api.anthropic.com"
    ),
    _Vendor("ai_chat", "http_service", "AI_CHAT_API_KEY", "AI_CHAT_URL", "url"),
)


def is_wanted(tables: Mapping[str, Any]) -> bool:
    """Whether nothing names a model or a service, so that there is nothing to contradict."""
    return not tables.get("models") and not tables.get("services")


def bootstrap(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Tables to lay *under* the configuration, and what is missing.

    The first vendor whose key is set is the primary, the next one the backup, of a service that the built-in
    features use. A third is registered only. With no key at all the null provider answers.

    Args:
        environ: All variables. An empty one counts as not set. Of a key only its variable's name is kept.
    """
    models: dict[str, Any] = {}
    problems: list[Problem] = []
    for vendor in _VENDORS:
        partner = environ.get(vendor.partner_variable)
        if not environ.get(vendor.key_variable):
            # A model's name alone says nothing (other programs read it too); this address is for us alone.
            if partner and vendor.partner == "url":
                problems.append(_missing(vendor.key_variable, beside=vendor.partner_variable))
        elif not partner:
            problems.append(_missing(vendor.partner_variable, beside=vendor.key_variable))
        else:
            model = {"provider": vendor.provider, "url": vendor.url, "api_key_env": vendor.key_variable}
            models[vendor.name] = {**model, vendor.partner: partner}
    if not models:
        models["null"] = {"provider": "null"}
    primary, *others = models
    service = {"primary": primary, **({"backup": others[0]} if others else {})}
    features = {feature: {"service": SERVICE} for feature in BUILT_IN_FEATURES}
    return {"models": models, "services": {SERVICE: service}, "features": features}, problems


def _missing(variable: str, *, beside: str) -> Problem:
    return Problem((variable,), f"is required because {beside} is set (or name your models in [models])")
