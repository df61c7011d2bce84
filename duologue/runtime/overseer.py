"""The rare side of a running actor: idle timeouts, hibernation, suspension, tracing, and questions from outside.

An actor has an overseer only while it has need of one. Without it, a turn of the loop costs one `is None` test
more than if all this did not exist; with it, messages take the slower way through `Process.drain_overseen`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from duologue.runtime.exits import ExitReason
from duologue.runtime.reports import report_callback
from duologue.runtime.results import Hibernate, WhenIdle

if TYPE_CHECKING:
    from duologue.runtime.process import Process
    from duologue.runtime.requests import ReplyTo

__all__ = ["Overseer", "TraceEvent", "Hook", "Counts"]


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One thing that an actor did. `str` and `repr` show types only, because values may be private.

    Args:
        at: Seconds on the system's clock.
        actor: The actor's name.
        phase: `in` for a message that it takes, `out` for what its callback returned, `crash` for its reason.
        callback: The callback's name; `stop` for a request to end.
        value: The message, the returned value or the `ExitReason`.
    """

    at: float
    actor: str
    phase: str
    callback: str
    value: Any = field(repr=False)

    def __str__(self) -> str:
        what = str(self.value) if isinstance(self.value, ExitReason) else type(self.value).__name__
        return f"{self.at:.6f} {self.actor} {self.phase} {self.callback} {what}"


class Hook(Protocol):
    """Gets an actor's trace events, in the actor's turn: it must return at once.

    When it raises it is reported and removed; the actor does not feel it.
    """

    def __call__(self, event: TraceEvent, /) -> object:
        """Take an event."""


@dataclass(slots=True)
class Counts:
    """What an actor has taken since the counting began, by kind.

    `busy` is the seconds that its callbacks ran inside its turns: of async ones, up to their first wait.
    """

    since: float
    calls: int = 0
    casts: int = 0
    infos: int = 0
    busy: float = 0.0


class _IdleWait:
    """A `WhenIdle` that is under way; also the token of its message in the mailbox."""

    __slots__ = ("_handle", "_message", "_overseer")

    def __init__(self, overseer: "Overseer", wanted: WhenIdle) -> None:
        self._overseer: Overseer | None = overseer
        self._message = wanted.message
        self._handle: asyncio.TimerHandle | None = None
        if wanted.seconds > 0:
            self._handle = overseer.process.system.loop.call_later(wanted.seconds, self._passed)
        else:
            overseer.process.post_info(self._message, self)

    @property
    def wanted(self) -> bool:
        return self._overseer is not None

    def claim(self) -> bool:
        """Whether nothing came in between (kernel)."""
        overseer, self._overseer = self._overseer, None
        return overseer is not None

    def cancel(self) -> None:
        self._overseer = None
        if self._handle is not None:
            self._handle.cancel()

    def _passed(self) -> None:
        overseer = self._overseer
        if overseer is not None:  # a message that came in this very turn is before it, and takes it back
            overseer.process.post_info(self._message, self)


