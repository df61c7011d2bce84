"""What a configuration means: which models answer each feature, and what will not work as it stands."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from duologue.config.consistency import is_loopback
from duologue.config.models import PENDING_PROVIDERS
from duologue.config.problems import quoted, table_name
from duologue.config.settings import Settings
from duologue.errors import FeatureNotConfigured

__all__ = ["FeatureRow", "Description", "describe"]


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """What one feature resolves to for one audience."""

    feature: str
    audience: str
    """`"everyone"`, `"section NAME"` or `"account NAME"`."""
    service: str | None
    """`None`: nothing; opening such a dialogue is refused."""
    models: tuple[str, ...] = ()
    """Names of registered models in the order of failover."""
    on_busy: str = ""
    has_system_prompt: bool = False

    def __str__(self) -> str:
        head = f"{self.feature} ({self.audience}):"
        if self.service is None:
            return f"{head} no service; opening a dialogue with it is refused"
        prompt = "with a system prompt" if self.has_system_prompt else "no system prompt"
        return f"{head} {self.service} = {' then '.join(self.models)}; on busy {self.on_busy}; {prompt}"


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that `check-config` says of a configuration that is accepted."""

    rows: tuple[FeatureRow, ...]
    """Each feature for everyone, then for each account and section that changes it."""
    warnings: tuple[str, ...]
    """What is allowed but will not work, or is rarely meant. Holds no secret."""

    def lines(self) -> list[str]:
        """The same as plain text."""
        return [*map(str, self.rows), *(f"warning: {warning}" for warning in self.warnings)]


def describe(settings: Settings, *, environ: Mapping[str, str] | None = None) -> Description:
    """Say what a configuration means.

    Args:
        settings: The configuration.
        environ: Looked at for whether keys are set, never for what they are; `None`: the process's own.
    """
    environ = os.environ if environ is None else environ
    warnings = [*_key_warnings(settings, environ), *_model_warnings(settings), *_token_warnings(settings)]
    return Description(tuple(_rows(settings)), tuple(warnings))


def _rows(settings: Settings) -> Iterator[FeatureRow]:
    for feature in settings.known_features():
        yield _row(settings, feature, "everyone")
        for account, overrides in settings.accounts.items():
            if feature in overrides:
                yield _row(settings, feature, f"account {account}", account=account)
        for section, overrides in settings.sections.items():
            if feature in overrides:
                yield _row(settings, feature, f"section {section}", section=section)


def _row(
    settings: Settings, feature: str, audience: str, *, section: str | None = None, account: str | None = None
) -> FeatureRow:
    try:
        resolved = settings.resolve(feature, section=section, account=account)
    except FeatureNotConfigured:
        return FeatureRow(feature, audience, None)
    models = tuple(model for _, model in settings.services[resolved.service].tiers())
    prompt = resolved.system_prompt is not None
    return FeatureRow(feature, audience, resolved.service, models, resolved.on_busy, has_system_prompt=prompt)


def _key_warnings(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for name, model in settings.models.items():
        variable = model.api_key_env
        if variable is None:
            continue
        place = f"{table_name(('models', name))} api_key_env"
        if not environ.get(variable):
            yield f"{place}: the variable {variable} is not set here; calls fail until it is"
        url = urlsplit(model.url or "https:")
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield f"{place}: the key crosses the network readable, because url is http and not https"


def _model_warnings(settings: Settings) -> Iterator[str]:
    used = {model for service in settings.services.values() for _, model in service.tiers()}
    for name, model in settings.models.items():
        place = table_name(("models", name))
        if name not in used:
            yield f"{place}: no service uses it"
        if model.provider in PENDING_PROVIDERS:
            yield f'{place} provider: "{model.provider}" has no adapter in this version; calls fail'
        if model.provider in {"null", "scripted"} and name in used:
            yield f'{place} provider: "{model.provider}" is no language model; its answers are made up'
    wanted = {row.service for row in _rows(settings)} | {
        s.summary_service for s in settings.services.values()
    }
    for name in settings.services:
        if name not in wanted:
            yield f"{table_name(('services', name))}: no feature uses {quoted(name)}"


def _token_warnings(settings: Settings) -> Iterator[str]:
    token = settings.auth.token
    if token is not None and len(token.get_secret_value()) < 16:
        yield "[auth] token: is shorter than 16 characters and may be guessed"
