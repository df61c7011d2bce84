"""Who gets a socket: subprotocol, origin, host, token and ticket, on our own server and on a plain one."""

import asyncio
import json
import logging

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus, NegotiationError

from duologue.web.hub import WebLimits
from tests.web.place import FEATURE, TOKEN, Place, place, wait_until

AUTH = {"auth": {"token": TOKEN}}


@pytest.fixture(params=["own", "foreign"])
async def locked(request: pytest.FixtureRequest):
    """A server that wants a token."""
    async with place(foreign=request.param == "foreign", **AUTH) as running:
        yield running


@pytest.mark.parametrize("offered", ["json", "msgpack"])
async def test_the_offered_subprotocol_is_named_in_the_answer(here: Place, offered: str):
    async with here.socket(offered) as client:
        assert client.ws.subprotocol == f"duologue.v1.{offered}"
        await client.do("pong")


async def test_none_offered_means_json(here: Place):
    async with here.socket("") as client:
        assert client.ws.subprotocol is None
        await client.do("pong")


async def test_of_several_offered_the_first_that_is_ours_is_taken(here: Place):
    async with here.socket(subprotocols=["graphql-ws", "duologue.v1.json"]) as client:
        assert client.ws.subprotocol == "duologue.v1.json"


async def test_a_client_that_speaks_none_of_ours_is_told_before_the_upgrade(here: Place):
    with pytest.raises((InvalidStatus, NegotiationError)) as caught:
        async with here.socket(subprotocols=["graphql-ws"]):
            pass
    assert caught.value.response.status_code == 400


async def test_compression_is_not_negotiated(own: Place):
    async with own.socket() as client:
        assert "Sec-WebSocket-Extensions" not in client.ws.response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://127.0.0.1",
        "https://127.0.0.1",
        "http://127.0.0.1.evil.example",
    ],
)
async def test_a_foreign_origin_is_refused_before_the_upgrade(here: Place, origin: str):
    with pytest.raises(InvalidStatus) as caught:
        async with here.socket(origin=origin):
            pass
    assert caught.value.response.status_code == 403
    assert here.hub.sockets_open == 0


async def test_two_origins_are_refused(own: Place):
    mine = f"http://127.0.0.1:{own.port}"
    with pytest.raises(InvalidStatus) as caught:
        async with own.socket(additional_headers=[("Origin", mine), ("Origin", mine)]):
            pass
    assert caught.value.response.status_code in (400, 403), "by the frame library, or else by our rule"


async def test_the_servers_own_origin_is_accepted(here: Place):
    async with here.socket(origin=f"http://127.0.0.1:{here.port}") as client:
        await client.do("pong")


async def test_an_allowed_origin_is_accepted():
    async with place(server={"port": 0, "allowed_origins": ["https://app.example.com"]}) as here:
        async with here.socket(origin="https://app.example.com") as client:
            await client.do("pong")
        with pytest.raises(InvalidStatus):
            async with here.socket(origin="https://app.example.com.evil"):
                pass


async def test_a_foreign_host_is_refused_without_authentication(here: Place):
    status = await _handshake_status(here, host="evil.example")
    assert status == 403


async def test_any_host_is_served_with_authentication(locked: Place):
    assert await _handshake_status(locked, host="chat.example.com") == 101


async def test_a_refusal_is_typed_json_with_the_clients_request_id(own: Place):
    with pytest.raises(InvalidStatus) as caught:
        async with own.socket(origin="https://evil.example", additional_headers={"x-request-id": "abc-1"}):
            pass
    body = json.loads(caught.value.response.body)
    assert body["error"]["code"] == "forbidden"
    assert body["request_id"] == "abc-1"


async def _handshake_status(here: Place, *, host: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(
        f"GET /v1/socket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


# ── authentication ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_command_says_who_the_client_is(locked: Place, kind: str):
    async with locked.socket(kind) as client:
        assert await client.do("auth", token=TOKEN) == {}
        await client.opened()


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], "tökén", "\x00"])
async def test_a_wrong_token_is_refused_and_the_socket_closed_for_good(locked: Place, token: str):
    async with locked.socket() as client:
        assert await client.refused("auth", token=token) == "not_authenticated"
        assert await client.closed() == 4501


