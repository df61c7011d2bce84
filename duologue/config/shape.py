"""The shape of the configuration: which keys a table knows. Read off the classes, so that both agree."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from duologue.config.problems import Path
from duologue.config.settings import Settings

__all__ = [
    "Shape",
    "ROOT",
    "keys_of",
    "child",
    "shape_at",
    "is_open",
    "is_table",
    "is_list",
    "is_text",
    "paths",
]

Shape = Any
"""An annotation without `Annotated` and `| None`: a class, a `Mapping[...]`, a `Literal[...]` or `Any`."""

ROOT: Shape = Settings


def keys_of(shape: Shape) -> tuple[str, ...]:
    """The keys that a table knows; none for a table whose names are the user's, or for a value."""
    return tuple(shape.model_fields) if _is_model(shape) else ()


def child(shape: Shape, key: str) -> Shape | None:
    """What belongs under a key; `None`: nothing does."""
    if _is_model(shape):
        field = shape.model_fields.get(key)
        return None if field is None else _plain(field.annotation)
    if is_open(shape):
        return Any if shape is Any else _plain(get_args(shape)[1])
    return None


def shape_at(path: Path) -> Shape | None:
    """What belongs at a path; `None`: nothing does."""
    shape: Shape | None = ROOT
    for key in path:
        shape = None if shape is None else child(shape, key)
    return shape


def is_open(shape: Shape) -> bool:
    """Whether it is a table whose names are the user's own."""
    return shape is Any or _origin(shape) is Mapping


def is_table(shape: Shape) -> bool:
    """Whether only a table fits."""
    return _is_model(shape) or _origin(shape) is Mapping


def is_list(shape: Shape) -> bool:
    """Whether only a list fits."""
    return _origin(shape) is tuple


def is_text(shape: Shape) -> bool:
    """Whether a value is written as text, rather than as a number, a list or a table."""
    if _origin(shape) is Literal:
        return True
    return isinstance(shape, type) and issubclass(shape, str | SecretStr | FilePath)


def paths(shape: Shape = ROOT, above: Path = ()) -> Iterator[Path]:
    """The paths of all values that have one fixed path."""
    for key in keys_of(shape):
        below = child(shape, key)
        if _is_model(below):
            yield from paths(below, (*above, key))
        else:
            yield (*above, key)


def home_of(key: str) -> Path | None:
    """The path of the one value with this key, for somebody who left its table out."""
    return next((path for path in paths() if path[-1] == key), None)


def _is_model(shape: Shape) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)


def _plain(annotation: Any) -> Shape:
    origin = _origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return _plain(next(choice for choice in get_args(annotation) if choice is not NoneType))
    return annotation


def _origin(shape: Shape) -> object:
    return get_origin(shape)
