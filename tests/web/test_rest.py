"""The table of HTTP endpoints, over real sockets."""

import asyncio
import json

import httpx
import pytest

from duologue.messages import DialogueId
from duologue.providers.scripted import Hang, Say
from duologue.web.hub import WebLimits
from tests.web.place import FEATURE, TOKEN, Place, place, wait_until


def code_of(answer: httpx.Response) -> str:
    body = answer.json()
    assert set(body) == {"error", "request_id"}
    assert set(body["error"]) >= {"code", "message", "retryable"}
    assert answer.headers["x-request-id"] == body["request_id"]
    return str(body["error"]["code"])


async def create(http: httpx.AsyncClient, name: str = "d1") -> None:
    assert (await http.post("/v1/dialogues", json={"id": name, "feature": FEATURE})).status_code == 201


async def finished(here: Place, name: str = "d1") -> None:
    dialogue = here.runtime.dialogue(DialogueId(name))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while (await dialogue.snapshot()).status != "idle":
        assert loop.time() < deadline


async def test_a_dialogue_is_created_once_found_again_and_not_opened_otherwise(here: Place):
    async with here.http() as http:
        first = await http.post(
            "/v1/dialogues", json={"id": "d1", "feature": FEATURE, "metadata": {"k": "v"}}
        )
        again = await http.post(
            "/v1/dialogues", json={"id": "d1", "feature": FEATURE, "metadata": {"k": "v"}}
        )
        other = await http.post("/v1/dialogues", json={"id": "d1", "feature": FEATURE})
    assert first.status_code == 201
    assert first.json() == {"dialogue": "d1", "epoch": first.json()["epoch"], "seq": 0, "created": True}
    assert again.status_code == 200
    assert again.json() == {**first.json(), "created": False}
    assert (other.status_code, code_of(other)) == (409, "conflict")


async def test_the_server_makes_a_name_where_none_is_given(own: Place):
    async with own.http() as http:
        names = {
            (await http.post("/v1/dialogues", json={"feature": FEATURE})).json()["dialogue"] for _ in range(4)
        }
    assert len(names) == 4
    assert all(len(name) >= 22 for name in names)


async def test_a_message_is_taken_and_answered_and_stands_in_the_history(here: Place):
    here.says("It is a burrito.")
    async with here.http() as http:
        await create(http)
        accepted = await http.post("/v1/dialogues/d1/messages", json={"content": "What is a monad?"})
        assert accepted.status_code == 202
        assert set(accepted.json()) == {"message_id", "turn_id", "epoch", "seq"}
        await finished(here)
        snapshot = (await http.get("/v1/dialogues/d1")).json()
        page = (await http.get("/v1/dialogues/d1/messages")).json()
    assert [message["content"] for message in snapshot["messages"]] == [
        "What is a monad?",
        "It is a burrito.",
    ]
    assert snapshot["messages"] == page["messages"]
    assert page["before"] is None
    assert list(snapshot) == [
        "id", "epoch", "seq", "feature", "section", "account", "status", "messages", "before", "turn", "usage",
    ]  # fmt: skip


async def test_history_comes_in_pages_from_the_newest_back(own: Place):
    async with own.http() as http:
        await create(http)
        for number in range(3):
            await http.post("/v1/dialogues/d1/messages", json={"content": f"q{number}"})
            await finished(own)
        contents: list[str] = []
        before = None
        while True:
            params = {"limit": "2", **({"before": before} if before else {})}
            page = (await http.get("/v1/dialogues/d1/messages", params=params)).json()
            assert len(page["messages"]) <= 2
            contents[:0] = [message["content"] for message in page["messages"]]
            before = page["before"]
            if before is None:
                break
    assert [text for text in contents if text.startswith("q")] == ["q0", "q1", "q2"]
    assert len(contents) == 6


async def test_dialogues_are_listed_with_their_viewers_and_by_status(own: Place):
    async with own.http() as http, own.socket() as client:
        await create(http, "quiet")
        await client.opened("busy")
        own.plays(Say("On and "), Hang())
        await client.do("send", dialogue="busy", content="Go on")
        await client.event("turn.delta")
        rows = {row["id"]: row for row in (await http.get("/v1/dialogues")).json()["dialogues"]}
        generating = (await http.get("/v1/dialogues?status=generating")).json()["dialogues"]
        one = (await http.get("/v1/dialogues?limit=1")).json()
        rest = (await http.get("/v1/dialogues", params={"limit": 1, "before": one["before"]})).json()
    assert rows["busy"]["viewers"] == 1
    assert rows["busy"]["status"] == "generating"
    assert rows["busy"]["preview"] == "Go on"
    assert rows["quiet"]["status"] == "idle"
    assert [row["id"] for row in generating] == ["busy"]
    assert {one["dialogues"][0]["id"], rest["dialogues"][0]["id"]} == {"busy", "quiet"}


