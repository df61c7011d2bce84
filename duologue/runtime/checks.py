"""What a value given from outside has to be, whatever its annotation says."""

__all__ = ["is_count", "is_seconds", "is_word"]


def is_count(value: object, least: int = 0) -> bool:
    """An int of at least `least`. A bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_seconds(value: object) -> bool:
    """A number of 0 or more; infinity is one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def is_word(value: object) -> bool:
    """A string that is not empty."""
    return isinstance(value, str) and value != ""
