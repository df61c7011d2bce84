"""From tables to `Settings`, with everything that is wrong in one list."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from duologue.config.consistency import Tables, contradictions
from duologue.config.features import FeatureConfig
from duologue.config.fields import Value
from duologue.config.models import RegisteredModel
from duologue.config.problems import InvalidSettings, Path, Problem, nearest, table_name
from duologue.config.services import ServiceConfig
from duologue.config.settings import AuthSettings, ServerSettings, Settings
from duologue.config.shape import home_of, keys_of, shape_at

__all__ = ["build_settings"]

_V = TypeVar("_V", bound=Value)


def build_settings(
    tables: Mapping[str, Any],
    *,
    origins: Mapping[Path, str] | None = None,
    more_problems: tuple[Problem, ...] = (),
    source: str = "the configuration",
) -> Settings:
    """Check tables and freeze them.

    Args:
        tables: As a TOML file gives them.
        origins: Where values at these paths (and below) came from, if not from the file.
        more_problems: What was wrong before there were tables, such as an unknown variable.
        source: Named at the top of the error.

    Raises:
        InvalidSettings: Lists `more_problems`, every wrong key and every contradiction.
    """
    settings, problems = None, list(more_problems)
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        problems += [_translated(detail) for detail in error.errors(include_url=False)]
        problems += contradictions(_readable(tables))
    except InvalidSettings as error:
        problems += error.problems
    if settings is not None and not problems:
        return settings
    # Raised out here, so that pydantic's own error is not chained to it: that one may quote the file.
    raise InvalidSettings([_placed(problem, origins or {}) for problem in problems], source=source)


def _placed(problem: Problem, origins: Mapping[Path, str]) -> Problem:
    for end in range(len(problem.path), 0, -1):
        origin = origins.get(problem.path[:end])
        if origin is not None:
            return Problem(problem.path, problem.text, origin)
    return problem


# ── what pydantic found, in our words ───────────────────────────────────────────────────────────────────────

_PATTERNS = {
    "api_key_env": "must be a variable's name (letters, digits and _), never the key itself",
    "currency": 'must be three capital letters, such as "USD"',
}


def _translated(detail: Mapping[str, Any]) -> Problem:
    # "[key]" is pydantic's mark for an error in a table's name.
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    message = str(detail["msg"])
    match detail["type"]:
        case "extra_forbidden":
            text = _unknown_key(path)
        case "missing":
            text = "is required"
        case "model_type" | "model_attributes_type" | "mapping_type" | "dict_type":
            text = "must be a table"
        case "literal_error":
            text = _no_such_choice(str(detail["ctx"]["expected"]), detail["input"])
        case "string_pattern_mismatch":
            text = _PATTERNS.get(
                path[-1], "must not be empty or hold blanks at its ends or control characters"
            )
        case _:
            text = re.sub(r"^Input should be ", "must be ", message)
            text = re.sub(r"^(String|Tuple|Dictionary) should ", "must ", text)
    return Problem(path, text)


def _unknown_key(path: Path) -> str:
    home = home_of(path[0]) if len(path) == 1 else None
    if home is not None:
        return f"unknown key; it belongs in {table_name(home[:-1])}"
    known = keys_of(shape_at(path[:-1]))
    return "unknown key" + nearest(path[-1], known, otherwise=f"; known here: {', '.join(known)}")


def _no_such_choice(expected: str, given: object) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    listed = ", ".join(f'"{choice}"' for choice in choices[:-1])
    hint = nearest(given, choices) if isinstance(given, str) else ""
    return f'must be {listed} or "{choices[-1]}"' + hint


# ── what can be read of broken tables ───────────────────────────────────────────────────────────────────────


def _readable(tables: Mapping[str, Any]) -> Tables:
    server = _read(ServerSettings, tables.get("server", {}))
    auth = _read(AuthSettings, tables.get("auth", {}))
    return Tables(
        model_names=frozenset(_table(tables, "models")),
        service_names=frozenset(_table(tables, "services")),
        feature_names=frozenset(_table(tables, "features")),
        models=_read_all(RegisteredModel, _table(tables, "models")),
        services=_read_all(ServiceConfig, _table(tables, "services")),
        features=dict(_read_features(tables)),
        host=server.host if server is not None else None,
        has_token=auth is None or auth.token is not None,
    )


def _read_features(tables: Mapping[str, Any]) -> Iterator[tuple[Path, FeatureConfig]]:
    # An unreadable one still has a name to check.
    for name, feature in _table(tables, "features").items():
        yield ("features", name), _read(FeatureConfig, feature) or FeatureConfig()
    for kind in ("sections", "accounts"):
        for owner in _table(tables, kind):
            for name, feature in _table(_table(tables, kind), owner).items():
                yield (kind, owner, name), _read(FeatureConfig, feature) or FeatureConfig()


def _table(tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tables.get(key)
    return found if isinstance(found, Mapping) else {}


def _read_all(kind: type[_V], tables: Mapping[str, Any]) -> dict[str, _V]:
    return {name: value for name, table in tables.items() if (value := _read(kind, table)) is not None}


def _read(kind: type[_V], table: object) -> _V | None:
    try:
        return kind.model_validate(table)
    except ValidationError:
        return None
