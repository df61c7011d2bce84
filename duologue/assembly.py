"""Builds a runtime from settings: the one place that picks adapters. No web, no signal handlers, no logging set-up.

A runtime is a guest of the caller's event loop: it owns its tasks and its store connections and nothing
global, so several of them fit in one loop.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from duologue.config.loading import load_settings
from duologue.config.settings import Settings
from duologue.dialogue.attachments import Attachments
from duologue.dialogue.environment import DialogueEnvironment, DialogueLimits, TurnPolicy
from duologue.dialogue.handle import Dialogue
from duologue.dialogue.open_turns import OpenTurns
from duologue.dialogue.requests import Open, Opened
from duologue.errors import BadRequest, ConfigurationError, Draining, StoreUnavailable
from duologue.messages import DialogueId, DialogueMeta, DialogueStatus, OnBusy
from duologue.providers.port import CompletionService
from duologue.providers.service import build_services
from duologue.runtime import Actor, ActorSystem, ChildSpec, TaskDone
from duologue.runtime.tree import draw
from duologue.store.bundled import BundledServer
from duologue.store.memory import MemoryStore
from duologue.store.port import DialogueRow, Store
from duologue.store.redis import RedisStore
from duologue.supervisor import DialogueDirectory, RestartPolicy, start_tree
from duologue.telemetry import Telemetry

__all__ = ["open_runtime", "Runtime", "DialogueListRow", "DialogueListPage", "check_dialogue_id"]

_log = logging.getLogger(__name__)

_STORE_PAUSE_MIN = 0.1
_STORE_PAUSE_MAX = 5.0
"""Seconds between two attempts to start a bundled store that does not start."""
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
_ID_LENGTH_MAX = 128


def check_dialogue_id(name: str) -> DialogueId:
    """A dialogue's name as a client gave it.

    Raises:
        BadRequest: Empty, longer than 128 characters, or with others than `A-Z a-z 0-9 . _ ~ -`.
    """
    if not 0 < len(name) <= _ID_LENGTH_MAX or not _ID_CHARACTERS.issuperset(name):
        raise BadRequest("A dialogue's id has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ and -.")
    return DialogueId(name)


def _new_id() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class DialogueListRow:
    """One line of a list of dialogues."""

    row: DialogueRow
    viewers: int

    def to_wire(self) -> dict[str, Any]:
        """The row as plain values."""
        row = self.row
        return {
            "id": row.dialogue,
            "feature": row.feature,
            "section": row.section,
            "account": row.account,
            "status": row.status.value,
            "viewers": self.viewers,
            "updated_at": row.updated_at,
            "preview": row.preview,
        }


@dataclass(frozen=True, slots=True)
class DialogueListPage:
    """Rows, newest first, and the cursor of the next page; `None` when this was the last."""

    rows: Sequence[DialogueListRow]
    before: str | None


class Runtime:
    """A running tree of dialogues. Made by `open_runtime`."""

    def __init__(
        self,
        settings: Settings,
        system: ActorSystem,
        directory: DialogueDirectory,
        store: Store,
    ) -> None:
        self.settings = settings
        self.system = system
        self.telemetry = directory.environment.telemetry
        self.attachments = directory.environment.attachments
        self._directory = directory
        self._store = store

    def dialogue(self, dialogue_id: DialogueId | str) -> Dialogue:
        """A handle. Nothing is looked up or started; an unknown name answers `NotFound` when it is used."""
        return Dialogue(DialogueId(dialogue_id), self._directory)

    async def create(self, dialogue_id: DialogueId | None, request: Open) -> Opened:
        """Open a dialogue: create it, or find it opened with the same values.

        Args:
            dialogue_id: `None`: a random name of 128 bits.
            request: What it is opened with.

        Raises:
            BadRequest: The id is not one.
            Conflict: It exists and was opened with other values.
            FeatureNotConfigured: The feature resolves to no service.
            StoreUnavailable, Draining: Not now.
        """
        name = DialogueId(_new_id()) if dialogue_id is None else check_dialogue_id(dialogue_id)
        return await self.dialogue(name).call(request)

    async def open(
        self,
        dialogue_id: DialogueId | str | None = None,
        *,
        feature: str,
        section: str | None = None,
        account: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Dialogue:
        """Open a dialogue as `create` does and return its handle."""
        request = Open(feature, section, account, system_prompt, dict(metadata or {}))
        opened = await self.create(None if dialogue_id is None else DialogueId(dialogue_id), request)
        return self.dialogue(opened.dialogue)

    async def list_dialogues(
        self, *, status: DialogueStatus | None = None, before: str | None = None, limit: int = 50
    ) -> DialogueListPage:
        """Dialogues by the time of their last change, newest first, with how many watch each."""
        page = await self._store.list_dialogues(status=status, before=before, limit=limit)
        rows = [DialogueListRow(row, self.attachments.count(row.dialogue)) for row in page.rows]
        return DialogueListPage(rows, page.before)

    async def check_ready(self) -> None:
        """Return when work can be taken.

        Raises:
            Draining: The runtime is going away.
            StoreUnavailable: The store does not answer; the message says why.
        """
        if self.draining:
            raise Draining("The server is going away.")
        await self._store.ping()

    def draw_actors(self, *, children_max: int | None = None) -> str:
        """What runs, as text: a line of totals, then the tree of actors, one a line.

        A line has the actor's name, state, waiting and handled messages, and, when it was restarted, how often
        and why its life before ended. It names types and reasons and never what is in a message.

        Args:
            children_max: How many children of one actor are shown; `None`: all.
        """
        numbers = self.system.statistics()
        totals = (
            f"{numbers.actors} actors, {numbers.started_total} started; {numbers.waiting_calls} calls wait; "
            f"late replies {numbers.late_replies_total}, dropped messages {numbers.dropped_messages_total}, "
            f"zombies {numbers.zombies} of {numbers.zombies_total}"
        )
        return f"{totals}\n{draw(self.system.tree(), children_max=children_max)}\n"

    # ── going away ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def draining(self) -> bool:
        """Whether new work is refused."""
        return self._directory.draining

    def begin_drain(self) -> None:
        """Take no new work from now on; running turns go on."""
        self._directory.draining = True

    async def settle(self, timeout: float) -> bool:
        """Wait until no turn is open, at most `timeout` seconds. Whether that was reached."""
        return await self._directory.environment.open_turns.settled(timeout)


class _StoreKeeper(Actor):
    """Keeps the bundled server running: when its process ends it is started again, for as long as that takes.

    One that can't be started is an ill store, which says so to each request, and no reason to end a dialogue;
    so it is not left to the supervisor, whose patience ends after some crashes in a row.
    """

    __slots__ = ("_server",)

    traps_exits = True
    """So that `terminate` runs, and stops the process, when the tree is stopped."""

    def __init__(self, server: BundledServer) -> None:
        self._server = server

    async def init(self) -> None:
        await self._server.start()
        self.ctx.spawn(self._keep(), name="keep")

    async def _keep(self) -> None:
        pause = 0.0
        while True:
            await self._server.wait()
            await asyncio.sleep(pause)
            try:
                await self._server.start()
            except (StoreUnavailable, ConfigurationError) as error:
                _log.error("the bundled store does not start: %s", error)
                pause = min(_STORE_PAUSE_MAX, pause * 2 or _STORE_PAUSE_MIN)
            else:
                _log.warning("the bundled store had ended and was started again")
                self.ctx.telemetry.actor_restarted(actor="store")
                pause = 0.0

    def handle_info(self, message: object) -> None:
        if isinstance(message, TaskDone) and message.exception is not None:
            raise message.exception
        super().handle_info(message)

    async def terminate(self, reason: object) -> None:  # noqa: ARG002 - the callback's signature
        keeping = self.ctx.task("keep")
        if keeping is not None:
            # Before the process is stopped, or its end would be taken for an accident.
            keeping.cancel()
            await asyncio.wait((keeping.task,))
        await self._server.stop()


def _resolver(settings: Settings) -> Any:
    def resolve(meta: DialogueMeta) -> TurnPolicy:
        found = settings.resolve(meta.feature, section=meta.section, account=meta.account)
        prompt = meta.system_prompt if meta.system_prompt is not None else found.system_prompt
        service = settings.services[found.service]
        return TurnPolicy(found.service, prompt, OnBusy(found.on_busy), service.on_interrupted == "retry")

    return resolve


@asynccontextmanager
async def open_runtime(
    settings: Settings | None = None,
    *,
    telemetry: Telemetry | None = None,
    store: Store | None = None,
    services: CompletionService | None = None,
    restart_policy: RestartPolicy | None = None,
    limits: DialogueLimits | None = None,
) -> AsyncIterator[Runtime]:
    """Run dialogues for as long as the context is entered; leaving it stops every actor, task and connection.

    Turns that are open when it is left stay open in the store and are recovered by whoever opens it next;
    to have them finish first, `begin_drain` and `settle`.

    Args:
        settings: `None`: as `load_settings()` finds them (file, environment).
        telemetry: Gets every event; `None`: nobody does.
        store: Used instead of the one in the settings; opened and closed here.
        services: Used instead of the models in the settings; closed here.
        restart_policy: When a crashing dialogue is given up on.
        limits: Numbers that bound a dialogue; `None`: from the settings.

    Raises:
        ConfigurationError: The settings are wrong, or the data directory is in use by another server.
    """
    settings = settings or load_settings()
    telemetry = telemetry or Telemetry()
    async with AsyncExitStack() as stack:
        services = services or build_services(settings, telemetry=telemetry)
        stack.push_async_callback(services.close)
        first: list[ChildSpec] = []
        if store is None:
            bundled = None if settings.store.url is not None else BundledServer(settings.store.data_dir)
            if bundled is not None:
                # Before the tree, so that what is wrong with the data directory is said in its own words.
                stack.push_async_callback(bundled.stop)
                await bundled.start()
                first.append(
                    ChildSpec(id="store", start=lambda: _StoreKeeper(bundled), name="store", shutdown=10.0)
                )
            store = _choose_store(settings, bundled)
        stack.push_async_callback(store.close)
        environment = DialogueEnvironment(
            store=store,
            services=services,
            resolve=_resolver(settings),
            attachments=Attachments(),
            open_turns=OpenTurns(),
            telemetry=telemetry,
            limits=limits or _limits(settings),
            wall_clock=time.time,
            new_id=_new_id,
        )
        system = ActorSystem(telemetry=telemetry)
        directory = DialogueDirectory(system, environment, restart_policy)
        stack.push_async_callback(system.shutdown)
        await store.open()
        await start_tree(system, directory, first=first)
        runtime = Runtime(settings, system, directory, store)
        stack.callback(runtime.begin_drain)  # whoever comes while the tree is stopped is told so
        yield runtime


def _limits(settings: Settings) -> DialogueLimits:
    return DialogueLimits(
        message_bytes_max=settings.limits.message_bytes_max,
        checkpoint_interval=settings.store.checkpoint_interval,
        idle_after=settings.limits.idle_after,
    )


def _choose_store(settings: Settings, bundled: BundledServer | None) -> Store:
    """The store that the settings name, or the one on the bundled server."""
    chosen = settings.store
    if bundled is not None:
        url = bundled.url
    else:
        assert chosen.url is not None
        url = chosen.url.get_secret_value()
        if url.startswith("memory:"):
            return MemoryStore()
    return RedisStore(url, timeout=chosen.timeout, retention_days=chosen.retention_days)
