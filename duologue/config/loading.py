"""Finds and reads the configuration: file, environment over it, flags over both."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duologue.config.bootstrap import bootstrap, is_wanted
from duologue.config.environment import CONFIG_VARIABLE, merged, read_environment
from duologue.config.problems import Path as KeyPath
from duologue.config.settings import Settings
from duologue.config.structure import build_settings
from duologue.errors import ConfigurationError

__all__ = ["DEFAULT_FILE", "load_settings"]

DEFAULT_FILE = "duologue.toml"
"""Read from the working directory if it is there and no other file is named."""


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the configuration. Reads at most one file, and no key of a model.

    Args:
        path: The TOML file. `None`: `DUOLOGUE_CONFIG`, else `./duologue.toml` if it is there, else none.
        environ: Variables; `None`: the process's own.
        overrides: Tables that go over all, such as `{"server": {"port": 9000}}`; `None`: not given.

    Raises:
        ConfigurationError: The file can't be read, or (as `InvalidSettings`) is wrong; all is listed.
    """
    environ = os.environ if environ is None else environ
    path = _find(path, environ)
    tables = _read(path) if path is not None else {}
    layer = read_environment(environ, tables)
    origins, problems = layer.origins, layer.problems
    tables = merged(merged(tables, layer.tables), overrides or {})
    origins |= dict.fromkeys(_leaves(overrides or {}), "the command line")
    if is_wanted(tables):
        beneath, missing = bootstrap(environ)
        tables = merged(beneath, tables)
        problems += missing
    source = str(path) if path is not None else "the configuration (no file)"
    return build_settings(tables, origins=origins, more_problems=tuple(problems), source=source)


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    default = Path(DEFAULT_FILE)
    return default if default.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read: {error.strerror or type(error).__name__}"
        ) from error
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not TOML: {error}"
    # Raised out here: the errors above hold the file's text, and with it perhaps a token.
    raise ConfigurationError(f"{path}: {reason}")


def _leaves(tables: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        elif value is not None:
            yield (*above, key)
