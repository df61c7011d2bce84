"""What a bad handler, caller or specification can not do to others: a clear error, and nobody else feels it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from duologue.errors import CallTimeout
from duologue.runtime import (
    NO_REPLY,
    Actor,
    ActorDied,
    ActorSystem,
    BadChildSpec,
    CallingSelf,
    ChildError,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    MailboxOverflow,
    NoProc,
    Ref,
    Refuse,
    ReplyTo,
    Request,
    Restart,
    StartFailed,
    Stop,
    Supervisor,
    UnhandledRequest,
)
from duologue.runtime.testing import VirtualTimeLoop
from tests.runtime.actors import Do, Echo, Ledger, Probe, boom, log_of, turns, worker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualTimeLoop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture
async def bystander(system: ActorSystem) -> AsyncIterator[Ref[Any]]:
    """A sibling of the actor under test, which must not feel anything: it stays alive, keeps its order and is not
    started again."""
    ref = await system.start(Probe(), name="bystander")
    ref.cast("before")
    yield ref
    ref.cast("after")
    assert (await log_of(ref))[:2] == ["init", "before"]
    assert (await log_of(ref))[-1] == "after"
    assert system.whereis("bystander") is ref


pytestmark = pytest.mark.usefixtures("bystander")


async def _swallow(release: asyncio.Event) -> None:
    while not release.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await release.wait()


# Handlers.


@pytest.mark.parametrize(
    "error", [ValueError("a private text"), SystemExit(3), KeyboardInterrupt(), StopIteration()]
)
@pytest.mark.parametrize("waits", [False, True])
async def test_a_handler_that_raises_ends_its_actor_and_its_callers_are_told_why(
    system: ActorSystem, error: BaseException, waits: bool, caplog: pytest.LogCaptureFixture
):
    def at_once(me: Probe, reply_to: ReplyTo[Any]) -> None:
        raise error

    async def later(me: Probe, reply_to: ReplyTo[Any]) -> None:
        await asyncio.sleep(0)
        raise error

    ref = system.spawn(Probe(), name="bad")
    kept = ref.call(Do(lambda me, _: NO_REPLY))
    raising = ref.call(Do(later if waits else at_once))
    waiting = ref.call(Echo())
    name = "RuntimeError" if waits and isinstance(error, StopIteration) else type(error).__name__
    for answer in (kept, raising, waiting):
        with pytest.raises(ActorDied, match=f"bad ended before it answered .*{name}"):
            await answer
    assert "bad crashed in handle_call" in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: "x", "handle_cast returned str"),
        (lambda: NO_REPLY, "handle_cast returned NoReply"),
        (lambda: Refuse(ValueError()), "handle_cast returned Refuse"),
        (lambda: Stop, "handle_cast returned type"),
        (lambda: Stop("crash"), "TypeError"),  # type: ignore[arg-type]
        (lambda: Refuse("no"), "TypeError"),  # type: ignore[arg-type]
    ],
)
async def test_a_handler_that_returns_the_wrong_thing_ends_its_actor_and_says_what(
    system: ActorSystem, wrong: Callable[[], Any], text: str
):
    ref = system.spawn(Probe())
    ref.cast(lambda me: wrong())
    with pytest.raises(ActorDied, match=text):
        await ref.call(Echo())


async def test_an_answer_with_what_is_no_error_is_refused_where_it_is_given(system: ActorSystem):
    def fail(me: Probe, reply_to: ReplyTo[Any]) -> str:
        with pytest.raises(TypeError, match="not with str"):
            reply_to.fail("no")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not with type"):
            reply_to.fail(ValueError)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not with SystemExit"):
            reply_to.fail(SystemExit())  # type: ignore[arg-type]
        return "still answered"

    ref = system.spawn(Probe())
    assert await ref.call(Do(fail)) == "still answered"


async def test_a_handler_that_never_returns_costs_its_callers_their_timeout(system: ActorSystem):
    ref = system.spawn(Probe(), name="hanging")
    ref.cast(lambda me: asyncio.Event().wait())
    with pytest.raises(CallTimeout, match="actor hanging did not answer Echo"):
        await ref.call(Echo(), timeout=0.05)
    assert next(node for node in system.tree() if node.name == "hanging").state == "waiting"
    ref.kill()
    await ref.wait()


async def test_a_handler_that_swallows_cancellation_is_left_behind_reported_and_counted(
    system: ActorSystem, ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    system.kill_grace = 0.01
    release = asyncio.Event()
    sup = Supervisor([worker("stubborn", shutdown=0.01), worker("sibling")])
    ref = await system.start(sup)
    stubborn, sibling = sup.child("stubborn"), sup.child("sibling")
    assert stubborn is not None
    assert sibling is not None
    stubborn.cast(lambda me: _swallow(release))
    await turns()
    stubborn.kill()
    await stubborn.wait()
    await turns(100)
    assert sup.child("sibling") is sibling
    again = sup.child("stubborn")
    assert again is not None
    assert await again.call(Echo()) == "hello"
    assert ("zombie", "Probe") in ledger.events
    assert "did not end within 0.01 s of its cancellation" in caplog.text
    await ref.stop()
    release.set()
    await turns()


async def test_a_terminate_that_swallows_cancellation_does_not_hang_the_supervisor(system: ActorSystem):
    system.kill_grace = 0.01
    release = asyncio.Event()

    class Trapping(Probe):
        __slots__ = ()
        traps_exits = True

    spec = worker("a", kind=Trapping, on_terminate=lambda me, reason: _swallow(release), shutdown=0.01)
    ref = await system.start(Supervisor([spec]))
    await ref.stop()
    assert system.statistics().zombies == 1
    release.set()
    await turns()


async def test_a_handler_that_calls_itself_is_told_so_whichever_way_it_does(system: ActorSystem):
    async def awaits(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        return await me.ctx.ref.call(Echo(), None)

    async def returns_later(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        me.ctx.ref.cast("before")
        return me.ctx.ref.call(Echo(), None)

    def returns_it(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        me.ctx.ref.cast("before")
        return me.ctx.ref.call(Echo(), None)

    for action in (awaits, returns_later, returns_it):
        ref = system.spawn(Probe())
        with pytest.raises((ActorDied, CallingSelf), match=r"CallingSelf|calls itself"):
            await ref.call(Do(action))


async def test_a_handler_that_calls_a_dead_actor_hears_so_at_once_and_may_go_on(system: ActorSystem):
    dead = await system.start(Probe(), name="dead")
    await dead.stop()

    async def ask(me: Probe, reply_to: ReplyTo[Any]) -> str:
        with pytest.raises(NoProc, match="actor dead ended: noproc"):
            await dead.call(Echo())
        dead.cast(1)
        dead.info(2)
        dead.kill()
        return "went on"

    assert await system.spawn(Probe()).call(Do(ask)) == "went on"


async def test_a_second_answer_is_dropped_and_counted_whichever_way_it_comes(system: ActorSystem):
    def twice(me: Probe, reply_to: ReplyTo[Any]) -> str:
        reply_to.reply("first")
        return "second"

    def thrice(me: Probe, reply_to: ReplyTo[Any]) -> Stop:
        reply_to.reply("first")
        reply_to.fail(ValueError())
        return Stop(reply="third")

    ref = system.spawn(Probe())
    assert await ref.call(Do(twice)) == "first"
    assert await ref.call(Do(thrice)) == "first"
    await ref.wait()
    assert system.statistics().duplicate_replies_total == 3


async def test_a_flood_fills_the_siblings_mailbox_to_its_bound_and_no_further(system: ActorSystem):
    class Bounded(Probe):
        __slots__ = ()
        mailbox_max = 100

    flooded = await system.start(Bounded())
    refused: list[Exception | None] = []

    def flood(me: Probe) -> None:
        for number in range(1000):
            flooded.cast(number)
        flooded.call_nowait(Echo(), lambda outcome: refused.append(outcome.error))

    source = system.spawn(Probe())
    source.cast(flood)
    await turns()
    assert (await log_of(flooded))[1:] == list(range(100))
    assert isinstance(refused[0], MailboxOverflow)
    assert system.statistics().dropped_messages_total == 901


@pytest.mark.parametrize("where", ["describe", "terminate", "hibernate"])
async def test_a_side_callback_that_leaves_the_program_does_not(system: ActorSystem, where: str):
    def leave(*args: Any) -> Any:
        raise SystemExit("a private text")

    bad = type("Bad", (Probe,), {"__slots__": (), where: leave})
    ref = await system.start(bad())
    ref.cast(boom)
    assert (await ref.wait()).kind == "error"


# Reasons, refs and actors.


async def test_a_reason_that_is_none_is_refused_where_it_is_given(system: ActorSystem):
    ref = await system.start(Probe())
    for give in (ref.exit, ref.stop):
        with pytest.raises(TypeError, match="must be an ExitReason, not str"):
            give("shutdown")  # type: ignore[operator]
    ref.cast(lambda me: me.ctx.stop("shutdown"))
    assert (await ref.wait()).detail == "TypeError"


async def test_what_is_no_actor_and_an_instance_that_lived_are_refused(system: ActorSystem):
    for wrong in (None, "x", Probe):
        with pytest.raises(TypeError, match="only an Actor can be started"):
            system.spawn(wrong)  # type: ignore[type-var]
    actor = Probe()
    ref = await system.start(actor)
    await ref.stop()
    with pytest.raises(ValueError, match="one instance is one life"):
        system.spawn(actor)


async def test_a_supervisor_survives_a_request_that_it_does_not_know(system: ActorSystem):
    for supervisor in (Supervisor([worker("a")]), DynamicSupervisor()):
        ref: Ref[Any] = await system.start(supervisor)
        with pytest.raises(UnhandledRequest, match="knows no Echo"):
            await ref.call(Echo())
        assert ref.alive


# Specifications.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 7),
        ("start", None),
        ("start", Probe()),
        ("restart", "permanent"),
        ("shutdown", -1),
        ("shutdown", "5000"),
        ("shutdown", True),
        ("type", "worker"),
        ("significant", 1),
        ("name", ""),
        ("name", 7),
        ("start_timeout", -1.0),
        ("start_timeout", "soon"),
    ],
)
def test_a_wrong_field_is_refused_by_name_before_anything_starts(field: str, value: Any):
    fields = {"id": "a", "start": Probe, field: value}
    with pytest.raises(BadChildSpec, match=rf"child .*: {field} must be "):
        ChildSpec(**fields)


def test_a_field_that_is_missing_or_unknown_is_named():
    with pytest.raises(TypeError, match="start"):
        ChildSpec("a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="restrat"):
        ChildSpec("a", Probe, restrat=Restart.PERMANENT)  # type: ignore[call-arg]


async def test_what_is_no_specification_is_refused_before_anything_starts(system: ActorSystem):
    before = system.statistics().started_total
    for wrong in (Probe, {"id": "a", "start": Probe}, None):
        with pytest.raises(BadChildSpec, match="must be given as a ChildSpec"):
            Supervisor([worker("first"), wrong])  # type: ignore[list-item]
    assert system.statistics().started_total == before
    supervisor, dynamic = Supervisor(), DynamicSupervisor()
    await system.start(supervisor)
    await system.start(dynamic)
    for start in (supervisor.start_child, dynamic.start_child):
        with pytest.raises(BadChildSpec):
            await start(Probe)  # type: ignore[operator]
    for ask in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
        with pytest.raises(ChildError, match="not_found"):
            await ask(["no", "id"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (lambda: None, "start must make an actor, not NoneType"),
        (lambda: Probe, "start must make an actor, not "),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: (_ for _ in ()).throw(SystemExit(3)), "SystemExit"),
    ],
)
async def test_a_start_that_makes_no_actor_is_a_failed_start_and_its_supervisor_lives(
    system: ActorSystem, start: Any, text: str
):
    supervisor, dynamic = Supervisor([worker("sibling")]), DynamicSupervisor()
    await system.start(supervisor)
    await system.start(dynamic)
    sibling = supervisor.child("sibling")
    for begin in (supervisor.start_child, dynamic.start_child):
        with pytest.raises((BadChildSpec, StartFailed, ZeroDivisionError), match=f"{text}|division"):
            await begin(ChildSpec("bad", start))
    assert supervisor.child("sibling") is sibling
    with pytest.raises(StartFailed, match=f"{text}|BadChildSpec"):
        await system.start(Supervisor([worker("first"), ChildSpec("bad", start)]))


async def test_a_restart_whose_start_leaves_the_program_is_a_failed_attempt(system: ActorSystem):
    made: list[Actor] = []

    def start() -> Actor:
        if len(made) == 1:
            made.append(Probe())
            raise SystemExit(3)
        made.append(Probe())
        return made[-1]

    dynamic = DynamicSupervisor()
    await system.start(dynamic)
    ref = await dynamic.start_child(ChildSpec("a", start))
    ref.kill()
    await turns(100)
    assert len(dynamic) == 1
    assert len(made) == 3
    assert ref not in dynamic.children()


def test_an_exit_reason_says_what_it_is():
    assert str(ExitReason("error", "ValueError", "a private text")) == "error: ValueError"
    assert "private" not in repr(ExitReason("error", "ValueError", "a private text"))


class Unknown(Request[None]):
    """No actor knows it."""

    __slots__ = ()


async def test_a_request_without_a_handler_ends_the_actor_and_is_named(system: ActorSystem):
    ref = system.spawn(Probe())
    with pytest.raises(ActorDied, match="before it answered Unknown: error: UnhandledRequest") as died:
        await ref.call(Unknown())
    assert died.value.reason.message == "Probe has no handle_call for Unknown"
    assert (died.value.request, died.value.actor) == ("Unknown", ref.name)
