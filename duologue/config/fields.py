"""What all configuration values are made of: the frozen base class and the bounded field types."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WrapSerializer

__all__ = ["Value", "FrozenMapping", "Seconds", "Count", "Bytes", "Name", "Text"]


class Value(BaseModel):
    """A frozen value. Unknown keys are errors; no message repeats what was given, as it may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


_Key = TypeVar("_Key")
_Item = TypeVar("_Item")

FrozenMapping = Annotated[
    Mapping[_Key, _Item],
    AfterValidator(MappingProxyType),
    WrapSerializer(lambda table, serialize: serialize(dict(table))),
]
"""A table with names of the user's own choice. Read-only once it was read."""

# Strict: a file that says `port = true` or `timeout = "1"` has a mistake in it. Whole numbers pass as floats.
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400, allow_inf_nan=False)]
"""A duration in seconds, above 0, at most a day."""
Count = Annotated[int, Field(strict=True, ge=1)]
"""A whole number, at least 1."""
Bytes = Annotated[int, Field(strict=True, ge=1024, le=1 << 30)]
"""A size in bytes, 1 KiB to 1 GiB."""
Name = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$", max_length=128
    ),
]
"""What a user calls a table: 1 to 128 characters, no control characters, no blanks at either end."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=262_144)]
"""Words for a model: not empty, at most 262,144 characters."""
