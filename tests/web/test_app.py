"""The application and its server: whose the runtime is, mounting, signals, draining, what is refused to start."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from duologue.app import DuologueServer, build_server, create_app
from duologue.assembly import open_runtime
from duologue.errors import ConfigurationError
from duologue.providers.scripted import End, Say, WaitFor
from duologue.store.memory import MemoryStore
from tests.web.place import FEATURE, TOKEN, Place, place, settings_of, wait_until

ROOT = Path(__file__).parents[2]


async def asked(app: Starlette, path: str, host: str = "localhost") -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        return await http.get(path)


async def test_an_application_that_was_given_a_runtime_leaves_it_to_its_owner():
    async with open_runtime(settings_of(), store=MemoryStore()) as runtime:
        app = create_app(runtime)
        async with app.router.lifespan_context(app):
            assert (await asked(app, "/readyz")).status_code == 200
        await runtime.open("d1", feature=FEATURE)
        assert (await asked(app, "/v1/dialogues/d1")).status_code == 200


async def test_an_application_that_was_given_settings_owns_its_runtime(tmp_path: Path):
    app = create_app(settings_of(store={"url": "memory://"}))
    async with app.router.lifespan_context(app):
        assert (await asked(app, "/readyz")).status_code == 200
        assert app.state.hub.runtime.settings.features
    refused = await asked(app, "/readyz")
    assert refused.status_code == 503
    assert "lifespan" in refused.json()["error"]["message"]
    assert (await asked(app, "/healthz")).status_code == 200


async def test_two_applications_fit_under_one():
    async with (
        open_runtime(settings_of(), store=MemoryStore()) as first,
        open_runtime(settings_of(), store=MemoryStore()) as second,
    ):
        outer = Starlette(routes=[Mount("/a", create_app(first)), Mount("/b", create_app(second))])
        await first.open("d1", feature=FEATURE)
        assert (await asked(outer, "/a/v1/dialogues/d1")).status_code == 200
        assert (await asked(outer, "/b/v1/dialogues/d1")).status_code == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_another_host_than_loopback_is_not_bound_without_a_token(host: str):
    with pytest.raises(ConfigurationError) as caught:
        build_server(settings_of(server={"host": host, "port": 0}))
    assert "token" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_bound_without_a_token(host: str):
    build_server(settings_of(server={"host": host, "port": 0}))


def test_another_host_is_allowed_with_a_token():
    build_server(settings_of(server={"host": "0.0.0.0", "port": 0}, auth={"token": TOKEN}))


def test_an_address_that_is_taken_is_told_before_anything_is_started():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = build_server(settings_of(server={"port": port}))
        with pytest.raises(ConfigurationError) as caught:
            server.bind()
    assert str(port) in str(caught.value)


async def served(server: DuologueServer) -> asyncio.Task[None]:
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started or task.done(), "the server is up")
    return task


async def test_the_server_says_where_it_is_and_ends_when_it_is_told():
    server = build_server(settings_of(), limits=None)
    address = server.bind()
    assert address == server.address == f"http://127.0.0.1:{server.port}"
    task = await served(server)
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/readyz")).status_code == 200
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(task, 10)
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=address) as http:
            await http.get("/healthz")


@pytest.fixture
async def draining():
    """A whole server under its own main loop, and its task."""
    async with place() as inner:
        server = DuologueServer(inner.runtime, settle_timeout=5.0)
        here = Place(server.bind(), inner.runtime, server.hub, inner.store, inner.stage)
        here.server = server
        here.task = await served(server)  # type: ignore[attr-defined]
        yield here
        if not here.task.done():  # type: ignore[attr-defined]
            server.handle_exit(signal.SIGINT, None)
            server.handle_exit(signal.SIGINT, None)
        await asyncio.wait_for(here.task, 20)  # type: ignore[attr-defined]


async def test_on_a_signal_a_running_answer_ends_and_then_its_socket_is_closed(draining: Place):
    go_on = asyncio.Event()
    draining.plays(Say("Before "), WaitFor(go_on), Say("and after."), End())
    async with draining.socket() as client, draining.socket() as idle:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.delta")
        draining.server.handle_exit(signal.SIGTERM, None)
        await client.event("server.draining")
        await idle.event("server.draining")
        assert await idle.refused("open", feature=FEATURE) == "draining"
        async with draining.http() as http:
            assert (await http.get("/readyz")).status_code == 503
        go_on.set()
        completed = await client.event("turn.completed")
        assert completed["message"]["content"] == "Before and after."
        assert await client.closed() == 4001
        assert await idle.closed() == 4001
    await asyncio.wait_for(draining.task, 10)  # type: ignore[attr-defined]


async def test_a_second_signal_does_not_wait_for_answers(draining: Place):
    draining.plays(Say("On and "), WaitFor(asyncio.Event()))
    async with draining.socket() as client:
        await client.opened()
        await client.do("send", dialogue="d1", content="Hi")
        await client.event("turn.delta")
        draining.server.handle_exit(signal.SIGINT, None)
        await client.event("server.draining")
        draining.server.handle_exit(signal.SIGINT, None)
        assert await client.closed() == 4001
    await asyncio.wait_for(draining.task, 10)  # type: ignore[attr-defined]


PROGRAM = """
import sys
from duologue.app import build_server
from duologue.config.loading import load_settings
server = build_server(load_settings(environ={}, overrides={"server": {"port": 0}, "store": {"data_dir": sys.argv[1]}}))
print(server.bind(), flush=True)
server.run()
"""


def test_a_process_that_is_told_to_go_exits_with_0_and_had_been_ready_soon(tmp_path: Path):
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        while True:
            try:
                if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None
            assert time.monotonic() - began < 20
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
