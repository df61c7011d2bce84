"""What lists of dialogues look like in every store: their order, their cursors and their rows."""

from typing import NamedTuple

from duologue.errors import BadRequest
from duologue.messages import DialogueId, DialogueMeta, DialogueStatus
from duologue.store.port import DialogueRow, HeadUpdate

__all__ = ["Place", "build_row", "milliseconds", "parse_cursor", "status_of"]


class Place(NamedTuple):
    """Where a dialogue stands in the list: by time, and by id among those of the same millisecond."""

    at_ms: int
    dialogue: DialogueId

    def cursor(self) -> str:
        """The place as clients keep it."""
        return f"{self.at_ms}:{self.dialogue}"


def parse_cursor(cursor: str) -> Place:
    """The place that a cursor stands for.

    Raises:
        BadRequest: It is no cursor of ours.
    """
    at_ms, colon, dialogue = cursor.partition(":")
    if not colon or not dialogue or not at_ms.removeprefix("-").isdecimal() or len(at_ms) > 16:
        raise BadRequest("`before` is no cursor of a list of dialogues.")
    return Place(int(at_ms), DialogueId(dialogue))


def milliseconds(at: float) -> int:
    """Seconds since the Unix epoch as the list's own unit."""
    return int(at * 1000)


def status_of(state: HeadUpdate) -> DialogueStatus:
    """Generating while a turn is open."""
    return DialogueStatus.IDLE if state.open_turn is None else DialogueStatus.GENERATING


def build_row(dialogue: DialogueId, state: HeadUpdate, meta: DialogueMeta) -> DialogueRow:
    """One line of the list."""
    return DialogueRow(
        dialogue=dialogue,
        feature=meta.feature,
        section=meta.section,
        account=meta.account,
        status=status_of(state),
        updated_at=state.updated_at,
        preview=state.preview,
    )
