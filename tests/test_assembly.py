"""A runtime from settings: which parts are picked, what is refused, and how its own store is kept."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from duologue.assembly import Runtime, check_dialogue_id, open_runtime
from duologue.config.loading import load_settings
from duologue.config.settings import Settings
from duologue.dialogue.requests import Open
from duologue.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    Draining,
    DuologueError,
    FeatureNotConfigured,
    StoreUnavailable,
)
from duologue.messages import DialogueId
from tests.dialogue.world import until

FEATURE = "student_dialogue"


def settings(data_dir: Path | None = None, **more: Any) -> Settings:
    store = {"url": "memory://"} if data_dir is None else {"data_dir": str(data_dir)}
    return load_settings(
        environ={},
        overrides={
            "store": store,
            "models": {"m": {"provider": "scripted", "parameters": {"text": "Hello there."}}},
            "services": {"s": {"primary": "m"}},
            "features": {FEATURE: {"service": "s"}},
            **more,
        },
    )


def keeper(runtime: Runtime) -> Any:
    """The process of the bundled store's keeper in the kernel."""
    ref = runtime.system.whereis("store")
    assert ref is not None
    return ref


def store_pid(runtime: Runtime) -> int | None:
    pid: int | None = keeper(runtime).actor._server.pid
    return pid


async def ready(runtime: Runtime) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await runtime.check_ready()
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def answer(runtime: Runtime, name: str = "d1") -> str:
    dialogue = await runtime.open(name, feature=FEATURE)
    text = ""
    async with asyncio.timeout(10):
        async for event in dialogue.ask("Hi"):
            text += getattr(event, "text", "")
    return text


async def test_several_runtimes_live_in_one_loop_and_know_nothing_of_each_other() -> None:
    async with open_runtime(settings()) as one, open_runtime(settings()) as two:
        assert list(await asyncio.gather(answer(one), answer(two))) == ["Hello there."] * 2
        await one.open("here", feature=FEATURE)
        assert {r.row.dialogue for r in (await two.list_dialogues()).rows} == {"d1"}


async def test_a_dialogue_without_a_name_gets_a_random_one() -> None:
    async with open_runtime(settings()) as runtime:
        names = {(await runtime.open(feature=FEATURE)).id for _ in range(20)}
        assert len(names) == 20
        assert all(check_dialogue_id(name) == name and len(name) == 22 for name in names)


@pytest.mark.parametrize("name", ["a", "A.b_c~d-9", "x" * 128])
def test_good_names_are_taken_as_they_are(name: str) -> None:
    assert check_dialogue_id(name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a/b", "a b", "é", "{a}", "a\n", "\ud800"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        check_dialogue_id(name)


async def test_what_can_t_be_stored_or_resolved_is_refused_and_nothing_is_made() -> None:
    async with open_runtime(settings()) as runtime:
        d1 = DialogueId("d1")
        with pytest.raises(FeatureNotConfigured):
            await runtime.create(d1, Open("unknown"))
        with pytest.raises(BadRequest):
            await runtime.create(d1, Open(FEATURE, system_prompt="\ud800"))
        with pytest.raises(BadRequest):
            await runtime.create(d1, Open(FEATURE, metadata={str(n): "" for n in range(33)}))
        assert (await runtime.list_dialogues()).rows == []
        assert (await runtime.create(d1, Open(FEATURE, metadata={"a": "b"}))).created
        with pytest.raises(Conflict):
            await runtime.create(d1, Open(FEATURE, metadata={"a": "c"}))


async def test_a_runtime_that_was_left_refuses_new_work_in_the_contract_s_words() -> None:
    async with open_runtime(settings()) as runtime:
        dialogue = await runtime.open("d1", feature=FEATURE)
    with pytest.raises(Draining):
        await dialogue.send("?")
    with pytest.raises(DuologueError):
        await dialogue.snapshot()
    with pytest.raises(Draining):
        await runtime.check_ready()


async def test_the_bundled_store_keeps_what_was_said_until_the_next_runtime(tmp_path: Path) -> None:
    async with open_runtime(settings(tmp_path)) as runtime:
        await runtime.check_ready()
        assert await answer(runtime) == "Hello there."
    async with open_runtime(settings(tmp_path)) as runtime:
        history = await runtime.dialogue("d1").history()
        assert [m.content for m in history] == ["Hi", "Hello there."]


async def test_a_data_directory_in_use_is_refused_and_the_first_server_goes_on(tmp_path: Path) -> None:
    async with open_runtime(settings(tmp_path)) as runtime:
        with pytest.raises(ConfigurationError):
            async with open_runtime(settings(tmp_path)):
                pass
        assert await answer(runtime) == "Hello there."


async def test_a_bundled_store_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with open_runtime(settings(tmp_path)) as runtime:
        await answer(runtime)
        for _ in range(8):  # more often than a supervisor would bear with
            pid = store_pid(runtime)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            ended = until(lambda pid=pid: store_pid(runtime) != pid, "its end is known")  # type: ignore[misc]
            await ended
            await ready(runtime)
        assert await answer(runtime, "d2") == "Hello there."
        assert [m.content for m in await runtime.dialogue("d1").history()] == ["Hi", "Hello there."]


async def test_a_bundled_store_that_does_not_start_again_ends_no_dialogue_and_is_tried_until_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_runtime(settings(tmp_path)) as runtime:
        await answer(runtime)
        (manifest,) = tmp_path.rglob("*.manifest")
        good = manifest.read_bytes()
        manifest.write_bytes(b"not what it should be")
        pid = store_pid(runtime)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        dialogue = runtime.dialogue("d1")
        await until(lambda: caplog.text.count("does not start") == 3, "three attempts")
        with pytest.raises(StoreUnavailable):
            await dialogue.send("?")
        assert len(await dialogue.history()) == 2
        manifest.write_bytes(good)
        await ready(runtime)
        assert await answer(runtime, "d2") == "Hello there."
