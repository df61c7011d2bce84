"""What is wrong with a configuration, said so that it can be mended: table, key, reason, nearest name."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from duologue.errors import ConfigurationError

__all__ = ["Path", "Problem", "InvalidSettings", "nearest", "quoted", "table_name"]

Path = tuple[str, ...]
"""The way from the file's top to a key, such as `("server", "port")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `text` repeats names, never values: a value may be a secret."""

    path: Path
    """The key; its table is all of it but the last. A variable's name alone where it stands for no key."""
    text: str
    origin: str | None = None
    """Where the value came from if not from the file: a variable's name, or the command line."""

    def __str__(self) -> str:
        *table, key = self.path
        place = f"{table_name(table)} {_toml_key(key)}" if table else _toml_key(key)
        source = f" (from {self.origin})" if self.origin else ""
        return f"{place}{source}: {self.text}"


class InvalidSettings(ConfigurationError):
    """The configuration is wrong or contradicts itself. Lists everything, not only the first.

    Args:
        problems: At least one.
        source: What was read, such as the file's name; goes into the message.
    """

    def __init__(self, problems: Sequence[Problem], *, source: str = "the configuration") -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {problem}" for problem in self.problems))


def nearest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The end of an error's sentence: which known name was meant, or `otherwise` if none is near."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {quoted(found[0])}?" if found else otherwise


def quoted(name: str) -> str:
    """A name in quotes, on one line and at most 80 characters long, whatever it holds."""
    return json.dumps(name if len(name) <= 80 else name[:77] + "...", ensure_ascii=not name.isprintable())


def table_name(path: Iterable[str]) -> str:
    """A table as it is written in the file: `[sections."real.chem".student_dialogue]`."""
    return f"[{'.'.join(map(_toml_key, path))}]"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)
