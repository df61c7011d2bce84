"""The rules between tables: every name points somewhere, and nothing contradicts anything else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from duologue.config.features import BUILT_IN_FEATURES, FeatureConfig
from duologue.config.models import NEEDED_KEYS, RegisteredModel
from duologue.config.problems import Path, Problem, nearest, quoted
from duologue.config.services import ServiceConfig

__all__ = ["Tables", "contradictions", "is_loopback"]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the rules look at.

    A table that could not be read has its name here but no value, so that one mistake is reported once.
    """

    model_names: frozenset[str] = frozenset()
    service_names: frozenset[str] = frozenset()
    feature_names: frozenset[str] = frozenset()
    models: Mapping[str, RegisteredModel] = field(default_factory=dict)
    services: Mapping[str, ServiceConfig] = field(default_factory=dict)
    features: Mapping[Path, FeatureConfig] = field(default_factory=dict)
    """By path: `("features", name)`, `("sections", section, name)`, `("accounts", account, name)`."""
    host: str | None = None
    """`None`: unreadable, so not judged."""
    has_token: bool = True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound there. No name but `localhost` is known."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def contradictions(tables: Tables) -> list[Problem]:
    """Everything that is wrong between the tables, in the order of the file."""
    return [
        *_open_door(tables),
        *_incomplete_models(tables),
        *_services(tables),
        *_features(tables),
    ]


def _open_door(tables: Tables) -> Iterator[Problem]:
    if tables.host is not None and not is_loopback(tables.host) and not tables.has_token:
        yield Problem(
            ("server", "host"),
            "others can reach this address, so a token is needed: "
            "set `token` in [auth] or DUOLOGUE_AUTH_TOKEN, or bind 127.0.0.1",
        )


def _incomplete_models(tables: Tables) -> Iterator[Problem]:
    for name, model in tables.models.items():
        for key in NEEDED_KEYS.get(model.provider, ()):
            if getattr(model, key) is None:
                yield Problem(("models", name, key), f'is required by the provider "{model.provider}"')


def _services(tables: Tables) -> Iterator[Problem]:
    for name, service in tables.services.items():
        seen: dict[str, str] = {}
        for tier, model in service.tiers():
            path: Path = ("services", name, tier)
            if model not in tables.model_names:
                yield Problem(path, _nowhere("model", model, "models", tables.model_names))
            elif model in seen:
                yield Problem(
                    path, f"is the same model as {seen[model]}: a failover to it would change nothing"
                )
            seen.setdefault(model, tier)
        summary = service.summary_service
        if summary is not None and summary not in tables.service_names:
            path = ("services", name, "summary_service")
            yield Problem(path, _nowhere("service", summary, "services", tables.service_names))


def _features(tables: Tables) -> Iterator[Problem]:
    known = {*BUILT_IN_FEATURES, *tables.feature_names}
    for path, feature in tables.features.items():
        if path[-1] not in known:
            hint = nearest(path[-1], sorted(known), otherwise=f"; name it in [features.{path[-1]}]")
            yield Problem(path, "no such feature" + hint)
        if feature.service is not None and feature.service not in tables.service_names:
            yield Problem(
                (*path, "service"), _nowhere("service", feature.service, "services", tables.service_names)
            )


def _nowhere(kind: str, name: str, table: str, known: frozenset[str]) -> str:
    return f"no {kind} {quoted(name)} in [{table}]" + nearest(name, sorted(known))
