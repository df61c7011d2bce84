"""The tree of actors at one moment, as values and as text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from duologue.runtime.exits import ExitReason
from duologue.runtime.process import Process

__all__ = ["ActorNode", "build_tree", "draw"]


@dataclass(frozen=True, slots=True)
class ActorNode:
    """One actor.

    Args:
        name: Its name.
        kind: Its class's name.
        state: `starting`, `running`, `waiting` (an async callback is under way) or `ending`.
        mailbox: Messages that wait.
        handled: Messages that it has taken.
        restarts: How often its supervisor has started it again.
        last_reason: Why its life before this one ended; `None` in the first one.
        children: The actors that have it as their parent, in the order of their starts.
    """

    name: str
    kind: str
    state: str
    mailbox: int
    handled: int
    restarts: int
    last_reason: ExitReason | None
    children: tuple["ActorNode", ...]


def build_tree(processes: Iterable[Process]) -> tuple[ActorNode, ...]:
    """The roots, each with everything below it. An actor whose parent has ended is a root."""
    below: dict[Process | None, list[Process]] = {}
    for process in processes:
        parent = process.parent if process.parent is not None and process.parent.alive else None
        below.setdefault(parent, []).append(process)

    def node(process: Process) -> ActorNode:
        restarts, last_reason = process.past or (0, None)
        return ActorNode(
            name=process.name,
            kind=process.kind.__name__,
            state=process.state,
            mailbox=process.waiting,
            handled=process.handled,
            restarts=restarts,
            last_reason=last_reason,
            children=tuple(node(child) for child in below.get(process, ())),
        )

    return tuple(node(root) for root in below.get(None, ()))


def draw(nodes: Sequence[ActorNode], *, children_max: int | None = None) -> str:
    """The tree as text, one actor a line.

    Args:
        nodes: The roots; all are shown.
        children_max: How many children of one actor are shown, the first ones; a line says how many more there
            are. `None`: all.
    """
    return "\n".join(line for node in nodes for line in _lines(node, "", "", children_max))


def _lines(node: ActorNode, first: str, rest: str, children_max: int | None) -> Iterator[str]:
    name = node.name if node.name.startswith(node.kind) else f"{node.name} ({node.kind})"
    line = f"{first}{name} {node.state}, mailbox {node.mailbox}, handled {node.handled}, restarts {node.restarts}"
    yield line if node.last_reason is None else f"{line}, last {node.last_reason}"
    shown = node.children[:children_max]
    more = len(node.children) - len(shown)
    for child in shown:
        last = child is shown[-1] and not more
        yield from _lines(
            child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), children_max
        )
    if more:
        yield f"{rest}└─ … and {more} more"
