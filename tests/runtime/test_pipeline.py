import asyncio
from typing import Any

import pytest

from duologue.errors import Busy, CallTimeout
from duologue.runtime import (
    NO_REPLY,
    ActorDied,
    ActorSystem,
    NoProc,
    Pipeline,
    Refuse,
    ReplyTo,
    multi_call,
)
from tests.runtime.actors import Do, Echo, Probe, boom, turns


def _after(seconds: float, value: Any = None) -> Do:
    async def wait(me: Probe, reply_to: ReplyTo[Any]) -> Any:
        me.ctx.spawn(_answer(reply_to, seconds, value))
        return NO_REPLY

    return Do(wait)


async def _answer(reply_to: ReplyTo[Any], seconds: float, value: Any) -> None:
    await asyncio.sleep(seconds)
    reply_to.reply(value)


KEEP = Do(lambda me, reply_to: NO_REPLY)


async def test_outcomes_come_in_the_order_of_completion_with_their_labels(system: ActorSystem):
    ref = system.spawn(Probe())
    pipeline: Pipeline[str] = Pipeline()
    for label, seconds in (("slow", 3.0), ("quick", 1.0), ("middle", 2.0)):
        pipeline.send(label, ref, _after(seconds, label.upper()))
    assert pipeline.labels() == ["slow", "quick", "middle"]
    found = []
    while (next_one := await pipeline.wait()) is not None:
        found.append((next_one[0], next_one[1].result()))
    assert found == [("quick", "QUICK"), ("middle", "MIDDLE"), ("slow", "SLOW")]
    assert len(pipeline) == 0


async def test_waiting_keeps_the_requests_when_time_passes(system: ActorSystem):
    ref = system.spawn(Probe())
    pipeline: Pipeline[int] = Pipeline()
    pipeline.send(1, ref, _after(1.0, "late"))
    assert await pipeline.wait(0) is None
    assert await pipeline.wait(0.5) is None
    found = await pipeline.wait(10.0)
    assert found is not None
    assert found[1].result() == "late"


async def test_receiving_abandons_the_requests_when_time_passes(system: ActorSystem):
    ref = system.spawn(Probe())
    pipeline: Pipeline[int] = Pipeline()
    pipeline.send(1, ref, _after(1.0))
    pipeline.send(2, ref, _after(1.0))
    with pytest.raises(CallTimeout, match="2 requests"):
        await pipeline.receive(0.5)
    assert len(pipeline) == 0
    assert await pipeline.receive(0.5) is None
    await asyncio.sleep(1.0)
    assert system.statistics().late_replies_total == 2


async def test_a_deadline_is_one_for_many_waits(system: ActorSystem):
    ref = system.spawn(Probe())
    pipeline: Pipeline[int] = Pipeline()
    for number in range(10):
        pipeline.send(number, ref, _after(number + 0.5))
    deadline = asyncio.get_running_loop().time() + 4.0
    found = []
    while (next_one := await pipeline.wait(deadline=deadline)) is not None:
        found.append(next_one[0])
    assert found == [0, 1, 2, 3]
    pipeline.abandon()


async def test_failures_are_values(system: ActorSystem):
    gone = await system.start(Probe())
    await gone.stop()
    crashing, refusing = system.spawn(Probe()), system.spawn(Probe())
    pipeline: Pipeline[str] = Pipeline()
    pipeline.send("gone", gone, Echo())
    pipeline.send("crash", crashing, Do(lambda me, _: boom(me)))
    pipeline.send("refuse", refusing, Do(lambda me, _: Refuse(Busy("no"))))
    pipeline.send("late", refusing, KEEP, timeout=1.0)
    errors = {}
    while (next_one := await pipeline.wait()) is not None:
        errors[next_one[0]] = type(next_one[1].error)
    assert errors == {"gone": NoProc, "crash": ActorDied, "refuse": Busy, "late": CallTimeout}


async def test_a_label_or_a_call_that_is_there_is_refused(system: ActorSystem):
    ref = system.spawn(Probe())
    pipeline: Pipeline[str] = Pipeline()
    answer = ref.call(Echo())
    pipeline.add("a", answer)
    with pytest.raises(ValueError, match="'a'"):
        pipeline.send("a", ref, Echo())
    with pytest.raises(ValueError, match="another label"):
        pipeline.add("b", answer)
    await turns()
    with pytest.raises(ValueError, match="'a'"):  # completed, and not taken yet
        pipeline.send("a", ref, Echo())
    await pipeline.wait()
    pipeline.send("a", ref, Echo())
    await turns()
    pipeline.abandon()
    assert pipeline.labels() == []


async def test_a_wait_that_is_cancelled_takes_nothing(system: ActorSystem):
    actor = Probe()
    ref = system.spawn(actor)
    pipeline: Pipeline[int] = Pipeline()
    pipeline.send(1, ref, Do(lambda me, reply_to: (setattr(me, "state", reply_to), NO_REPLY)[1]))
    waiting = asyncio.ensure_future(pipeline.wait())
    await turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    actor.state.reply("kept")
    found = await pipeline.wait()
    assert found is not None
    assert found[1].result() == "kept"


async def test_many_actors_are_asked_at_once_and_failures_are_listed(system: ActorSystem):
    good, also, slow, dead = [await system.start(Probe()) for _ in range(4)]
    await dead.stop()
    slow.cast(lambda me: asyncio.sleep(60.0))
    began = system.now()
    found = await multi_call([good, also, slow, dead, good], Echo("x"), timeout=1.0)
    assert found.replies == {good: "x", also: "x"}
    assert {ref: type(error) for ref, error in found.failed.items()} == {slow: CallTimeout, dead: NoProc}
    assert system.now() - began <= 1.04
    assert (await multi_call([], Echo())).replies == {}


async def test_a_multi_call_that_is_cancelled_expects_nothing_more(system: ActorSystem):
    ref = await system.start(Probe())
    asking = asyncio.ensure_future(multi_call([ref], KEEP, timeout=None))
    await turns()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await turns()
    assert not getattr(ref, "owed")
