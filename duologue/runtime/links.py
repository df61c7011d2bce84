"""Ties between actors: links, monitors, names, and what the kernel has to do when an actor ends.

An actor without ties has none of this in memory.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from duologue.runtime.exits import NOPROC, ExitReason
from duologue.runtime.ref import Ref

if TYPE_CHECKING:
    from duologue.runtime.process import Process

__all__ = ["Down", "Exit", "MonitorRef", "Ties", "NameTable"]


@dataclass(frozen=True, slots=True)
class Down:
    """Info: a monitored actor has ended, or was not there. Comes once for each monitor."""

    monitor: "MonitorRef"
    ref: Ref[Any]
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Exit:
    """Info, for an actor that traps exits: a linked actor ended, or somebody sent an exit signal."""

    ref: Ref[Any] | None
    """Who ended or sent it; `None` when the sender is no actor."""
    reason: ExitReason


class MonitorRef:
    """One monitor, as `ctx.monitor` gives it and `Down` names it. Compared by identity."""

    __slots__ = ("_active", "ref")

    def __init__(self, ref: Ref[Any]) -> None:
        self.ref = ref
        """Who is watched."""
        self._active = True

    @property
    def wanted(self) -> bool:
        """Whether `claim` would be true (kernel)."""
        return self._active

    def claim(self) -> bool:
        """Whether its `Down` is still wanted (kernel); true once."""
        active, self._active = self._active, False
        return active


class NameTable(Protocol):
    """What keeps names for actors, and must forget them when these end."""

    def forget(self, key: Any, ref: Ref[Any]) -> None:
        """Remove the entry, if it still is this actor's."""


class Ties:
    """The ties of one actor, made when it gets its first one."""

    __slots__ = ("links", "names", "on_end", "watchers", "watching")

    def __init__(self) -> None:
        self.links: dict[Process, None] = {}  # both ends know of each other; in the order of linking
        self.watchers: dict[MonitorRef, Process] | None = None  # monitors on this actor, and who holds each
        self.watching: dict[MonitorRef, Process] | None = None  # monitors that this actor holds, and on whom
        self.on_end: list[Callable[[ExitReason], Any]] | None = (
            None  # kernel callbacks, after everything else
        )
        self.names: dict[tuple[NameTable, Hashable], None] | None = None  # where it is registered


def link(one: "Process", other: "Process") -> None:
    """Tie two living actors: when one ends the other gets an exit signal. Again is as good as once."""
    if not other.alive:
        one.signal(NOPROC, other)
        return
    one.tied().links[other] = None
    other.tied().links[one] = None


def unlink(one: "Process", other: "Process") -> None:
    """Undo a link. An exit signal of it that waits in `one`'s mailbox is taken out."""
    if one.ties is not None:
        one.ties.links.pop(other, None)
    if other.ties is not None:
        other.ties.links.pop(one, None)
    one.forget_exit(other)


def monitor(watcher: "Process", target: "Process") -> MonitorRef:
    """Watch an actor; one `Down` comes, at once (as a message) when it has ended already."""
    mark = MonitorRef(target)
    if not target.alive:
        watcher.post_info(Down(mark, target, NOPROC), mark)
        return mark
    ties = target.tied()
    if ties.watchers is None:
        ties.watchers = {}
    ties.watchers[mark] = watcher
    ties = watcher.tied()
    if ties.watching is None:
        ties.watching = {}
    ties.watching[mark] = target
    return mark


def monitor_nobody(watcher: "Process", name: Ref[Any]) -> MonitorRef:
    """Watch a name that nobody has: one `Down` comes."""
    mark = MonitorRef(name)
    watcher.post_info(Down(mark, name, NOPROC), mark)
    return mark


def demonitor(watcher: "Process", mark: MonitorRef, *, flush: bool) -> None:
    """Stop watching. With `flush` a `Down` that waits in the mailbox is not delivered either."""
    target = watcher.ties.watching.pop(mark, None) if watcher.ties and watcher.ties.watching else None
    if target is not None and target.ties is not None and target.ties.watchers is not None:
        target.ties.watchers.pop(mark, None)
    if flush:
        mark.claim()