async def test_an_answer_is_cancelled_and_made_again(here: Place):
    async with here.http() as http:
        await create(http)
        here.plays(Say("Half "), Hang())
        turn = (await http.post("/v1/dialogues/d1/messages", json={"content": "Hi"})).json()["turn_id"]
        other = await http.post("/v1/dialogues/d1/cancel", json={"turn_id": "t-other"})
        assert (other.status_code, other.json()) == (200, {"cancelled": False})
        assert (await http.post("/v1/dialogues/d1/cancel", json={"turn_id": turn})).json() == {
            "cancelled": True
        }
        await finished(here)
        assert (await http.post("/v1/dialogues/d1/cancel")).json() == {"cancelled": False}
        here.says("Whole.")
        assert (await http.post("/v1/dialogues/d1/regenerate")).status_code == 202
        await finished(here)
        messages = (await http.get("/v1/dialogues/d1")).json()["messages"]
    assert messages[-1]["content"] == "Whole."


async def test_a_second_message_meanwhile_is_busy(own: Place):
    own.plays(Hang())
    async with own.http() as http:
        await create(http)
        await http.post("/v1/dialogues/d1/messages", json={"content": "Hi"})
        busy = await http.post("/v1/dialogues/d1/messages", json={"content": "Hello?"})
        queued = await http.post("/v1/dialogues/d1/messages", json={"content": "Hello?", "on_busy": "queue"})
    assert (busy.status_code, code_of(busy)) == (409, "busy")
    assert busy.json()["error"]["retryable"] is True
    assert queued.status_code == 202


async def test_the_same_message_twice_is_one(here: Place):
    async with here.http() as http:
        await create(http)
        body = {"content": "Hi", "client_message_id": "c-1"}
        first = await http.post("/v1/dialogues/d1/messages", json=body)
        await finished(here)
        again = await http.post("/v1/dialogues/d1/messages", json=body)
        other = await http.post("/v1/dialogues/d1/messages", json={**body, "content": "Ho"})
    assert first.json() == again.json()
    assert code_of(other) == "conflict"


async def test_a_deleted_dialogue_is_gone(here: Place):
    async with here.http() as http:
        await create(http)
        deleted = await http.delete("/v1/dialogues/d1")
        assert (deleted.status_code, deleted.content) == (204, b"")
        for answer in (await http.get("/v1/dialogues/d1"), await http.delete("/v1/dialogues/d1")):
            assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/dialogues/nowhere"),
        ("DELETE", "/v1/dialogues/nowhere"),
        ("GET", "/v1/dialogues/nowhere/messages"),
        ("POST", "/v1/dialogues/nowhere/messages"),
        ("GET", "/v1/dialogues/nowhere/events"),
        ("POST", "/v1/dialogues/nowhere/cancel"),
        ("POST", "/v1/dialogues/nowhere/regenerate"),
        ("GET", "/v1/dialogues/%00%0d%0a"),
        ("GET", "/v1/dialogues/" + "x" * 129),
        ("GET", "/v1/dialogues/x%20y/events"),
        ("GET", "/nothing/here"),
        ("GET", "/v1/dialogues/"),
        ("GET", "/static/nothing.js"),
        ("GET", "/static/../app.py"),
        ("GET", "/static/%2e%2e/rest.py"),
    ],
)
async def test_what_is_not_there_is_not_found(own: Place, method: str, path: str):
    async with own.http() as http:
        body = {"json": {"content": "Hi"}} if path.endswith("/messages") and method == "POST" else {}
        answer = await http.request(method, path, **body)
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/dialogues"), ("PATCH", "/v1/dialogues/d1"), ("POST", "/healthz"), ("FROB", "/readyz")],
)
async def test_a_method_that_is_missing_is_405_and_typed(own: Place, method: str, path: str):
    async with own.http() as http:
        answer = await http.request(method, path)
    assert (answer.status_code, code_of(answer)) == (405, "bad_request")
    assert answer.headers["allow"]


