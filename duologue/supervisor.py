"""The supervision tree and the directory: starts dialogues on demand, finds them, restarts and retires them.

    root (one for one)
    ├── whatever the assembly puts there: the bundled store's keeper
    ├── dialogues    dynamic supervisor; every dialogue is a temporary child of it
    ├── directory    watches the dialogues and starts those again that crash
    └── recovery     at start, wakes the dialogues whose turns a killed server left open

A crash is one dialogue's: its restarts are counted in a window of its own and never towards a shared
supervisor's intensity, so a few bad dialogues can't take all down.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from duologue.dialogue.attachments import Attachment
from duologue.dialogue.environment import DialogueEnvironment
from duologue.dialogue.requests import Ask, Edit, Open, Regenerate
from duologue.dialogue.server import STORE_LOST, DialogueServer
from duologue.errors import ActorError, Draining, Quarantined, StoreUnavailable
from duologue.messages import DialogueId
from duologue.runtime import (
    Actor,
    ActorSystem,
    ChildSpec,
    ChildType,
    Continue,
    Down,
    DynamicSupervisor,
    Ref,
    Request,
    Restart,
    RestartWindow,
    Supervisor,
)

__all__ = ["RestartPolicy", "DialogueDirectory", "start_tree"]

_log = logging.getLogger(__name__)

_NEW_WORK = (Open, Ask, Regenerate, Edit)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a crashing dialogue is given up on. Times in seconds."""

    intensity: int = 3
    """Restarts that are allowed within `period`."""
    period: float = 30.0
    quarantine: float = 300.0
    """How long a dialogue that crashed more often is held back."""
    retry_after: float = 1.0
    """Pause before a watched dialogue that could not be loaded is woken again."""


@dataclass(frozen=True, slots=True)
class _Watch:
    dialogue: DialogueId
    ref: Ref[Any]


@dataclass(frozen=True, slots=True)
class _Wake:
    dialogue: DialogueId


class DialogueDirectory:
    """Which dialogue's actor runs where. Plain memory, used from the loop's thread only.

    Finding is a look-up, not a call: no actor stands between a request and its dialogue.
    """

    def __init__(
        self, system: ActorSystem, environment: DialogueEnvironment, policy: RestartPolicy | None = None
    ) -> None:
        self.policy = policy or RestartPolicy()
        self.environment = environment
        self.draining = False
        """No new work is taken; running turns go on."""
        self._system = system
        self._awake: dict[DialogueId, Ref[Any]] = {}
        self._windows: dict[DialogueId, RestartWindow] = {}
        self._unfinished: set[DialogueId] = set()
        """Dialogues that must be loaded even if nobody asks: a turn of theirs may be open."""
        self._quarantined: dict[DialogueId, float] = {}
        """Until when, by the system's clock."""
        self._start_child: Callable[[ChildSpec], Ref[Any]] | None = None
        self._watcher: Ref[Any] | None = None

    def connect(self, start_child: Callable[[ChildSpec], Ref[Any]]) -> None:
        """Where dialogues are started as children."""
        self._start_child = start_child

    def watched_by(self, watcher: Ref[Any]) -> None:
        """Who is to hear of the end of each dialogue, those that run already included."""
        self._watcher = watcher
        for dialogue, ref in self._awake.items():
            watcher.cast(_Watch(dialogue, ref))

    # ── the port that handles use ───────────────────────────────────────────────────────────────────────────

    def find(self, dialogue: DialogueId, request: Request[Any] | None = None) -> Ref[Any]:
        if self.draining and isinstance(request, _NEW_WORK):
            raise Draining("The server is going away; connect again in a moment.")
        ref = self._awake.get(dialogue)
        if ref is not None:
            if ref.alive:
                return ref
            # Whoever comes before the news of its end counts it, so that no hurry gets round the window.
            self.ended(dialogue, ref)
        until = self._quarantined.get(dialogue)
        if until is not None:
            if self._system.clock() < until:
                raise Quarantined(
                    "The dialogue crashed too often and is held back; try again in some minutes."
                )
            del self._quarantined[dialogue]
        return self._start(dialogue)

    def awake(self, dialogue: DialogueId) -> Ref[Any] | None:
        ref = self._awake.get(dialogue)
        return ref if ref is not None and ref.alive else None

    def forget(self, attachment: Attachment) -> None:
        if self.environment.attachments.discard(attachment):
            self.environment.telemetry.viewer_detached()

    # ── starting ────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, dialogue: DialogueId) -> Ref[Any]:
        assert self._start_child is not None, "the tree is not started"
        spec = ChildSpec(
            id=dialogue,
            start=lambda: DialogueServer(dialogue, self.environment),
            restart=Restart.TEMPORARY,
        )
        ref = self._awake[dialogue] = self._start_child(spec)
        if self._watcher is not None:
            self._watcher.cast(_Watch(dialogue, ref))
        return ref

    def wake_until_loaded(self, dialogue: DialogueId) -> None:
        """Wake a dialogue, and again when the store fails it, until it could look at its turn."""
        self._unfinished.add(dialogue)
        self.wake(dialogue)

    def wake(self, dialogue: DialogueId) -> None:
        """Start a dialogue that nobody asked for. One that is held back is left alone."""
        try:
            self.find(dialogue)
        except (Quarantined, ActorError) as error:
            # Held back, or the tree is going away.
            _log.debug("not woken: %s", error.code, extra={"dialogue": dialogue})

    def wake_unfinished(self) -> None:
        """Wake those that should run and do not: who was to do it may have crashed meanwhile."""
        for dialogue in tuple(self._unfinished):
            self.wake(dialogue)

    def __len__(self) -> int:
        return len(self._awake)

    def __iter__(self) -> Iterator[tuple[DialogueId, Ref[Any]]]:
        return iter(tuple(self._awake.items()))

    # ── endings ─────────────────────────────────────────────────────────────────────────────────────────────

    def ended(self, dialogue: DialogueId, ref: Ref[Any]) -> float | None:
        """A dialogue's actor ended. After how many seconds it is to be woken again; `None`: when it is wanted.

        Counted once for each end.
        """
        if self._awake.get(dialogue) is not ref:
            return None
        del self._awake[dialogue]
        reason, open_turns = ref.exit_reason, self.environment.open_turns
        assert reason is not None
        if reason == STORE_LOST:
            wanted = dialogue in self._unfinished or dialogue in open_turns
            watched = self.environment.attachments.count(dialogue)
            return self.policy.retry_after if wanted or watched else None
        if reason.clean:
            self._unfinished.discard(dialogue)
            open_turns.discard(dialogue)
            return None
        self._unfinished.add(dialogue)
        now = self._system.clock()
        window = self._windows.get(dialogue)
        if window is None:
            self._forget_calm_windows(now)
            window = self._windows[dialogue] = RestartWindow(self.policy.intensity, self.policy.period)
        if window.allow(now):
            self.environment.telemetry.actor_restarted(actor=DialogueServer.__name__)
            return 0.0
        self._quarantine(dialogue, now)
        return None

    def _forget_calm_windows(self, now: float) -> None:
        for dialogue, window in tuple(self._windows.items()):
            if window.recent(now) == 0:
                del self._windows[dialogue]

    def _quarantine(self, dialogue: DialogueId, now: float) -> None:
        _log.error("dialogue crashed too often and is held back", extra={"dialogue": dialogue})
        del self._windows[dialogue]
        self._unfinished.discard(dialogue)
        environment = self.environment
        environment.open_turns.discard(dialogue)
        self._quarantined = {name: until for name, until in self._quarantined.items() if now < until}
        self._quarantined[dialogue] = now + self.policy.quarantine
        for _ in range(environment.attachments.close(dialogue, Quarantined.code)):
            environment.telemetry.viewer_detached()


