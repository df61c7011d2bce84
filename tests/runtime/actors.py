"""Actors that do what their messages say, and write down what happens to them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from duologue.runtime import Actor, ChildSpec, ExitReason, Ref, ReplyTo, Request, Restart
from duologue.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Do(Request[Any]):
    """Call `action` with the actor and the ReplyTo; what it returns is what handle_call returns."""

    action: Callable[["Probe", ReplyTo[Any]], Any]


@dataclass(frozen=True, slots=True)
class Echo(Request[str]):
    text: str = "hello"


@dataclass(frozen=True, slots=True)
class GetLog(Request[list[Any]]):
    pass


class Probe(Actor):
    """Casts that can be called are called with the actor; everything else is written to `log`.

    The log may be given from outside, so that it outlives the actor.
    """

    __slots__ = ("log", "on_continue", "on_info", "on_init", "on_terminate", "state")

    def __init__(
        self,
        log: list[Any] | None = None,
        *,
        on_init: Callable[["Probe"], Any] | None = None,
        on_continue: Callable[["Probe", Any], Any] | None = None,
        on_info: Callable[["Probe", Any], Any] | None = None,
        on_terminate: Callable[["Probe", ExitReason], Any] | None = None,
    ) -> None:
        self.log: list[Any] = [] if log is None else log
        self.on_init = on_init
        self.on_continue = on_continue
        self.on_info = on_info
        self.on_terminate = on_terminate
        self.state: Any = None

    def init(self) -> Any:
        self.log.append("init")
        return self.on_init(self) if self.on_init else None

    def handle_continue(self, argument: Any) -> Any:
        self.log.append(("continue", argument))
        return self.on_continue(self, argument) if self.on_continue else None

    def handle_call(self, request: Request[Any], reply_to: ReplyTo[Any]) -> Any:
        match request:
            case Do(action):
                return action(self, reply_to)
            case Echo(text):
                return text
            case GetLog():
                return list(self.log)
        return super().handle_call(request, reply_to)

    def handle_cast(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.log.append(message)
        return None

    def handle_info(self, message: Any) -> Any:
        self.log.append(message)
        return self.on_info(self, message) if self.on_info else None

    def terminate(self, reason: ExitReason) -> Any:
        self.log.append(("terminate", reason))
        return self.on_terminate(self, reason) if self.on_terminate else None


class Trapper(Probe):
    __slots__ = ()

    traps_exits = True


class Ledger(Telemetry):
    """Keeps each event as a tuple."""

    __slots__ = ("events",)

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def actor_crashed(self, *, actor: str, reason: str) -> None:
        self.events.append(("crashed", actor, reason))

    def actor_restarted(self, *, actor: str) -> None:
        self.events.append(("restarted", actor))

    def late_reply_dropped(self, *, actor: str) -> None:
        self.events.append(("late", actor))

    def task_zombie(self, *, actor: str) -> None:
        self.events.append(("zombie", actor))

    def loop_held(self, *, actor: str, message: str, seconds: float) -> None:
        self.events.append(("held", actor, message))


class Flaky:
    """An `init` that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.attempts = 0

    def __call__(self, me: Probe) -> None:
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise ValueError("not yet")


def boom(me: Probe) -> None:
    """Cast this to make an actor crash."""
    raise ValueError("a private text")


def stop_with(reason: ExitReason) -> Callable[[Probe], Any]:
    """Cast this to make an actor stop by itself."""
    from duologue.runtime import Stop

    return lambda me: Stop(reason)


async def turns(count: int = 30) -> None:
    """Let the loop turn, with no time passing, until everything that can run has run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def log_of(ref: Ref[Any]) -> list[Any]:
    """What a probe has written down, once it has handled everything that was sent to it before."""
    return await ref.call(GetLog())


def worker(
    name: str,
    /,
    log: list[Any] | None = None,
    restart: Restart = Restart.PERMANENT,
    *,
    kind: type[Probe] = Probe,
    on_init: Callable[[Probe], Any] | None = None,
    on_terminate: Callable[[Probe, ExitReason], Any] | None = None,
    **fields: Any,
) -> ChildSpec:
    """A child that writes `start name` and `stop name` into the log, when one is given."""

    def started(me: Probe) -> Any:
        if log is not None:
            log.append(f"start {name}")
        return on_init(me) if on_init else None

    def stopped(me: Probe, reason: ExitReason) -> Any:
        if log is not None:
            log.append(f"stop {name}")
        return on_terminate(me, reason) if on_terminate else None

    return ChildSpec(name, lambda: kind(on_init=started, on_terminate=stopped), restart, **fields)
