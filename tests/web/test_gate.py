"""What every request passes: its id, its log line, its headers, and the last catch."""

import logging
from dataclasses import replace

import pytest

from duologue.web import rest
from duologue.web.gate import CONTENT_SECURITY_POLICY, log_path, sane_request_id
from tests.web.place import FEATURE, Place, place


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/dialogues", "/v1/dialogues/nowhere", "/nothing", "/", "/static/main.js"]
)
async def test_every_answer_has_the_same_strict_headers(here: Place, path: str):
    async with here.http() as http:
        headers = (await http.get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]


def test_the_policy_lets_nothing_inline_or_foreign_in():
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "script-src 'self';" in CONTENT_SECURITY_POLICY
    assert "connect-src 'self';" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


async def test_answers_of_the_interface_are_kept_by_nobody(own: Place):
    async with own.http() as http:
        for path in ("/v1/dialogues", "/v1/dialogues/nowhere", "/readyz"):
            assert (await http.get(path)).headers["cache-control"] == "no-store"


async def test_a_sane_request_id_is_taken_over_and_another_replaced(here: Place):
    async with here.http() as http:
        taken = await http.get("/healthz", headers={"x-request-id": "abc-1.2_3"})
        made = await http.get("/healthz", headers={"x-request-id": "not sane"})
        twice = await http.get("/healthz", headers=[("x-request-id", "a"), ("x-request-id", "b")])
    assert taken.headers["x-request-id"] == "abc-1.2_3"
    assert made.headers["x-request-id"] not in ("", "not sane")
    assert twice.headers["x-request-id"] not in ("a", "b", "a, b")


@pytest.mark.parametrize("value", [b"", b"a b", b"a\r\nb", b"\xe9", b"x" * 65, b"<script>", b"a\x1b[0m"])
def test_what_is_no_sane_request_id(value: bytes):
    assert sane_request_id(value) is None


async def test_each_request_has_one_line_in_the_log_without_its_query(
    own: Place, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="duologue.access"):
        async with own.http() as http:
            await http.get("/v1/dialogues?before=canary", headers={"x-request-id": "r-1"})
            await http.get("/nothing%0d%0aGET%20/forged%1b[31m")
    lines = [record.getMessage() for record in caplog.records if record.name == "duologue.access"]
    assert len(lines) == 2
    assert lines[0].startswith("GET /v1/dialogues 4") or lines[0].startswith("GET /v1/dialogues 2")
    assert lines[0].endswith("request_id=r-1")
    assert "canary" not in "".join(lines)
    assert all(line.isprintable() and line.isascii() for line in lines)


def test_a_path_in_the_log_has_no_control_character_and_an_end():
    assert log_path({"path": "/a\nb\x1b é", "raw_path": None}) == "/a%0Ab%1B%20%C3%A9"
    assert len(log_path({"path": "/" + "x" * 9_999})) <= 256
    assert log_path({"path": "/a", "raw_path": b"/a?ticket=t"}) == "/a"


async def test_a_failure_of_ours_shows_an_id_to_the_client_and_the_rest_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(hub: object, request: object) -> None:
        raise RuntimeError("the secret reason")

    table = [replace(e, handler=broken) if e.path == "/healthz" else e for e in rest.ENDPOINTS]
    monkeypatch.setattr("duologue.app.ENDPOINTS", table)
    async with place() as here, here.http() as http:
        answer = await http.get("/healthz")
        assert answer.status_code == 500
        assert answer.json()["error"] == {
            "code": "internal",
            "message": "something went wrong here",
            "retryable": False,
        }
        assert "secret" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await http.get("/readyz")).status_code == 200
    failure = next(record for record in caplog.records if record.name == "duologue.web.gate")
    assert answer.json()["request_id"] in failure.getMessage()
    assert failure.exc_info is not None


async def test_a_client_that_leaves_before_its_answer_is_no_error(
    own: Place, caplog: pytest.LogCaptureFixture
):
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
    writer.write(b"POST /v1/dialogues HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()
    del reader
    async with own.http() as http:
        await http.post("/v1/dialogues", json={"feature": FEATURE})
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
