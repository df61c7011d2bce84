"""Origin, Host and the token, as pure rules."""

import ast
import inspect
from pathlib import Path

import pytest

from duologue.errors import Forbidden
from duologue.web import security
from duologue.web.security import Authority, bearer_of, check_host, check_origin, header, is_loopback

ALLOWED = ("https://app.example.com",)


def headers(*origins: str, host: str | None = "127.0.0.1:8400") -> list[tuple[bytes, bytes]]:
    found = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return found if host is None else [(b"host", host.encode("latin-1")), *found]


@pytest.mark.parametrize(
    ("origins", "host", "scheme"),
    [
        ((), "127.0.0.1:8400", "ws"),
        (("http://127.0.0.1:8400",), "127.0.0.1:8400", "ws"),
        (("http://localhost:8400",), "localhost:8400", "http"),
        (("http://localhost:8400",), "LOCALHOST:8400", "ws"),
        (("http://[::1]:8400",), "[::1]:8400", "ws"),
        (("https://app.example.com",), "127.0.0.1:8400", "ws"),
        (("https://chat.example.com",), "chat.example.com", "wss"),
        (("https://chat.example.com",), "chat.example.com:443", "wss"),
        (("http://chat.example.com",), "chat.example.com:80", "ws"),
    ],
)
def test_no_origin_our_own_and_an_allowed_one_pass(origins, host, scheme):
    check_origin(headers(*origins, host=host), scheme=scheme, allowed=ALLOWED)


@pytest.mark.parametrize(
    "origins",
    [
        ("null",),
        ("",),
        ("https://evil",),
        ("https://app.example.com.evil",),
        ("https://evilapp.example.com",),
        ("https://app.example.com@evil",),
        ("http://app.example.com",),
        ("https://app.example.com:8443",),
        ("https://app.example.com:443",),
        ("https://APP.EXAMPLE.COM",),
        ("https://app.example.com.",),
        ("https://app.example.com/",),
        ("https://app.example.com", "https://app.example.com"),
        ("https://evil", "http://127.0.0.1:8400"),
        ("http://127.0.0.1",),
        ("http://127.0.0.1:8401",),
        ("https://127.0.0.1:8400",),
        ("HTTP://127.0.0.1:8400",),
        ("127.0.0.1:8400",),
        ("://127.0.0.1:8400",),
        ("http://",),
        ("http://\xe9vil",),
    ],
)
def test_every_other_origin_is_forbidden(origins):
    with pytest.raises(Forbidden):
        check_origin(headers(*origins), scheme="ws", allowed=ALLOWED)


def test_an_origin_is_forbidden_where_there_is_no_host_to_compare_with():
    with pytest.raises(Forbidden):
        check_origin(headers("http://127.0.0.1:8400", host=None), scheme="ws", allowed=())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8400", "127.1.2.3:1", "localhost", "LocalHost:8400", "[::1]", "[::1]:8400"],
)
def test_names_of_this_machine_are_its_host(host: str):
    check_host(headers(host=host), allowed=())


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0:8400",
        "10.0.0.1",
        "localhost.",
        "::1",
        "[::1",
        "[::1]x",
        "127.0.0.1:",
        "127.0.0.1:80:80",
        "127.0.0.1:8a",
        "2130706433",
        "0x7f000001",
        "127.1",
        "user@localhost",
        "localhost/evil",
    ],
)
def test_any_other_host_is_forbidden_without_authentication(host: str | None):
    with pytest.raises(Forbidden):
        check_host(headers(host=host), allowed=())


def test_a_second_host_header_is_forbidden():
    twice = [(b"host", b"localhost"), (b"host", b"evil.example")]
    with pytest.raises(Forbidden):
        check_host(twice, allowed=())


def test_the_host_of_an_allowed_origin_is_one_of_ours():
    check_host(headers(host="app.example.com"), allowed=ALLOWED)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, answer: bool):
    assert is_loopback(host) is answer


@pytest.mark.parametrize(
    "shown",
    [None, b"", b"toke", b"tokens", b"Token", b"token ", "tökén".encode(), b"\xff\xfe", b"\x00" * 1000],
)
def test_anything_but_the_token_is_refused_without_an_error(shown: bytes | None):
    assert not Authority("token").accepts(shown)


def test_the_token_is_accepted_and_needed_only_where_there_is_one():
    assert Authority("token").accepts(b"token")
    assert Authority("token").required
    assert not Authority(None).required
    assert Authority(None).accepts(None)
    assert "token" not in repr(Authority("s3cret-token")).replace("required", "")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer  abc ", b"abc"),
        (b"Basic abc", None),
        (b"abc", None),
        (b"Bearer\xff", None),
        (b"Bearer \xff", b"\xff"),
    ],
)
def test_the_bearer_token_is_read_as_bytes(value: bytes, found: bytes | None):
    assert bearer_of([(b"authorization", value)]) == found


def test_a_header_that_comes_twice_counts_as_none():
    assert (
        header([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], b"authorization") is None
    )


SECRET_WORDS = ("token", "secret", "digest", "signature", "ticket")


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def test_no_secret_is_compared_but_in_constant_time():
    findings = []
    for path in Path(inspect.getfile(security)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(
                isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
            ):
                names = {name for part in (node.left, *node.comparators) for name in _names(part)}
                findings += [(path.name, node.lineno, name) for name in names if name.lower() in SECRET_WORDS]
    assert findings == []
