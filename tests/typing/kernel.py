"""What type checkers must know of the kernel. Checked by mypy and pyright in `make check`, and never run.

A line that must be an error has an ignore with mypy's code for it. An ignore that hides nothing is an error
itself, so a mistake that is no longer found fails the check as well.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar, assert_never, assert_type

from duologue.runtime import (
    NO_REPLY,
    Actor,
    ActorSystem,
    ChildSpec,
    Continue,
    DynamicSupervisor,
    NoReply,
    Outcome,
    Ref,
    Refuse,
    Registry,
    ReplyTo,
    Request,
    Stop,
    Supervisor,
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class History:
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GetHistory(Request[History]):
    last: int = 10


@dataclass(frozen=True, slots=True)
class FindLine(Request[str | None]):
    word: str


@dataclass(frozen=True, slots=True)
class Clear(Request[None]):
    pass


@dataclass(frozen=True, slots=True)
class Withdraw(Request[int]):
    """Asks another actor than the `HistoryServer`."""

    amount: int


@dataclass(frozen=True, slots=True)
class Add:
    line: str


class HistoryServer(Actor):
    """What it accepts stands in its callbacks' signatures, and the type checker holds both sides to it."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[str] = []

    def handle_call(
        self, request: GetHistory | FindLine | Clear, reply_to: ReplyTo[Any]
    ) -> History | str | NoReply | Refuse | Stop | None:
        match request:
            case GetHistory(last):
                return History(tuple(self._lines[-last:]))
            case FindLine(word):
                return next((line for line in self._lines if word in line), None)
            case Clear():
                self._lines.clear()
                reply_to.reply(None)
                return NO_REPLY
            case _:  # a request that is accepted and not handled is an error here
                assert_never(request)

    def handle_cast(self, message: Add) -> Continue | None:
        self._lines.append(message.line)
        return None


class TitledHistoryServer(HistoryServer):
    __slots__ = ()


class ForgetfulServer(Actor):
    """Forgets one of the requests that it says it accepts."""

    __slots__ = ()

    def handle_call(self, request: GetHistory | Clear, reply_to: ReplyTo[Any]) -> History:
        match request:
            case GetHistory():
                return History(())
            case _:
                assert_never(request)  # type: ignore[arg-type]


class OpenServer(Actor):
    """Names nothing, and so accepts every request."""

    __slots__ = ()

    def handle_call(self, request: Request[Any], reply_to: ReplyTo[Any]) -> object:
        return super().handle_call(request, reply_to)


def keep(*values: object) -> None:
    """Where the results of checked lines go."""
    raise NotImplementedError


# ── a request names its reply ───────────────────────────────────────────────────────────────────────────────


async def the_answer_of_a_call_is_typed(system: ActorSystem) -> None:
    ref = system.spawn(HistoryServer())
    assert_type(ref, Ref[HistoryServer])
    assert_type(await system.start(HistoryServer()), Ref[HistoryServer])

    assert_type(await ref.call(GetHistory()), History)
    assert_type(await ref.call(FindLine("a"), timeout=None), str | None)
    assert_type(await ref.call(Clear(), 0.1), None)
    assert_type((await ref.call(GetHistory())).lines, tuple[str, ...])

    assert_type(ref.call(GetHistory()), asyncio.Future[History])
    both = await asyncio.gather(ref.call(GetHistory()), ref.call(FindLine("a")))
    assert_type(both, tuple[History, str | None])


async def a_wrong_answer_is_an_error(ref: Ref[HistoryServer]) -> None:
    lines: list[str] = await ref.call(GetHistory())  # type: ignore[arg-type]
    line: str = await ref.call(FindLine("a"))  # type: ignore[arg-type]
    later: asyncio.Future[int] = ref.call(GetHistory())  # type: ignore[arg-type]
    (await ref.call(GetHistory())).words  # type: ignore[attr-defined]
    (await ref.call(FindLine("a"))).upper()  # type: ignore[union-attr]
    keep(lines, line, later)


