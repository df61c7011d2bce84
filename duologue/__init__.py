"""An actor-based dialogue runtime: one supervised asyncio actor per dialogue with a language model.

The names below are loaded when they are first used (PEP 562), so that `import duologue.runtime` loads the
actor kernel alone.

    async with duologue.open_runtime(settings) as runtime:
        dialogue = await runtime.open("d1", feature="student_dialogue")
        async for event in dialogue.ask("What is a monad?"):
            ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duologue import client as client
    from duologue import runtime as runtime
    from duologue.app import create_app as create_app
    from duologue.assembly import Runtime as Runtime
    from duologue.assembly import open_runtime as open_runtime
    from duologue.config import Settings as Settings
    from duologue.config import load_settings as load_settings
    from duologue.dialogue.events import TERMINAL as TERMINAL
    from duologue.dialogue.events import DialogueClosed as DialogueClosed
    from duologue.dialogue.events import DialogueSnapshot as DialogueSnapshot
    from duologue.dialogue.events import ErrorInfo as ErrorInfo
    from duologue.dialogue.events import Event as Event
    from duologue.dialogue.events import LiveTurn as LiveTurn
    from duologue.dialogue.events import MessageAccepted as MessageAccepted
    from duologue.dialogue.events import MessageWasSuperseded as MessageWasSuperseded
    from duologue.dialogue.events import Snapshot as Snapshot
    from duologue.dialogue.events import TurnCancelled as TurnCancelled
    from duologue.dialogue.events import TurnCompleted as TurnCompleted
    from duologue.dialogue.events import TurnContinued as TurnContinued
    from duologue.dialogue.events import TurnDelta as TurnDelta
    from duologue.dialogue.events import TurnFailed as TurnFailed
    from duologue.dialogue.events import TurnInterrupted as TurnInterrupted
    from duologue.dialogue.events import TurnRestarted as TurnRestarted
    from duologue.dialogue.events import TurnStarted as TurnStarted
    from duologue.dialogue.handle import Dialogue as Dialogue
    from duologue.errors import ActorError as ActorError
    from duologue.errors import BadFrame as BadFrame
    from duologue.errors import BadRequest as BadRequest
    from duologue.errors import Busy as Busy
    from duologue.errors import CallTimeout as CallTimeout
    from duologue.errors import ConfigurationError as ConfigurationError
    from duologue.errors import Conflict as Conflict
    from duologue.errors import Draining as Draining
    from duologue.errors import DuologueError as DuologueError
    from duologue.errors import FeatureNotConfigured as FeatureNotConfigured
    from duologue.errors import Forbidden as Forbidden
    from duologue.errors import FrameTooLarge as FrameTooLarge
    from duologue.errors import Interrupted as Interrupted
    from duologue.errors import LogConflict as LogConflict
    from duologue.errors import MessageTooLarge as MessageTooLarge
    from duologue.errors import ModelMisconfigured as ModelMisconfigured
    from duologue.errors import Moved as Moved
    from duologue.errors import NotAuthenticated as NotAuthenticated
    from duologue.errors import NotFound as NotFound
    from duologue.errors import NotSaved as NotSaved
    from duologue.errors import ProviderFailed as ProviderFailed
    from duologue.errors import Quarantined as Quarantined
    from duologue.errors import RateLimited as RateLimited
    from duologue.errors import RecordCorrupt as RecordCorrupt
    from duologue.errors import StoreError as StoreError
    from duologue.errors import StoreUnavailable as StoreUnavailable
    from duologue.errors import TooMany as TooMany
    from duologue.messages import DialogueId as DialogueId
    from duologue.messages import DialogueStatus as DialogueStatus
    from duologue.messages import Epoch as Epoch
    from duologue.messages import FinishReason as FinishReason
    from duologue.messages import Message as Message
    from duologue.messages import MessageId as MessageId
    from duologue.messages import MessageStatus as MessageStatus
    from duologue.messages import OnBusy as OnBusy
    from duologue.messages import Position as Position
    from duologue.messages import Role as Role
    from duologue.messages import Tier as Tier
    from duologue.messages import TurnId as TurnId
    from duologue.messages import Usage as Usage
    from duologue.telemetry import Metrics as Metrics
    from duologue.telemetry import Telemetry as Telemetry

__version__ = "0.1.0"

# Where each name is defined. The type checker reads the imports above; a test keeps the two the same.
_HOMES: dict[str, tuple[str, ...]] = {
    "duologue.assembly": ("Runtime", "open_runtime"),
    "duologue.app": ("create_app",),
    "duologue.config": ("Settings", "load_settings"),
    "duologue.dialogue.handle": ("Dialogue",),
    "duologue.dialogue.events": (
        "TERMINAL",
        "DialogueClosed",
        "DialogueSnapshot",
        "ErrorInfo",
        "Event",
        "LiveTurn",
        "MessageAccepted",
        "MessageWasSuperseded",
        "Snapshot",
        "TurnCancelled",
        "TurnCompleted",
        "TurnContinued",
        "TurnDelta",
        "TurnFailed",
        "TurnInterrupted",
        "TurnRestarted",
        "TurnStarted",
    ),
    "duologue.messages": (
        "DialogueId",
        "DialogueStatus",
        "Epoch",
        "FinishReason",
        "Message",
        "MessageId",
        "MessageStatus",
        "OnBusy",
        "Position",
        "Role",
        "Tier",
        "TurnId",
        "Usage",
    ),
    "duologue.telemetry": ("Metrics", "Telemetry"),
    "duologue.errors": (
        "ActorError",
        "BadFrame",
        "BadRequest",
        "Busy",
        "CallTimeout",
        "ConfigurationError",
        "Conflict",
        "Draining",
        "DuologueError",
        "FeatureNotConfigured",
        "Forbidden",
        "FrameTooLarge",
        "Interrupted",
        "LogConflict",
        "MessageTooLarge",
        "ModelMisconfigured",
        "Moved",
        "NotAuthenticated",
        "NotFound",
        "NotSaved",
        "ProviderFailed",
        "Quarantined",
        "RateLimited",
        "RecordCorrupt",
        "StoreError",
        "StoreUnavailable",
        "TooMany",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("client", "runtime")

__all__ = ["__version__", *_ROOMS, *_HOME_OF]  # noqa: PLE0604 - made from the one table


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"duologue.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'duologue' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
