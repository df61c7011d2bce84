"""Environment variables as tables: `DUOLOGUE_STORE__URL` is `url` in `[store]`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from duologue.config.problems import Path, Problem
from duologue.config.shape import (
    ROOT,
    Shape,
    child,
    home_of,
    is_list,
    is_open,
    is_table,
    is_text,
    keys_of,
    paths,
)

__all__ = ["PREFIX", "CONFIG_VARIABLE", "TOKEN_VARIABLE", "Layer", "read_environment", "merged"]

PREFIX = "DUOLOGUE_"
CONFIG_VARIABLE = "DUOLOGUE_CONFIG"
"""Names the file; no setting itself."""
TOKEN_VARIABLE = "DUOLOGUE_AUTH_TOKEN"  # noqa: S105 - a variable's name
"""The one short name: `[auth] token`."""

_NO_SETTINGS = {
    CONFIG_VARIABLE,
    "DUOLOGUE_URL",  # where `duologue chat` finds its server
    "DUOLOGUE_REQUIRE_BROWSER",  # the tests' own: a missing browser is a failure, not a skip
}
# Kubernetes describes a service called "duologue" to every pod in variables that look like ours.
_KUBERNETES = re.compile(r"DUOLOGUE_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """Tables from one source, with what could not be understood."""

    tables: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    """Which variable set the value at a path."""
    problems: list[Problem] = field(default_factory=list)


class _NotUnderstoodError(Exception):
    """Why a variable could not be used."""


def read_environment(environ: Mapping[str, str], beneath: Mapping[str, Any]) -> Layer:
    """All variables of ours. An empty one counts as not set.

    A name of the user's choice is matched without regard to case, with `_` for what is no letter or digit:
    `DUOLOGUE_SECTIONS__REAL_CHEM__...` is `[sections.real-chem]`. A new one is taken in small letters.

    Args:
        environ: All variables; others are ignored.
        beneath: The tables that this layer goes over, for the names in them.
    """
    layer = Layer()
    for variable in sorted(environ):
        value = environ[variable]
        if not value or not variable.startswith(PREFIX) or _is_no_setting(variable, value):
            continue
        try:
            path, shape = _locate(variable, beneath)
            _place(layer.tables, path, _decoded(value, shape))
        except _NotUnderstoodError as reason:
            layer.problems.append(Problem((variable,), str(reason)))
        else:
            layer.origins[path] = variable
    return layer


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`, table by table. `None` in `upper` means "not given"."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def _is_no_setting(variable: str, value: str) -> bool:
    if variable == "DUOLOGUE_PORT":
        return value.startswith(("tcp://", "udp://"))
    return variable in _NO_SETTINGS or _KUBERNETES.fullmatch(variable) is not None


def _locate(variable: str, beneath: Mapping[str, Any]) -> tuple[Path, Shape]:
    if variable == TOKEN_VARIABLE:
        return ("auth", "token"), str
    path: Path = ()
    shape: Shape = ROOT
    names: object = beneath
    parts = variable.removeprefix(PREFIX).split("__")
    for index, part in enumerate(parts):
        existing = list(names) if isinstance(names, Mapping) else []
        key = _own_name(part, existing) if is_open(shape) else part.lower()
        below = child(shape, key) if key else None
        if below is None:
            raise _NotUnderstoodError(_unknown(path, "__".join(parts[index:]), shape))
        path, shape = (*path, key), below
        names = names.get(key) if isinstance(names, Mapping) else None
    return path, shape


def _own_name(part: str, existing: list[str]) -> str:
    if part in existing:
        return part
    return next((name for name in existing if _flat(name) == _flat(part)), part.lower())


def _flat(name: str) -> str:
    return re.sub(r"\W", "_", name).lower()


def _unknown(path: Path, rest: str, shape: Shape) -> str:
    home = home_of(rest.lower()) if not path else None
    if home is not None:
        return f"unknown variable; did you mean {_variable(home)}?"
    # Compared without what all names share, or anything would look like something.
    known = (
        {key: (*path, key) for key in keys_of(shape)} if path else {"__".join(way): way for way in paths()}
    )
    known |= {} if path else {"config": ("config",), "auth_token": ("auth_token",)}
    found = get_close_matches(rest.lower(), known, n=1, cutoff=0.6)
    return "unknown variable" + (f"; did you mean {_variable(known[found[0]])}?" if found else "")


def _variable(path: Path) -> str:
    return PREFIX + "__".join(path).upper()


def _decoded(value: str, shape: Shape) -> object:
    if is_text(shape):
        return value
    try:
        decoded = json.loads(value)
    except ValueError:
        decoded = value
    if is_table(shape) and not isinstance(decoded, dict):
        raise _NotUnderstoodError(
            "is a table: give a JSON object, or one variable for each key with __ between"
        )
    if is_list(shape) and isinstance(decoded, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return decoded


def _place(tables: dict[str, Any], path: Path, value: object) -> None:
    for key in path[:-1]:
        tables = tables.setdefault(key, {})
        if not isinstance(tables, dict):
            raise _NotUnderstoodError("lies below what another variable sets to a plain value")
    last = path[-1]
    existing = tables.get(last)
    tables[last] = (
        merged(value, existing) if isinstance(value, dict) and isinstance(existing, dict) else value
    )