BAD_BODIES = {
    "no JSON": (b"{", "bad_frame"),
    "not UTF-8": (b'{"content": "\xff"}', "bad_frame"),
    "a nest": (b"[" * 10_000, "bad_frame"),
    "not a number": (b'{"content": NaN}', "bad_frame"),
    "an array": (b"[]", "bad_request"),
    "nothing": (b"", "bad_request"),
    "a wrong type": (b'{"content": 3}', "bad_request"),
    "an unknown field": (b'{"content": "Hi", "role": "system"}', "bad_request"),
    "an unknown policy": (b'{"content": "Hi", "on_busy": "wait"}', "bad_request"),
    "a lone surrogate": (b'{"content": "\\ud800"}', "bad_request"),
    "an empty message": (b'{"content": ""}', "bad_request"),
    "too much": (json.dumps({"content": "x" * 32_769}).encode(), "message_too_large"),
    "far too much": (json.dumps({"content": "x" * 300_000}).encode(), "frame_too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_refused_with_its_code_and_nothing_is_stored(own: Place, name: str):
    data, code = BAD_BODIES[name]
    async with own.http() as http:
        await create(http)
        answer = await http.post("/v1/dialogues/d1/messages", content=data)
        assert code_of(answer) == code
        assert answer.status_code == (413 if code.endswith("too_large") else 400)
        assert (await http.get("/v1/dialogues/d1")).json()["messages"] == []


async def test_a_body_without_a_length_is_bounded_too(own: Place):
    async def unannounced():
        for _ in range(6):
            yield b" " * 65_536

    async with own.http() as http:
        await create(http)
        answer = await http.post("/v1/dialogues/d1/messages", content=unannounced())
    assert (answer.status_code, code_of(answer)) == (413, "frame_too_large")


async def test_a_body_that_does_not_come_is_given_up():
    async with place(limits=WebLimits(body_timeout=0.1)) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"POST /v1/dialogues HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    assert b" 504 " in line


@pytest.mark.parametrize(
    "query",
    ["/v1/dialogues?status=asleep", "/v1/dialogues?limit=0", "/v1/dialogues?limit=201", "/v1/dialogues?limit=x",
     "/v1/dialogues/d1/messages?limit=-1", "/v1/dialogues/d1/messages?limit=%C2%B2", "/v1/dialogues/d1/events?after=3",
     "/v1/dialogues/d1/events?epoch=e&after=x", "/v1/dialogues/d1/events?coalesce_ms=7"],
)  # fmt: skip
async def test_a_parameter_that_is_wrong_is_a_bad_request(own: Place, query: str):
    async with own.http() as http:
        await create(http)
        answer = await http.get(query)
    assert (answer.status_code, code_of(answer)) == (400, "bad_request")


async def test_an_unknown_feature_is_unprocessable_and_named(here: Place):
    async with here.http() as http:
        answer = await http.post("/v1/dialogues", json={"feature": "no_such_feature"})
    assert (answer.status_code, code_of(answer)) == (422, "feature_not_configured")
    assert "no_such_feature" in answer.json()["error"]["message"]


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────

GUARDED = [
    ("POST", "/v1/dialogues"),
    ("GET", "/v1/dialogues"),
    ("GET", "/v1/dialogues/d1"),
    ("DELETE", "/v1/dialogues/d1"),
    ("GET", "/v1/dialogues/d1/messages"),
    ("POST", "/v1/dialogues/d1/messages"),
    ("GET", "/v1/dialogues/d1/events"),
    ("POST", "/v1/dialogues/d1/cancel"),
    ("POST", "/v1/dialogues/d1/regenerate"),
    ("POST", "/v1/ws-ticket"),
    ("GET", "/metrics"),
    ("GET", "/v1/_inspect"),
]
OPEN = ["/healthz", "/readyz", "/openapi.json", "/", "/static/main.js"]


def test_every_endpoint_is_in_one_of_the_two_lists():
    from duologue.web.rest import ENDPOINTS

    guarded = {(e.method, e.path.replace("{id}", "d1")) for e in ENDPOINTS if not e.open}
    assert guarded == set(GUARDED)
    assert {e.path for e in ENDPOINTS if e.open} <= set(OPEN)


@pytest.fixture
async def locked():
    async with place(auth={"token": TOKEN}) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_the_token_nothing_is_done(locked: Place, method: str, path: str):
    wrong = ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer t\xf6k\xe9n"]
    async with locked.http() as http:
        for value in wrong:
            answer = await http.request(method, path, headers=[("Authorization", value.encode("latin-1"))])
            assert (answer.status_code, code_of(answer)) == (401, "not_authenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await http.request(method, path)).status_code == 401


@pytest.mark.parametrize("path", OPEN)
async def test_health_the_schema_and_the_page_are_for_everybody(locked: Place, path: str):
    async with locked.http() as http:
        assert (await http.get(path)).status_code == 200


async def test_with_the_token_everything_works_from_any_host(locked: Place):
    async with locked.http(headers={"Authorization": f"bearer {TOKEN}", "Host": "chat.example.com"}) as http:
        await create(http)
        assert (await http.get("/v1/dialogues/d1")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_foreign_page_or_host_can_do_nothing(own: Place, method: str, path: str):
    async with own.http() as http:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
            answer = await http.request(method, path, headers=headers)
            assert (answer.status_code, code_of(answer)) == (403, "forbidden")


async def test_the_servers_own_page_can(own: Place):
    async with own.http(headers={"Origin": f"http://127.0.0.1:{own.port}"}) as http:
        await create(http)


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_alive_and_ready(here: Place):
    async with here.http() as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.head("/readyz")).status_code == 200


async def test_readiness_depends_on_the_store_and_names_the_reason(here: Place):
    here.store.outage = "the disk is full"
    async with here.http() as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, code_of(answer)) == (503, "store_unavailable")
        assert "the disk is full" in answer.json()["error"]["message"]
        assert (await http.get("/healthz")).status_code == 200
        here.store.outage = None
        assert (await http.get("/readyz")).status_code == 200


async def test_a_store_that_hangs_is_not_waited_for():
    async with place(limits=WebLimits(ready_timeout=0.1)) as here:
        here.store.hangs = True
        async with here.http() as http:
            answer = await http.get("/readyz")
            assert (answer.status_code, code_of(answer)) == (503, "store_unavailable")


async def test_a_server_that_drains_is_not_ready_and_refuses_new_work(here: Place):
    async with here.http() as http:
        await create(http)
        here.runtime.begin_drain()
        assert code_of(await http.get("/readyz")) == "draining"
        refused = await http.post("/v1/dialogues/d1/messages", json={"content": "Hi"})
        assert (refused.status_code, code_of(refused)) == (503, "draining")
        assert refused.headers["retry-after"] == "1"
        assert (await http.get("/v1/dialogues/d1")).status_code == 200


async def test_a_message_that_cannot_be_kept_is_refused_as_retryable(here: Place):
    async with here.http() as http:
        await create(http)
        here.store.outage = "down"
        answer = await http.post("/v1/dialogues/d1/messages", json={"content": "Hi"})
        here.store.outage = None
    assert (answer.status_code, code_of(answer)) == (503, "store_unavailable")
    assert answer.json()["error"]["retryable"] is True


async def test_metrics_are_prometheus_text_without_anything_that_a_user_named(own: Place):
    async with own.http() as http:
        await create(http, "a-name-of-a-dialogue")
        await http.get("/v1/dialogues/a-name-of-a-dialogue")
        await http.request("FROB", "/a-path-of-the-clients")
        async with own.socket() as client:
            await client.do("pong")
        await wait_until(lambda: own.hub.sockets_open == 0, "the socket is gone")
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    assert 'route="/v1/dialogues/{id}"' in text
    assert 'duologue_socket_closes_total{code="1000"} 1' in text
    assert "a-name" not in text
    assert "clients" not in text
    assert "FROB" not in text


async def test_a_ticket_is_made_anew_each_time(locked: Place):
    async with locked.http(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        answers = [(await http.post("/v1/ws-ticket")).json() for _ in range(3)]
    assert len({answer["ticket"] for answer in answers}) == 3
    assert all(answer["expires_in"] == 30 for answer in answers)


# ── looking in ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_inspect_tells_an_actors_restarts_and_its_last_crash_and_nothing_that_was_said(own: Place):
    async with own.http() as http:
        await create(http)
        accepted = await http.post("/v1/dialogues/d1/messages", json={"content": "canary"})
        assert accepted.status_code == 202
        await finished(own)
        system = own.runtime.system
        before = system.whereis("directory")
        assert before is not None
        before.cast(object())  # what it does not handle ends it
        await wait_until(lambda: system.whereis("directory") not in {None, before}, "the directory is back")
        answer = await http.get("/v1/_inspect")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    (line,) = [line for line in answer.text.splitlines() if "directory" in line]
    assert line.endswith("restarts 1, last error: UnhandledRequest")
    assert "canary" not in answer.text


@pytest.mark.parametrize("children", ["-1", "x", "", "10001"])
async def test_inspect_refuses_a_number_of_children_out_of_bounds(own: Place, children: str):
    async with own.http() as http:
        answer = await http.get("/v1/_inspect", params={"children": children})
    assert (answer.status_code, code_of(answer)) == (400, "bad_request")
