"""The port to durable state. Adapters are imported from their own modules: the port loads no client."""

from duologue.store.port import (
    AnswerExtended,
    AttemptBegan,
    Created,
    DialoguePage,
    DialogueRow,
    Head,
    HeadUpdate,
    LogEntry,
    MessageQueued,
    MessageSuperseded,
    Owner,
    Record,
    Store,
    TurnClosed,
    TurnOpened,
    TurnOutcome,
    Write,
)

__all__ = [
    # the port
    "Store",
    # what is written
    "Owner",
    "Write",
    "HeadUpdate",
    # what is read
    "Head",
    "Created",
    "LogEntry",
    "DialogueRow",
    "DialoguePage",
    # what the log holds
    "Record",
    "MessageQueued",
    "TurnOpened",
    "MessageSuperseded",
    "AttemptBegan",
    "AnswerExtended",
    "TurnClosed",
    "TurnOutcome",
]
