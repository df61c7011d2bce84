"""Server-sent events: the standard's rules, the same for every chunking, in bounded memory."""

import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.providers.sse import SseSplitter


def split(*chunks: bytes, limit: int = 1 << 20) -> tuple[list[bytes], bool]:
    splitter = SseSplitter(event_bytes_max=limit)
    data = [item for chunk in chunks for item in splitter.feed(chunk)]
    data += splitter.finish()
    return data, splitter.overflowed


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data: one\r\n\ndata: two\n\r\n", [b"one", b"two"]),
        (b"data:one\n\n", [b"one"]),
        (b"data:  one\n\n", [b" one"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data: one\ndata\n\n", [b"one\n"]),
        (b": comment\n\ndata: one\n\n", [b"one"]),
        (b": comment\ndata: one\n: another\n\n", [b"one"]),
        (b"event: message\nid: 7\nretry: 10\ndata: one\n\n", [b"one"]),
        (b"unknown: field\nnonsense\ndata: one\n\n", [b"one"]),
        (b"\n\n\n\ndata: one\n\n\n\n", [b"one"]),
        (b"data:\n\n", []),
        (b"event: ping\n\n", []),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b"data: one\n\n\xef\xbb\xbfdata: two\n\n", [b"one"]),
        (b"data: one\n\ndata: two", [b"one", b"two"]),
        (b"data: one\n", [b"one"]),
        (b"data: one\r", [b"one"]),
        (b"", []),
        ("data: a\u2028b\x85c\x0bd\x0ce\x1cf\n\n".encode(), ["a\u2028b\x85c\x0bd\x0ce\x1cf".encode()]),
    ],
)
def test_a_stream_is_cut_as_the_standard_says_whole_and_byte_by_byte(
    stream: bytes, data: list[bytes]
) -> None:
    assert split(stream) == (data, False)
    assert split(*[stream[place : place + 1] for place in range(len(stream))]) == (data, False)


def test_an_event_is_given_out_as_soon_as_its_empty_line_is_there() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: one\n") == []
    assert splitter.feed(b"\nda") == [b"one"]
    assert splitter.feed(b"ta: two\r") == []
    assert splitter.feed(b"\r") == [b"two"]
    assert splitter.feed(b"\ndata: three\n\n") == [b"three"]


_pieces = st.lists(
    st.sampled_from(
        [b"data: ", b"data:", b"x", b"{}", b"\n", b"\r", b"\r\n", b"\n\n", b":c", b"event: e", b"\xef\xbb\xbf", b" ",
         b"\xe2\x80\xa8", b"[DONE]"]
    )
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)  # fmt: skip


@given(stream=_pieces, places=st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=500, deadline=None)
def test_any_bytes_in_any_chunking_give_the_same_events(stream: bytes, places: list[int]) -> None:
    assert split(*cut(stream, places)) == split(stream)


@given(stream=_pieces, places=st.lists(st.integers(0, 400), max_size=12), limit=st.integers(1, 30))
@settings(max_examples=500, deadline=None)
def test_the_cap_on_an_event_strikes_at_the_same_event_in_any_chunking(
    stream: bytes, places: list[int], limit: int
) -> None:
    assert split(*cut(stream, places), limit=limit) == split(stream, limit=limit)


def test_events_before_one_that_is_too_large_still_come_out() -> None:
    splitter = SseSplitter(event_bytes_max=20)
    assert splitter.feed(b"data: one\n\ndata: " + b"x" * 50) == [b"one"]
    assert splitter.overflowed
    assert splitter.feed(b"\n\ndata: two\n\n") == []
    assert splitter.finish() == []


def test_an_event_of_exactly_the_limit_passes() -> None:
    event = b"data: " + b"x" * 14
    assert split(event + b"\n\n", limit=20) == ([b"x" * 14], False)
    assert split(event + b"\n", b"\n", limit=20) == ([b"x" * 14], False)
    assert split(event + b"x\n\n", limit=20) == ([], True)


def test_a_line_of_64_mib_leaves_memory_flat() -> None:
    splitter = SseSplitter()
    piece = b"x" * (1 << 16)
    splitter.feed(b"data: ")
    tracemalloc.start()
    try:
        for _ in range(1024):
            splitter.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert splitter.overflowed
    assert peak < 3 << 20