class Overseer:
    """What is asked of one actor beyond handling its messages."""

    __slots__ = (
        "_controls",
        "_idle",
        "_missed",
        "_quiet_at",
        "_sleep_timer",
        "counts",
        "hibernating",
        "hooks",
        "log",
        "paused",
        "process",
    )

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.hibernating = False
        self.paused: asyncio.Future[None] | None = (
            None  # while suspended: stands where an async callback would
        )
        self.hooks: dict[str, Hook] = {}
        self.log: deque[TraceEvent] | None = None
        self.counts: Counts | None = None
        self._controls: deque[tuple[Callable[[], Any], ReplyTo[Any]]] = deque()
        self._idle: _IdleWait | None = None
        self._missed = False  # a turn came while it was suspended, and must be asked for again
        self._quiet_at = 0.0
        self._sleep_timer: asyncio.TimerHandle | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything left to do."""
        return bool(
            self._controls
            or self._idle
            or self.hibernating
            or self.paused
            or self.hooks
            or self.log is not None
            or self.counts is not None
            or self.process.kind.hibernate_after is not None
        )

    # Controls: the system's lane. They wait for the callback under way and for a Continue, and for nothing else.

    def control(self, action: Callable[[], Any], reply_to: "ReplyTo[Any]") -> None:
        """Have `action` run between two callbacks, before any message that waits."""
        process = self.process
        self._controls.append((action, reply_to))
        process.owe(reply_to)
        process.system.call_soon(self._look, context=process.context)

    def run_controls(self) -> None:
        """Run what may run now. A failing one is its asker's failure alone."""
        while self._controls and self.process.between_callbacks:
            action, reply_to = self._controls.popleft()
            try:
                reply_to.reply(action())
            except Exception as error:  # noqa: BLE001 - the asker's function, so the asker's failure
                reply_to.fail(error)
            except BaseException as error:  # noqa: BLE001 - as above, and it must not reach the loop
                reply_to.fail(RuntimeError(f"the function raised {type(error).__name__}"))

    def _look(self) -> None:
        self.run_controls()
        self.process.dismiss_overseer()

    # Suspension.

    def suspend(self) -> None:
        """Handle no message until `resume`. Again is as good as once."""
        if self.paused is None:
            self.paused = self.process.step = self.process.system.loop.create_future()
            self.stop_waits()

    def resume(self) -> None:
        """Go on. Nothing happens when it is not suspended."""
        if self.paused is not None:
            self.paused = self.process.step = None
            if self._missed:
                self._missed = False
                self.process.system.call_soon(self.process.drain, context=self.process.context)

    def held_back(self) -> bool:
        """Whether a turn that has come must pass."""
        if self.paused is not None:
            self._missed = True
        return self.paused is not None

    def stop_waits(self) -> None:
        """A suspended actor takes no message, but still ends when it is told to."""
        if self.paused is not None:
            self.process.system.call_soon(self.process.end_if_told)

    # Rest.

    def rest(self, wanted: "WhenIdle | Hibernate") -> None:
        """A callback returned this, and no message waits."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if isinstance(wanted, WhenIdle):
            self._idle = _IdleWait(self, wanted)
        if isinstance(wanted, Hibernate) or wanted.hibernate:
            self.hibernate()

    def hibernate(self) -> None:
        """Let the actor let go of things."""
        process = self.process
        assert process.actor is not None
        self.hibernating = True
        try:
            process.actor.hibernate()
        except BaseException as error:  # noqa: BLE001 - it may save memory, and must not cost the actor
            report_callback(process.name, "hibernate", error)

    def quiet(self) -> None:
        """The last waiting message was handled."""
        after = self.process.kind.hibernate_after
        if after is None or self.hibernating:
            return
        system = self.process.system
        self._quiet_at = system.loop.time()
        if self._sleep_timer is None:
            self._sleep_timer = system.loop.call_later(after, self._maybe_asleep)

    def _maybe_asleep(self) -> None:
        """One timer for many messages: it looks how long it has been quiet, and waits for the rest."""
        self._sleep_timer = None
        after = self.process.kind.hibernate_after
        assert after is not None
        if not self.process.resting or self.hibernating:
            return  # the turn that ends will ask again
        loop = self.process.system.loop
        left = self._quiet_at + after - loop.time()
        if left > 1e-6:
            self._sleep_timer = loop.call_later(left, self._maybe_asleep)
        else:
            self.process.system.call_soon(self._fall_asleep, context=self.process.context)

    def _fall_asleep(self) -> None:
        if self.process.resting and not self.hibernating:
            self.hibernate()

    def ended(self) -> None:
        """The actor ends: leave no timer."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._sleep_timer is not None:
            self._sleep_timer.cancel()
            self._sleep_timer = None

    # What happens.

    def taken(self, callback: str, message: Any) -> None:
        """A message is about to be handled."""
        self.hibernating = False
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._emit("in", callback, message)

    def returned(self, callback: str, value: Any) -> None:
        """A callback returned, or its coroutine did."""
        self._emit("out", callback, value)

    def crashed(self, callback: str, reason: ExitReason) -> None:
        """A callback raised."""
        self._emit("crash", callback, reason)

    def count(self, callback: str, seconds: float) -> None:
        """A message was handled in the actor's turn."""
        counts = self.counts
        if counts is None:
            return
        counts.calls += callback == "handle_call"
        counts.casts += callback == "handle_cast"
        counts.infos += callback == "handle_info"
        counts.busy += seconds

    def _emit(self, phase: str, callback: str, value: Any) -> None:
        if self.log is None and not self.hooks:
            return
        process = self.process
        event = TraceEvent(process.system.clock(), process.name, phase, callback, value)
        if self.log is not None:
            self.log.append(event)
        for name, hook in tuple(self.hooks.items()):
            try:
                hook(event)
            except BaseException as error:  # noqa: BLE001 - who watches must not disturb
                report_callback(process.name, f"hook {name}", error)
                self.hooks.pop(name, None)
