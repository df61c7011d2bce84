"""Small builders that the dialogue's tests share."""

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.events import Event, MessageAccepted, TurnDelta
from duologue.messages import DialogueId, Epoch, Message, MessageId, Role, TurnId

DIALOGUE = DialogueId("d")
EPOCH = Epoch("e")


class Recorder:
    """A viewer that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def deliver(self, attachment: Attachment, event: Event) -> None:
        self.events.append(event)

    @property
    def seqs(self) -> list[tuple[int, int]]:
        return [(event.first_seq, event.seq) for event in self.events]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TurnDelta))


def attachment(coalesce_ms: int = 0) -> tuple[Attachment, Recorder]:
    recorder = Recorder()
    return Attachment(DIALOGUE, recorder, coalesce_ms=coalesce_ms), recorder


def message(
    name: str, content: str = "hi", role: Role = Role.USER, turn: str = "t", **more: object
) -> Message:
    return Message(MessageId(name), role, content, TurnId(turn), 1.0, **more)  # type: ignore[arg-type]


def delta(seq: int, text: str, offset: int, *, attempt: int = 1, turn: str = "t") -> TurnDelta:
    return TurnDelta(DIALOGUE, EPOCH, seq, TurnId(turn), attempt, offset, text)


def accepted(seq: int, turn: str = "t") -> MessageAccepted:
    return MessageAccepted(DIALOGUE, EPOCH, seq, message(f"m{seq}", turn=turn), TurnId(turn))


def deltas(first_seq: int, texts: list[str], *, attempt: int = 1, turn: str = "t") -> list[TurnDelta]:
    offset, made = 0, []
    for index, text in enumerate(texts):
        made.append(delta(first_seq + index, text, offset, attempt=attempt, turn=turn))
        offset += len(text)
    return made
