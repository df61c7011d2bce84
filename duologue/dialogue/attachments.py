"""Who watches which dialogue. Attachments belong to their viewers and outlive the dialogue's actor."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from duologue.dialogue.events import DialogueClosed, Event
from duologue.messages import DialogueId, Epoch

__all__ = ["WINDOWS", "Viewer", "Attachment", "Attachments"]

WINDOWS = (0, 40, 100, 500)
"""Merge windows in milliseconds that a viewer may choose from. Few, so that each merged frame is shared."""


class Viewer(Protocol):
    """Somebody who watches: a socket's session, an event stream, an iterator in the same process."""

    def deliver(self, attachment: "Attachment", event: Event) -> None:
        """Take an event. Must return at once, must not raise and must not call back into the dialogue."""
        ...


class Attachment:
    """One viewer's watching of one dialogue.

    Args:
        dialogue: What is watched.
        viewer: Who watches.
        coalesce_ms: Merge window, one of `WINDOWS`.
    """

    __slots__ = ("coalesce_ms", "dialogue", "epoch", "left", "seq", "viewer")

    def __init__(self, dialogue: DialogueId, viewer: Viewer, *, coalesce_ms: int = 0) -> None:
        assert coalesce_ms in WINDOWS
        self.dialogue = dialogue
        self.viewer = viewer
        self.coalesce_ms = coalesce_ms
        self.epoch: Epoch | None = None
        """With `seq`: what was delivered last, so that the dialogue's next actor knows. `None`: nothing yet."""
        self.seq = 0
        self.left = False
        """Set by `Dialogue.detach`, for good: whatever is under way to the viewer does not arrive any more."""

    def deliver(self, event: Event) -> None:
        """Hand one event to the viewer, unless it has left."""
        if self.left:
            return
        self.epoch = event.epoch
        self.seq = event.seq
        self.viewer.deliver(self, event)


class Attachments:
    """All attachments of one runtime, by dialogue. Plain memory; used from the loop's thread only."""

    __slots__ = ("_by_dialogue",)

    def __init__(self) -> None:
        # An inner dict keeps the order of coming and finds a viewer among thousands at once.
        self._by_dialogue: dict[DialogueId, dict[Attachment, None]] = {}

    def add(self, attachment: Attachment) -> bool:
        """Register. Whether it is new; adding the same one twice is harmless."""
        present = self._by_dialogue.setdefault(attachment.dialogue, {})
        if attachment in present:
            return False
        present[attachment] = None
        return True

    def discard(self, attachment: Attachment) -> bool:
        """Forget. Whether it was there."""
        present = self._by_dialogue.get(attachment.dialogue)
        if present is None or attachment not in present:
            return False
        del present[attachment]
        if not present:
            del self._by_dialogue[attachment.dialogue]
        return True

    def close(self, dialogue: DialogueId, reason: str) -> int:
        """Tell everybody who watches that nothing more will come, and forget them. How many they were."""
        present = self._by_dialogue.pop(dialogue, {})
        for attachment in present:
            epoch = attachment.epoch or Epoch("")
            attachment.deliver(DialogueClosed(dialogue, epoch, attachment.seq, reason))
        return len(present)

    def of(self, dialogue: DialogueId) -> Sequence[Attachment]:
        """Everybody who watches this dialogue, in the order they came."""
        return tuple(self._by_dialogue.get(dialogue, ()))

    def count(self, dialogue: DialogueId) -> int:
        """How many watch this dialogue."""
        return len(self._by_dialogue.get(dialogue, ()))

    def __len__(self) -> int:
        return sum(map(len, self._by_dialogue.values()))

    def __iter__(self) -> Iterator[DialogueId]:
        return iter(tuple(self._by_dialogue))