def the_outcome_of_a_callback_is_typed(ref: Ref[HistoryServer]) -> None:
    def on_history(outcome: Outcome[History]) -> None:
        assert_type(outcome.result(), History)
        assert_type(outcome.error, Exception | None)

    def on_number(outcome: Outcome[int]) -> None:
        raise NotImplementedError

    ref.call_nowait(GetHistory(), on_history)
    ref.call_nowait(GetHistory(), on_number)  # type: ignore[arg-type]


def an_answer_of_the_wrong_type_is_an_error(reply_to: ReplyTo[History]) -> None:
    reply_to.reply(History(()))
    reply_to.fail(ValueError("none"))
    reply_to.reply("none")  # type: ignore[arg-type]
    reply_to.fail("none")  # type: ignore[arg-type]


# ── an actor's class names what it accepts ──────────────────────────────────────────────────────────────────


async def a_request_that_the_actor_does_not_accept_is_an_error(ref: Ref[HistoryServer]) -> None:
    await ref.call(Withdraw(1))  # type: ignore[arg-type]
    await ref.call("history")  # type: ignore[arg-type]
    await ref.call(GetHistory)  # type: ignore[arg-type]
    await ref.call(Add("a"))  # type: ignore[arg-type]
    await ref.call(GetHistory(last="all"))  # type: ignore[arg-type]
    await ref.call(GetHistory(), timeout="5")  # type: ignore[arg-type]


def a_message_that_the_actor_does_not_accept_is_an_error(ref: Ref[HistoryServer]) -> None:
    ref.cast(Add("a"))
    ref.cast(GetHistory())  # type: ignore[arg-type]
    ref.cast("a")  # type: ignore[arg-type]


async def a_derived_class_accepts_what_its_base_does(system: ActorSystem) -> None:
    titled = system.spawn(TitledHistoryServer())
    base: Ref[HistoryServer] = titled
    assert_type(await titled.call(GetHistory()), History)
    assert_type(await base.call(GetHistory()), History)
    await titled.call(Withdraw(1))  # type: ignore[arg-type]
    narrower: Ref[TitledHistoryServer] = system.spawn(HistoryServer())  # type: ignore[arg-type]
    keep(narrower)


async def an_actor_that_names_nothing_accepts_every_request(
    anybody: Ref[Any], opened: Ref[OpenServer], actor: Ref[Actor]
) -> None:
    assert_type(await anybody.call(GetHistory()), History)
    assert_type(await opened.call(GetHistory()), History)
    assert_type(await actor.call(Withdraw(1)), int)
    anybody.cast("a")
    opened.cast("a")
    await anybody.call("history")  # type: ignore[arg-type]
    await opened.call("history")  # type: ignore[arg-type]


async def a_function_over_all_requests_keeps_the_answers_type(ref: Ref[Any], request: Request[R]) -> R:
    return await ref.call(request)


# ── the rest of what is public ──────────────────────────────────────────────────────────────────────────────


async def supervisors_are_actors_and_handles(system: ActorSystem) -> None:
    rooms = DynamicSupervisor(max_children=10)
    assert_type(system.spawn(rooms), Ref[DynamicSupervisor])
    spec = ChildSpec("history", HistoryServer)
    assert_type(await rooms.start_child(spec), Ref[Any])
    assert_type(Supervisor([spec]).child("history"), Ref[Any] | None)
    ChildSpec("history", HistoryServer())  # type: ignore[arg-type]
    ChildSpec("history", History)  # type: ignore[arg-type]
    system.spawn(History(()))  # type: ignore[type-var]
    system.spawn(HistoryServer)  # type: ignore[type-var]


def a_registrys_names_have_a_type(registry: Registry[int], ref: Ref[HistoryServer]) -> None:
    registry.register(1, ref)
    assert_type(registry.names(), list[int])
    registry.register("one", ref)  # type: ignore[arg-type]
