import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from benchmarks.sockets import FrameReader, build_text_frame
from tests.benchmarks.streams import server_frame

PAYLOADS = [b"", b"x", b"y" * 125, b"z" * 126, b"ab" * 4000, b"0123456789abcdef" * 5000]


@given(st.lists(st.integers(min_value=1, max_value=4000), max_size=60))
def test_frames_are_the_same_however_the_bytes_are_cut(sizes):
    stream = b"".join(server_frame(payload) for payload in PAYLOADS)
    reader, frames = FrameReader(), []
    for size in sizes:
        frames += reader.feed(stream[:size])
        stream = stream[size:]
    frames += reader.feed(stream)
    assert frames == [(0x1, payload) for payload in PAYLOADS]


@pytest.mark.parametrize("payload", PAYLOADS[1:])
def test_our_frames_are_read_by_a_library(payload):
    stream = StreamReader()
    stream.feed_data(build_text_frame(payload))
    parser = Frame.parse(stream.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parser)
    frame = done.value.value
    assert frame.opcode is Opcode.TEXT and bytes(frame.data) == payload and frame.fin


@pytest.mark.parametrize("wrong", [b"\x01\x01x", b"\x81\x81\0\0\0\0x", b"\xc1\x01x"])
def test_fragments_masks_and_extensions_are_refused(wrong):
    with pytest.raises(AssertionError):
        FrameReader().feed(wrong)
