import pytest

from duologue import errors
from duologue.client.errors import RemoteError, error_from_wire
from duologue.client.wire import decode, encode, http_url, socket_url
from duologue.errors import BadFrame, BadRequest, DuologueError, FrameTooLarge, ProviderFailed


@pytest.mark.parametrize("wire_format", ["json", "msgpack"])
def test_what_is_encoded_is_decoded_the_same(wire_format):
    frame = {"id": 1, "op": "send", "content": 'é 🎓 "\\\n\x00'}
    assert decode(encode(frame, wire_format), wire_format) == frame


@pytest.mark.parametrize("wire_format", ["json", "msgpack"])
@pytest.mark.parametrize("value", ["\ud800", {1, 2}, object()])
def test_what_has_no_place_on_the_wire_is_a_bad_request_and_not_shown(wire_format, value):
    with pytest.raises(BadRequest) as caught:
        encode({"id": 1, "content": value}, wire_format)
    assert "ud800" not in str(caught.value)


@pytest.mark.parametrize("wire_format", ["json", "msgpack"])
def test_a_command_over_the_limit_is_refused_before_it_is_sent(wire_format):
    with pytest.raises(FrameTooLarge, match="65536"):
        encode({"id": 1, "content": "a" * 65_536}, wire_format)


@pytest.mark.parametrize(
    ("wire_format", "data"),
    [
        ("json", "{"),
        ("json", "[]"),
        ("json", b"\xff"),
        ("json", "[" * 100_000),
        ("msgpack", b"\xc1"),
        ("msgpack", b"\x01"),
    ],
)
def test_bytes_that_are_no_frame_are_a_bad_frame(wire_format, data):
    with pytest.raises(BadFrame):
        decode(data, wire_format)


@pytest.mark.parametrize(
    ("given", "socket", "http"),
    [
        ("http://h:1", "ws://h:1/v1/socket", "http://h:1"),
        ("https://h/", "wss://h/v1/socket", "https://h"),
        ("ws://h:1/v1/socket", "ws://h:1/v1/socket", "http://h:1"),
        ("wss://h/ai/v1/socket", "wss://h/ai/v1/socket", "https://h/ai"),
        ("http://[::1]:8400/ai", "ws://[::1]:8400/ai/v1/socket", "http://[::1]:8400/ai"),
    ],
)
def test_either_address_of_a_server_gives_both(given, socket, http):
    assert (socket_url(given), http_url(given)) == (socket, http)


@pytest.mark.parametrize("url", ["127.0.0.1:8400", "ftp://h", "http://", "", "/v1/socket"])
def test_what_is_no_address_is_refused_with_an_example(url):
    with pytest.raises(BadRequest, match=r"http://127\.0\.0\.1:8400"):
        socket_url(url)


def errors_of_the_contract():
    return {getattr(errors, name).code for name in errors.__all__}


def test_every_code_of_the_contract_comes_back_as_the_class_that_an_embedded_runtime_raises():
    contract = {code for code in errors_of_the_contract() if code not in {"internal", "configuration"}}
    assert len(contract) == 21
    for code in contract:
        error = error_from_wire({"code": code, "message": "m", "retryable": False})
        assert type(error).code == code
        assert type(error).__module__ == errors.__name__
        assert str(error) == "m"


def test_a_failed_provider_keeps_its_category():
    error = error_from_wire({"code": "provider_failed", "message": "m", "category": "stall"})
    assert isinstance(error, ProviderFailed)
    assert error.category == "stall"


@pytest.mark.parametrize("wire", [{}, {"code": "internal", "message": "m"}, {"code": "of_tomorrow"}])
def test_an_unknown_code_is_a_remote_error_that_keeps_it(wire):
    error = error_from_wire(wire)
    assert isinstance(error, RemoteError)
    assert isinstance(error, DuologueError)
    assert error.wire_code == wire.get("code", "internal")