async def test_before_it_said_who_it_is_a_client_can_do_nothing(locked: Place):
    async with locked.socket() as client:
        for op in ("open", "pong", "detach"):
            fields = {"feature": FEATURE} if op == "open" else {"dialogue": "d1"} if op == "detach" else {}
            assert await client.refused(op, **fields) == "not_authenticated"
        await client.do("auth", token=TOKEN)
        await client.do("pong")


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_socket_that_does_not_say_who_it_is_is_closed_in_time(foreign: bool):
    async with place(foreign=foreign, limits=WebLimits(auth_timeout=0.6), **AUTH) as here:
        async with here.socket() as silent, here.socket() as known:
            await known.do("auth", token=TOKEN)
            assert await silent.closed() == 4501
            await known.do("pong")


async def test_a_token_in_the_handshakes_header_is_enough(locked: Place):
    async with locked.socket(additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        await client.opened()


async def test_a_wrong_token_in_the_header_is_refused_before_the_upgrade(locked: Place):
    with pytest.raises(InvalidStatus) as caught:
        async with locked.socket(additional_headers={"Authorization": "Bearer wrong"}):
            pass
    assert caught.value.response.status_code == 401


async def _ticket(here: Place) -> str:
    async with here.http(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        answer = await http.post("/v1/ws-ticket")
    assert answer.status_code == 201
    assert answer.json()["expires_in"] == 30
    return str(answer.json()["ticket"])


async def test_a_ticket_opens_one_socket(locked: Place):
    ticket = await _ticket(locked)
    async with locked.socket(query=f"?ticket={ticket}") as client:
        await client.do("open", feature=FEATURE)
    async with locked.socket(query=f"?ticket={ticket}") as client:
        assert await client.closed() == 4501


async def test_of_two_sockets_with_one_ticket_one_gets_in(locked: Place):
    ticket = await _ticket(locked)
    results = await asyncio.gather(*(_try_ticket(locked, ticket) for _ in range(4)))
    assert sorted(results) == ["closed", "closed", "closed", "in"]


async def _try_ticket(here: Place, ticket: str) -> str:
    async with here.socket(query=f"?ticket={ticket}") as client:
        try:
            await client.do("pong")
        except Exception:
            return "closed"
        return "in"


@pytest.mark.parametrize("query", ["?ticket=", "?ticket=made-up", "?ticket=%ff%fe", "?ticket=a&ticket=b"])
async def test_a_ticket_that_was_not_given_out_opens_nothing(locked: Place, query: str):
    async with locked.socket(query=query) as client:
        if query == "?ticket=":
            assert await client.refused("pong") == "not_authenticated"
        else:
            assert await client.closed() == 4501


async def test_a_socket_with_a_ticket_may_not_choose_a_new_dialogues_name(locked: Place):
    await locked.runtime.open("d1", feature=FEATURE)
    async with locked.socket(query=f"?ticket={await _ticket(locked)}") as client:
        assert await client.refused("open", dialogue="mine", feature=FEATURE) == "forbidden"
        made = await client.do("open", feature=FEATURE)
        await client.do("attach", dialogue=made["dialogue"])
        await client.do("attach", dialogue="d1")


async def test_no_log_line_holds_a_ticket_a_token_or_a_message(
    locked: Place, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        # At debug level a foreign server logs every frame by itself, which is for its operator to know.
        foreign = type(locked.server) is uvicorn.Server
        caplog.set_level(logging.INFO if foreign else logging.DEBUG, logger="uvicorn.error")
        ticket = await _ticket(locked)
        async with locked.socket(query=f"?ticket={ticket}&x=canary-query") as client:
            made = await client.do("open", feature=FEATURE, system_prompt="canary-prompt")
            await client.do("attach", dialogue=made["dialogue"])
            locked.says("canary-answer")
            await client.do("send", dialogue=made["dialogue"], content="canary-question")
            await client.event("turn.completed")
            await client.ws.send('{"canary-frame": ')
            await client.answer(None)
        async with locked.socket() as client:
            await client.refused("auth", token="canary-wrong-token")
            await client.closed()
        await wait_until(lambda: locked.hub.sockets_open == 0, "the sockets are gone")
    ours = [r for r in caplog.records if not r.name.startswith(("websockets.client", "httpx", "httpcore"))]
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in ours)
    assert any(record.name == "duologue.access" for record in ours)
    assert ticket not in text
    assert TOKEN not in text
    assert "canary" not in text


async def test_more_sockets_than_allowed_are_turned_away():
    async with place(limits=WebLimits(sockets_max=2)) as here, here.socket(), here.socket() as second:
        async with here.socket() as third:
            assert await third.closed() == 4508
        await second.do("pong")


async def test_a_server_that_drains_takes_no_new_socket(here: Place):
    here.runtime.begin_drain()
    with pytest.raises(InvalidStatus) as caught:
        async with here.socket():
            pass
    assert caught.value.response.status_code == 503
