"""What a dialogue's actor is given: its ports, its rules' numbers, and the sources of time and names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from duologue.dialogue.attachments import Attachments
from duologue.dialogue.open_turns import OpenTurns
from duologue.messages import DialogueMeta, OnBusy
from duologue.providers.port import CompletionService
from duologue.store.port import Store
from duologue.telemetry import Telemetry

__all__ = ["TurnPolicy", "Resolve", "DialogueLimits", "DialogueEnvironment"]


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How a dialogue's next turn is to be answered, as the configuration says at this moment."""

    service: str
    system_prompt: str | None
    on_busy: OnBusy
    retry_interrupted: bool
    """What to do with a turn that a restart found open: ask again, or keep the part that is there."""


class Resolve(Protocol):
    """Looks up the policy for a dialogue."""

    def __call__(self, meta: DialogueMeta) -> TurnPolicy:
        """The policy for what the dialogue was opened with.

        Raises:
            FeatureNotConfigured: The feature resolves to no service.
        """
        ...


@dataclass(frozen=True, slots=True)
class DialogueLimits:
    """Numbers that bound a dialogue. Times in seconds."""

    message_bytes_max: int = 32_768
    """UTF-8 bytes of one message."""
    queued_max: int = 16
    """Messages that may wait for a later turn."""
    checkpoint_interval: float = 0.5
    """Between two checkpoints of a streaming answer."""
    idle_after: float = 300.0
    """Without a request until the actor goes to sleep."""
    not_saved_after: float = 60.0
    """How long the end of a turn may wait for the store before it is called `not_saved`."""
    linger: float = 1.0
    """How long an actor that has nothing to show (no such dialogue, no store) answers so before it leaves."""


@dataclass(frozen=True, slots=True)
class DialogueEnvironment:
    """Everything that a dialogue's actor may touch."""

    store: Store
    services: CompletionService
    resolve: Resolve
    attachments: Attachments
    open_turns: OpenTurns
    telemetry: Telemetry
    limits: DialogueLimits
    wall_clock: Callable[[], float]
    """Seconds since the Unix epoch; for display, never for order."""
    new_id: Callable[[], str]
    """A random name of 128 bits."""
