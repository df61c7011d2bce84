"""`Settings`: everything that can be configured, checked and frozen."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from duologue.config.consistency import Tables, contradictions
from duologue.config.features import BUILT_IN_FEATURES, FeatureConfig, ResolvedFeature
from duologue.config.fields import Bytes, FrozenMapping, Name, Seconds, Value
from duologue.config.models import RegisteredModel
from duologue.config.problems import InvalidSettings, nearest, quoted, table_name
from duologue.config.problems import Path as KeyPath
from duologue.config.services import ServiceConfig
from duologue.errors import FeatureNotConfigured

__all__ = ["Settings", "ServerSettings", "AuthSettings", "StoreSettings", "LimitSettings"]

_STORE_SCHEMES = ("redis", "rediss", "unix", "memory")


def _origin(text: str) -> str:
    """An origin exactly as a browser sends it, so that equality is the whole comparison."""
    try:
        parts = urlsplit(text)
        sound = bool(parts.scheme) and bool(parts.netloc) and text == f"{parts.scheme}://{parts.netloc}"
        sound = sound and "@" not in text and "*" not in text and text == text.lower()
        sound = sound and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise PydanticCustomError(
            "origin", 'must be an origin in small letters, such as "https://chat.example.org"'
        )
    return text


def _host(text: str) -> str:
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return text


def _token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise PydanticCustomError("token", "must be one or more printable ASCII characters without blanks")
    return token


def _store_url(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        sound = parts.scheme in _STORE_SCHEMES and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        choices = ", ".join(f"{scheme}://" for scheme in _STORE_SCHEMES)
        raise PydanticCustomError(
            "store_url", "must be a URL that starts with one of {choices}", {"choices": choices}
        )
    return url


class ServerSettings(Value):
    """Where the server listens and which pages may talk to it."""

    host: Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=255), AfterValidator(_host)] = (
        "127.0.0.1"
    )
    """Address to bind. Anything that is not loopback is refused without a token."""
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 8400
    """0: one that is free."""
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Origins besides the server's own, such as `https://chat.example.org`; compared as they are."""


class AuthSettings(Value):
    """Who may talk to the server."""

    token: Annotated[SecretStr, AfterValidator(_token)] | None = None
    """`None`: nobody is asked, and only loopback may be bound."""


class StoreSettings(Value):
    """Where the durable state is."""

    url: Annotated[SecretStr, AfterValidator(_store_url)] | None = None
    """`None`: the bundled server. `memory://`: nothing outlives the process."""
    data_dir: Path = Path(".duologue")
    """Files of the bundled server; relative to the working directory."""
    timeout: Seconds = 1.0
    """For one command."""
    checkpoint_interval: Seconds = 0.5
    """Between checkpoints of a streaming answer."""
    retention_days: Annotated[int, Field(strict=True, ge=0, le=36_500)] = 0
    """Days after its last message until a dialogue is deleted. 0: kept until it is deleted."""


class LimitSettings(Value):
    """Bounds on what one client may cost."""

    message_bytes_max: Bytes = 32_768
    """One message's content, in UTF-8."""
    outbox_bytes_max: Bytes = 1_048_576
    """What may wait for one slow socket."""
    idle_after: Seconds = 300.0
    """Until a dialogue that nobody asks anything leaves memory."""


class Settings(Value):
    """The whole configuration. `Settings()` is valid: a server on loopback with no model.

    Raises:
        InvalidSettings: The tables contradict each other.
        pydantic.ValidationError: A wrong type or unknown key; `load_settings` makes it `InvalidSettings`.
    """

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    store: StoreSettings = StoreSettings()
    limits: LimitSettings = LimitSettings()
    models: FrozenMapping[Name, RegisteredModel] = Field(default_factory=dict)
    services: FrozenMapping[Name, ServiceConfig] = Field(default_factory=dict)
    features: FrozenMapping[Name, FeatureConfig] = Field(default_factory=dict)
    sections: FrozenMapping[Name, FrozenMapping[Name, FeatureConfig]] = Field(default_factory=dict)
    """By section, then feature."""
    accounts: FrozenMapping[Name, FrozenMapping[Name, FeatureConfig]] = Field(default_factory=dict)
    """By account, then feature."""

    @model_validator(mode="after")
    def _names_point_somewhere(self) -> Self:
        problems = contradictions(self._tables())
        if problems:
            raise InvalidSettings(problems)
        return self

    def _tables(self) -> Tables:
        features: dict[KeyPath, FeatureConfig] = {
            ("features", name): feature for name, feature in self.features.items()
        }
        for table, overrides in (("sections", self.sections), ("accounts", self.accounts)):
            for owner, by_feature in overrides.items():
                features |= {(table, owner, name): feature for name, feature in by_feature.items()}
        return Tables(
            model_names=frozenset(self.models),
            service_names=frozenset(self.services),
            feature_names=frozenset(self.features),
            models=self.models,
            services=self.services,
            features=features,
            host=self.server.host,
            has_token=self.auth.token is not None,
        )

    def known_features(self) -> tuple[str, ...]:
        """The built-in features and those that the file names, in that order."""
        return (*BUILT_IN_FEATURES, *(name for name in self.features if name not in BUILT_IN_FEATURES))

    def resolve(
        self, feature: str, *, section: str | None = None, account: str | None = None
    ) -> ResolvedFeature:
        """What holds for a dialogue: section, then account, then the feature's default, key by key.

        Args:
            feature: Its name.
            section: `None`, or one that the configuration does not name: nothing is overridden.
            account: The same.

        Raises:
            FeatureNotConfigured: No service is found; the message names the tables where one may be set.
        """
        layers = self._layers(feature, section, account)
        service = next((layer.service for layer in layers if layer.service is not None), None)
        if service is None:
            raise FeatureNotConfigured(self._unconfigured(feature, section, account))
        prompt = next((layer.system_prompt for layer in layers if layer.system_prompt is not None), None)
        busy = next((layer.on_busy for layer in layers if layer.on_busy is not None), None)
        return ResolvedFeature(
            feature=feature, service=service, system_prompt=prompt, on_busy=busy or "reject"
        )

    def _layers(self, feature: str, section: str | None, account: str | None) -> list[FeatureConfig]:
        found = (
            self.sections.get(section, {}).get(feature) if section is not None else None,
            self.accounts.get(account, {}).get(feature) if account is not None else None,
            self.features.get(feature),
        )
        return [layer for layer in found if layer is not None]

    def _unconfigured(self, feature: str, section: str | None, account: str | None) -> str:
        where = [table_name(("features", feature))]
        who = ""
        if account is not None:
            where.append(table_name(("accounts", account, feature)))
            who = f" for the account {quoted(account)}" + who
        if section is not None:
            where.append(table_name(("sections", section, feature)))
            who = f" in the section {quoted(section)}" + who
        known = "" if feature in self.known_features() else nearest(feature, self.known_features())
        return (
            f"no service for the feature {quoted(feature)}{who}: set `service` in {' or '.join(where)}{known}"
        )
