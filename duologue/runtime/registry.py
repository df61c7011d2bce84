"""Names for actors."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from duologue.runtime.failures import AlreadyRegistered, NoProc
from duologue.runtime.process import local
from duologue.runtime.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Registry"]

K = TypeVar("K", bound=Hashable)


class Registry(Generic[K]):
    """Unique names, each of one living actor.

    An entry goes when its actor ends, before anybody hears of the end, so who reacts to the end by taking
    the name succeeds.
    """

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: dict[K, Ref[Any]] = {}

    def register(self, name: K, ref: Ref[Any]) -> None:
        """Give an actor a name. One actor may have many; the same again changes nothing.

        Raises:
            AlreadyRegistered: Another living actor has it.
            NoProc: The actor has ended.
        """
        holder = self.whereis(name)
        if holder is ref:
            return
        if holder is not None:
            raise AlreadyRegistered(name, holder)
        if not ref.alive:
            raise NoProc(ref.name)
        self._refs[name] = ref
        ties = local(ref).tied()
        if ties.names is None:
            ties.names = {}
        ties.names[self, name] = None

    def unregister(self, name: K) -> None:
        """Take a name away. Nothing happens when nobody has it."""
        ref = self._refs.pop(name, None)
        ties = local(ref).ties if ref is not None else None
        if ties is not None and ties.names is not None:
            ties.names.pop((self, name), None)

    def whereis(self, name: K) -> Ref[Any] | None:
        """The living actor of that name."""
        ref = self._refs.get(name)
        return ref if ref is not None and ref.alive else None

    def names(self) -> list[K]:
        """All names, in the order of their registration."""
        return list(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, name: object) -> bool:
        return name in self._refs

    def __iter__(self) -> "Iterator[K]":
        return iter(self.names())

    def forget(self, key: Any, ref: Ref[Any]) -> None:
        """The actor ended (kernel)."""
        if self._refs.get(key) is ref:
            del self._refs[key]
