"""The HTTP clients: shared per host, certificates always checked, closed for good."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from duologue.config.models import Timeouts
from duologue.providers.attempt import run_attempt
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.http import HttpClients, read_body
from duologue.providers.openai_compatible import OpenAICompatible
from tests.providers.builders import REQUEST, collect, model
from tests.system.fake_upstream import FakeUpstream, Fault, Play

LIMITS = Timeouts(connect=5.0, first_token=10.0, idle=10.0, total=20.0)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody else has signed."""
    path = tmp_path / "self-signed.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    made = subprocess.run(
        [
            *command,
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            path,
            "-out",
            tmp_path / "certificate.pem",
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("openssl can't make a certificate here")
    path.write_bytes(path.read_bytes() + (tmp_path / "certificate.pem").read_bytes())
    return path


@pytest.mark.parametrize("tls", [True, False])
async def test_a_certificate_that_nobody_signed_is_not_accepted(certificate: Path, tls: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    got = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    clients = HttpClients(tls=tls)
    try:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        _, failure = await collect(run_attempt(OpenAICompatible(model(url), clients), REQUEST, LIMITS))
    finally:
        await clients.close()
        server.close()
        await server.wait_closed()
    assert isinstance(failure, ProviderFailure)
    assert failure.category is Category.CONNECT
    assert got == []


async def test_models_of_one_host_share_connections(upstream: FakeUpstream, clients: HttpClients) -> None:
    for name in ("a", "b", "c"):
        _, failure = await collect(OpenAICompatible(model(upstream.url, name), clients).stream(REQUEST))
        assert failure is None
    assert (upstream.request_count, upstream.connection_count) == (3, 1)


async def test_closing_closes_kept_and_used_connections_and_can_be_repeated(
    upstream: FakeUpstream, clients: HttpClients
) -> None:
    adapter = OpenAICompatible(model(upstream.url), clients)
    await collect(adapter.stream(REQUEST))
    upstream.play(Play(fault=Fault.STALL, at=1))
    batches = run_attempt(adapter, REQUEST, LIMITS)
    await anext(batches)
    await clients.close()
    await clients.close()
    await upstream.wait_until(lambda: upstream.open_connections == 0)
    _, failure = await collect(batches)
    assert isinstance(failure, ProviderFailure)
    upstream.play(Play())
    _, failure = await collect(adapter.stream(REQUEST))
    assert failure is None


async def test_a_body_is_read_up_to_its_limit_in_bytes(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(fault=Fault.HUGE_LINE))
    url = upstream.url + "/v1/chat/completions"
    async with clients.post(url, headers={}, body=b'{"model": "m"}', connect=5.0) as response:
        assert len(await read_body(response, bytes_max=1000, seconds=10.0)) == 1000


async def test_a_body_that_never_ends_is_given_up(upstream: FakeUpstream, clients: HttpClients) -> None:
    upstream.play(Play(tokens=["a"], fault=Fault.STALL, at=1))
    url = upstream.url + "/v1/chat/completions"
    async with clients.post(url, headers={}, body=b'{"model": "m"}', connect=5.0) as response:
        assert b'"content": "a"' in await read_body(response, bytes_max=1000, seconds=0.2)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://"])
async def test_an_address_that_is_none_is_the_configurations_fault(clients: HttpClients, url: str) -> None:
    with pytest.raises(ProviderFailure) as caught:
        async with clients.post(url, headers={}, body=b"", connect=1.0):
            pass
    assert caught.value.category is Category.MODEL_MISCONFIGURED
