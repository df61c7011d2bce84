"""Names for actors: unique ones, and ones that many may share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from duologue.runtime.failures import AlreadyRegistered, NoProc
from duologue.runtime.process import local
from duologue.runtime.ref import Ref
from duologue.runtime.reports import report_callback
from duologue.runtime.via import Via

__all__ = ["Registry", "SharedRegistry", "Registered", "Unregistered"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Registered:
    """Info to a registry's listeners: an actor got a name, and with it a value."""

    name: Any
    ref: Ref[Any]
    value: Any = None


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Info to a registry's listeners: an actor lost a name, or ended."""

    name: Any
    ref: Ref[Any]


class _Table(Generic[K]):
    """What both kinds of registry have: listeners, and entries that end with their actors."""

    __slots__ = ("_listeners",)

    def __init__(self, listeners: Sequence[Ref[Any]] = ()) -> None:
        self._listeners = tuple(listeners)

    def _remember(self, name: K, ref: Ref[Any], value: object) -> None:
        ties = local(ref).tied()
        if ties.names is None:
            ties.names = {}
        ties.names[self, name] = None
        for listener in self._listeners:
            listener.info(Registered(name, ref, value))

    def _untie(self, name: K, ref: Ref[Any]) -> None:
        ties = local(ref).ties
        if ties is not None and ties.names is not None:
            ties.names.pop((self, name), None)
        self._tell_gone(name, ref)

    def _tell_gone(self, name: K, ref: Ref[Any]) -> None:
        for listener in self._listeners:
            listener.info(Unregistered(name, ref))

    def forget(self, key: Any, ref: Ref[Any]) -> None:
        """The actor ended (kernel)."""
        raise NotImplementedError


def _life(ref: Ref[Any]) -> Ref[Any]:
    found = ref.resolve()
    if found is None or not found.alive:
        raise NoProc(ref.name)
    return found


class Registry(_Table[K]):
    """Unique names, each of one living actor, with a value beside it where one was given.

    An entry goes when its actor ends, before anybody hears of the end, so who reacts to the end by taking
    the name succeeds.

    Args:
        listeners: Get `Registered` and `Unregistered` as infos, in the order of events.
    """

    __slots__ = ("_locks", "_refs", "_values")

    def __init__(self, listeners: Sequence[Ref[Any]] = ()) -> None:
        super().__init__(listeners)
        self._refs: dict[K, Ref[Any]] = {}
        self._values: dict[K, object] = {}
        self._locks: dict[K, asyncio.Lock] = {}  # those that somebody holds or waits for

    def register(self, name: K, ref: Ref[Any], value: object = None) -> None:
        """Give an actor a name. One actor may have many; the same again sets the value.

        Raises:
            AlreadyRegistered: Another living actor has it.
            NoProc: The actor has ended.
        """
        holder = self.whereis(name)
        if holder is None:
            ref = self._refs[name] = _life(ref)
            self._remember(name, ref, value)
        elif holder is not ref.resolve():
            raise AlreadyRegistered(name, holder)
        if value is not None:
            self._values[name] = value

    def unregister(self, name: K) -> None:
        """Take a name away. Nothing happens when nobody has it."""
        ref = self._refs.pop(name, None)
        if ref is not None:
            self._values.pop(name, None)
            self._untie(name, ref)

    def whereis(self, name: K) -> Ref[Any] | None:
        """The living actor of that name."""
        ref = self._refs.get(name)
        return ref if ref is not None and ref.alive else None

    def value(self, name: K) -> Any:
        """What was registered with the name; `None` when nothing was, or nobody has it."""
        return self._values.get(name)

    def set_value(self, name: K, value: object) -> None:
        """Give the name another value.

        Raises:
            NoProc: Nobody has it.
        """
        if self.whereis(name) is None:
            raise NoProc(str(name))
        self._values[name] = value

    def via(self, name: K) -> Via[Any]:
        """A ref that finds who has the name each time that it is used, over restarts."""
        return Via(str(name), lambda: self.whereis(name))

    @asynccontextmanager
    async def lock(self, name: K) -> AsyncIterator[None]:
        """Have a name to oneself, whoever is registered under it: in the order of asking, one at a time.

        It is given up when the block is left, also by an exception or a cancellation, and so when the actor whose
        callback or task holds it ends. Who asks twice waits for itself.
        """
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._locks.get(name) is lock:
                del self._locks[name]

    def names(self) -> list[K]:
        """All names, in the order of their registration."""
        return list(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, name: object) -> bool:
        return name in self._refs

    def __iter__(self) -> Iterator[K]:
        return iter(self.names())

    def forget(self, key: Any, ref: Ref[Any]) -> None:
        if self._refs.get(key) is ref:
            del self._refs[key]
            self._values.pop(key, None)
            self._tell_gone(key, ref)


class SharedRegistry(_Table[K]):
    """Names that many actors may have at once: topics, rooms, groups.

    Entries go as those of a `Registry`. One actor has a name once.

    Args:
        listeners: Get `Registered` and `Unregistered` as infos, in the order of events.
    """

    __slots__ = ("_entries",)

    def __init__(self, listeners: Sequence[Ref[Any]] = ()) -> None:
        super().__init__(listeners)
        self._entries: dict[K, dict[Ref[Any], object]] = {}

    def register(self, name: K, ref: Ref[Any], value: object = None) -> None:
        """Add an actor to a name; the same again sets the value.

        Raises:
            NoProc: The actor has ended.
        """
        ref = _life(ref)
        entries = self._entries.setdefault(name, {})
        known = ref in entries
        entries[ref] = value
        if not known:
            self._remember(name, ref, value)

    def unregister(self, name: K, ref: Ref[Any]) -> None:
        """Take an actor from a name. Nothing happens when it does not have it."""
        found = ref.resolve()
        if found is not None and self._drop(name, found):
            self._untie(name, found)

    def lookup(self, name: K) -> list[tuple[Ref[Any], Any]]:
        """The living actors of that name with their values, in the order of registration."""
        return [(ref, value) for ref, value in self._entries.get(name, {}).items() if ref.alive]

    def dispatch(self, name: K, each: Callable[[Ref[Any], Any], object]) -> int:
        """Call `each` with every living actor of that name and its value. When it raises, that is reported.

        Returns:
            How many there were.
        """
        found = self.lookup(name)
        for ref, value in found:
            try:
                each(ref, value)
            except Exception as error:  # noqa: BLE001 - one receiver must not cost the others the message
                report_callback(ref.name, "dispatch", error)
        return len(found)

    def names(self) -> list[K]:
        """All names that somebody has."""
        return list(self._entries)

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def forget(self, key: Any, ref: Ref[Any]) -> None:
        if self._drop(key, ref):
            self._tell_gone(key, ref)

    def _drop(self, name: K, ref: Ref[Any]) -> bool:
        entries = self._entries.get(name)
        if entries is None or ref not in entries:
            return False
        del entries[ref]
        if not entries:
            del self._entries[name]
        return True
