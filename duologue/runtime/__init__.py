"""The actor kernel: GenServer, Supervisor and Registry for asyncio, on the standard library alone.

See docs/actors.md for the tour, and for what differs from OTP.
"""

from duologue.runtime.actor import Actor, Overflow
from duologue.runtime.children import BRUTAL_KILL, INFINITY, ChildSpec, ChildType, Restart, Shutdown
from duologue.runtime.context import ActorContext
from duologue.runtime.dynamic import DynamicSupervisor
from duologue.runtime.exits import IGNORED, KILLED, NOCONNECTION, NOPROC, NORMAL, SHUTDOWN, ExitReason
from duologue.runtime.failures import (
    ActorDied,
    AlreadyRegistered,
    BadChildSpec,
    CallingSelf,
    ChildError,
    Ignore,
    MailboxOverflow,
    NoProc,
    StartFailed,
    StartIgnored,
    SystemStopped,
    UnhandledRequest,
)
from duologue.runtime.inspector import ActorStatistics, Inspector
from duologue.runtime.links import Down, Exit, MonitorRef
from duologue.runtime.overseer import Counts, TraceEvent
from duologue.runtime.partition import PartitionSupervisor
from duologue.runtime.pipeline import MultiOutcome, Pipeline, multi_call
from duologue.runtime.ref import CALL_TIMEOUT, Ref
from duologue.runtime.registry import Registered, Registry, SharedRegistry, Unregistered
from duologue.runtime.requests import Outcome, ReplyTo, Request
from duologue.runtime.restart import RestartWindow
from duologue.runtime.results import (
    HIBERNATE,
    IDLE,
    NO_REPLY,
    Continue,
    Hibernate,
    NoReply,
    Refuse,
    Reply,
    Stop,
    WhenIdle,
)
from duologue.runtime.roster import ChildCounts, ChildInfo
from duologue.runtime.strategy import AutoShutdown, Strategy
from duologue.runtime.supervisor import Supervisor
from duologue.runtime.system import ActorSystem, Statistics
from duologue.runtime.task_supervisor import SupervisedTask, TaskSupervisor
from duologue.runtime.tasks import OwnedTask, TaskDone
from duologue.runtime.tree import ActorNode
from duologue.runtime.via import Via

__all__ = [
    # What an actor's author writes and returns
    "Actor",
    "ActorContext",
    "Request",
    "ReplyTo",
    "Reply",
    "NO_REPLY",
    "NoReply",
    "Refuse",
    "Continue",
    "Stop",
    "WhenIdle",
    "HIBERNATE",
    "Hibernate",
    "Ignore",
    "Overflow",
    # What callers hold
    "Ref",
    "Via",
    "Pipeline",
    "multi_call",
    "MultiOutcome",
    "Outcome",
    "CALL_TIMEOUT",
    # What comes as an info
    "IDLE",
    "Down",
    "Exit",
    "TaskDone",
    "MonitorRef",
    "OwnedTask",
    # Why actors end
    "ExitReason",
    "NORMAL",
    "SHUTDOWN",
    "KILLED",
    "NOPROC",
    "NOCONNECTION",
    "IGNORED",
    # The system, names and supervisors
    "ActorSystem",
    "Statistics",
    "ActorNode",
    "Registry",
    "SharedRegistry",
    "Registered",
    "Unregistered",
    "Supervisor",
    "Strategy",
    "AutoShutdown",
    "ChildInfo",
    "ChildCounts",
    "DynamicSupervisor",
    "PartitionSupervisor",
    "TaskSupervisor",
    "SupervisedTask",
    "ChildSpec",
    "ChildType",
    "Restart",
    "Shutdown",
    "BRUTAL_KILL",
    "INFINITY",
    "RestartWindow",
    # Looking in
    "Inspector",
    "ActorStatistics",
    "Counts",
    "TraceEvent",
    # Errors
    "ActorDied",
    "NoProc",
    "CallingSelf",
    "MailboxOverflow",
    "StartFailed",
    "StartIgnored",
    "AlreadyRegistered",
    "BadChildSpec",
    "ChildError",
    "UnhandledRequest",
    "SystemStopped",
]