class DirectoryServer(Actor):
    """Hears of the end of each dialogue and starts those again that crashed."""

    __slots__ = ("_directory", "_watched")

    def __init__(self, directory: DialogueDirectory) -> None:
        self._directory = directory
        self._watched: dict[object, _Watch] = {}

    def init(self) -> None:
        self._directory.watched_by(self.ctx.ref)
        self._directory.wake_unfinished()

    def handle_cast(self, message: object) -> None:
        if isinstance(message, _Watch):
            self._watched[self.ctx.monitor(message.ref)] = message
        else:
            super().handle_cast(message)

    def handle_info(self, message: object) -> None:
        if isinstance(message, Down):
            watch = self._watched.pop(message.monitor, None)
            if watch is not None:
                self._on_end(watch)
        elif isinstance(message, _Wake):
            self._directory.wake(message.dialogue)
        else:
            super().handle_info(message)

    def _on_end(self, watch: _Watch) -> None:
        pause = self._directory.ended(watch.dialogue, watch.ref)
        if pause is None:
            return
        if pause > 0:
            self.ctx.start_timer(f"wake-{watch.dialogue}", pause, _Wake(watch.dialogue))
        else:
            self._directory.wake(watch.dialogue)


class RecoveryServer(Actor):
    """Wakes the dialogues that the store lists with an open turn; each then recovers its own turn."""

    __slots__ = ("_directory",)

    def __init__(self, directory: DialogueDirectory) -> None:
        self._directory = directory

    def init(self) -> Continue:
        return Continue()

    async def handle_continue(self, argument: object) -> None:  # noqa: ARG002 - the callback's signature
        try:
            unfinished = await self._directory.environment.store.open_turns()
        except StoreUnavailable:
            self.ctx.start_timer("retry", 1.0, _Retry())
            return
        for dialogue in unfinished:
            self._directory.wake_until_loaded(dialogue)
        if unfinished:
            _log.info("recovering %d dialogues with open turns", len(unfinished))

    def handle_info(self, message: object) -> Continue | None:
        if isinstance(message, _Retry):
            return Continue()
        super().handle_info(message)
        return None


@dataclass(frozen=True, slots=True)
class _Retry:
    pass


async def start_tree(
    system: ActorSystem, directory: DialogueDirectory, *, first: Sequence[ChildSpec] = ()
) -> Ref[Supervisor]:
    """Start the tree and return its root. Stopping the root stops everything, in reverse order.

    Args:
        system: Where it runs.
        directory: Is connected to the dialogues' supervisor.
        first: Children to start before any dialogue and to stop after the last one.

    Raises:
        StartFailed: One of `first` did not start.
    """

    def make_dialogues() -> DynamicSupervisor:
        # Its own window never counts anything: all its children are temporary.
        dialogues = DynamicSupervisor()
        directory.connect(dialogues.start_child_nowait)
        return dialogues

    children = [
        *first,
        ChildSpec(id="dialogues", start=make_dialogues, name="dialogues", type=ChildType.SUPERVISOR),
        ChildSpec(id="directory", start=lambda: DirectoryServer(directory), name="directory"),
        ChildSpec(id="recovery", start=lambda: RecoveryServer(directory), name="recovery"),
    ]
    return await system.start(Supervisor(children, intensity=5, period=30.0), name="root")
