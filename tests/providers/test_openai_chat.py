"""The chat completions wire: every server's way of speaking, cut and damaged anywhere, never called complete."""

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.messages import FinishReason, Role, Usage
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.openai_chat import ChatDecoder, build_body, build_url
from duologue.providers.port import CompletionRequest, PromptMessage, TextDelta, UsageReported
from duologue.providers.sse import SseSplitter
from tests.providers.builders import REQUEST, text_of, usage_of
from tests.providers.recordings import RECORDINGS, Recording, delta, frames, usage


def decode(*chunks: bytes) -> tuple[list[Any], FinishReason | None, ProviderFailure | None]:
    """What a shell sees that stops reading at `[DONE]` or at the end."""
    splitter, decoder = SseSplitter(), ChatDecoder()
    events: list[Any] = []
    try:
        for chunk in chunks:
            events += decoder.feed(splitter.feed(chunk))
        events += decoder.finish_reading(splitter.finish())
    except ProviderFailure as failure:
        return events, None, failure
    return events, decoder.finish, None


def category_of(*chunks: bytes) -> Category | None:
    _, _, failure = decode(*chunks)
    return None if failure is None else failure.category


by_name = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)


# ── requests ──


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://api.groq.com/openai", "https://api.groq.com/openai/v1/chat/completions"),
        ("https://g.example/v1beta/openai", "https://g.example/v1beta/openai/chat/completions"),
        ("https://x.example/v1/chat/completions", "https://x.example/v1/chat/completions"),
        ("http://127.0.0.1:8080/vienna", "http://127.0.0.1:8080/vienna/v1/chat/completions"),
    ],
)
def test_the_path_is_added_to_a_base_with_and_without_a_version(base: str, url: str) -> None:
    assert build_url(base) == url


def test_a_request_asks_for_a_stream_with_usage_and_takes_parameters_as_they_are() -> None:
    request = CompletionRequest(
        REQUEST.messages, {"temperature": 0.5, "max_completion_tokens": 9, "x": {"y": [1]}}
    )
    assert json.loads(build_body("m", request)) == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "max_completion_tokens": 9,
        "x": {"y": [1]},
    }


def test_parameters_can_not_replace_the_model_the_messages_or_the_stream() -> None:
    request = CompletionRequest(REQUEST.messages, {"model": "other", "messages": [], "stream": False})
    body = json.loads(build_body("m", request))
    assert (body["model"], len(body["messages"]), body["stream"]) == ("m", 2, True)


def test_stream_options_can_be_left_out_for_servers_that_refuse_them() -> None:
    body = json.loads(build_body("m", CompletionRequest(REQUEST.messages, {"stream_options": False})))
    assert "stream_options" not in body


def test_a_request_that_is_no_json_is_a_bad_request() -> None:
    with pytest.raises(ProviderFailure) as caught:
        build_body("m", CompletionRequest([PromptMessage(Role.USER, "\ud800")], {}))
    assert caught.value.category is Category.BAD_REQUEST
    with pytest.raises(ProviderFailure):
        build_body("m", CompletionRequest([], {"x": object()}))


# ── complete answers ──


@by_name
def test_each_server_is_understood(recording: Recording) -> None:
    events, reason, failure = decode(recording.stream)
    assert failure is None
    assert (text_of(events), reason, usage_of(events)) == (recording.text, recording.reason, recording.usage)
    text_of(events).encode()


@by_name
def test_each_server_is_understood_byte_by_byte(recording: Recording) -> None:
    stream = recording.stream
    events, reason, _ = decode(*[stream[place : place + 1] for place in range(len(stream))])
    assert (text_of(events), reason, usage_of(events)) == (recording.text, recording.reason, recording.usage)


@by_name
def test_an_answer_that_is_cut_at_any_byte_is_complete_only_after_its_terminal_mark(
    recording: Recording,
) -> None:
    stream = recording.stream
    for place in range(len(stream) + 1):
        events, reason, failure = decode(stream[:place])
        seen = stream[:place]
        marked = b'"finish_reason": "' in seen or b'"finish_reason":"' in seen or b"[DONE]" in seen
        assert (reason is None) == (failure is not None)
        assert reason is None or marked
        assert failure is None or failure.category is Category.TRUNCATED
        text = text_of(events)
        assert recording.text.startswith(text.removesuffix("\ufffd") if reason else text)


@by_name
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_damaged_answer_ends_in_text_and_an_end_or_in_a_failure_of_ours(
    recording: Recording, data: Any
) -> None:
    stream = bytearray(recording.stream)
    for place in data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=5)):
        stream[place] = data.draw(st.integers(0, 255))
    events, reason, failure = decode(bytes(stream))
    assert (reason is None) == (failure is not None)
    text_of(events).encode()


@given(chunk=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["stop", "error", "length"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "delta", "content", "finish_reason", "error", "usage", "index", "message", "text",
                         "type", "code", "object", "prompt_tokens", "detail", "x_groq", "refusal"]), inner, max_size=5),
    max_leaves=25))  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_the_decoder_is_total_over_json(chunk: object) -> None:
    decode(frames(chunk), frames(delta("ok"), chunk))


@given(stream=st.binary(max_size=200))
@settings(max_examples=400, deadline=None)
def test_the_decoder_is_total_over_bytes(stream: bytes) -> None:
    decode(b"data: " + stream + b"\n\n", b"data: " + stream)


@given(
    text=st.text(st.characters(codec=None, categories=None), max_size=30),
    places=st.lists(st.integers(0, 300), max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_any_text_with_any_surrogates_is_whole_however_it_is_split(text: str, places: list[int]) -> None:
    units = [text[place] for place in range(len(text))]
    stream = frames(*[delta(unit) for unit in units], delta(finish="stop"))
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    events, _, _ = decode(*[stream[a:b] for a, b in itertools.pairwise(edges)])
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert text_of(events) == expected


def test_text_of_one_read_is_one_delta_with_the_usage_behind_it() -> None:
    stream = frames(delta("a"), delta("b"), {**delta("c"), "usage": usage(1, 3)}, end=b"")
    assert ChatDecoder().feed(SseSplitter().feed(stream)) == [TextDelta("abc"), UsageReported(Usage(1, 3))]


def test_absent_usage_is_not_zero() -> None:
    events, _, _ = decode(frames({**delta("a"), "usage": {"completion_tokens": 0}}, delta(finish="stop")))
    assert usage_of(events) == Usage(None, 0)
    events, _, _ = decode(frames({**delta("a"), "usage": {"prompt_tokens": True, "completion_tokens": -1}}))
    assert usage_of(events) is None


def test_nothing_is_read_after_done() -> None:
    events, reason, _ = decode(frames(delta("a"), delta(finish="stop")) + frames(delta("late")))
    assert (text_of(events), reason) == ("a", FinishReason.STOP)


def test_broken_bytes_after_the_terminal_mark_change_nothing() -> None:
    _, reason, failure = decode(frames(delta("a"), delta(finish="stop"), end=b"data: {{{\n\ndata: 7\n\n"))
    assert (reason, failure) == (FinishReason.STOP, None)


# ── failures ──


@pytest.mark.parametrize(
    ("stream", "category"),
    [
        (b"", Category.TRUNCATED),
        (frames(end=b"data: [DONE]\n\n"), Category.EMPTY),
        (frames(delta("a"), end=b""), Category.TRUNCATED),
        (frames(delta("a"), {"error": {"message": "x", "code": 500}}), Category.SERVER_ERROR),
        (frames(delta("a"), {"error": "a string"}), Category.SERVER_ERROR),
        (frames(delta("a"), {"error": {"type": "overloaded_error"}}), Category.OVERLOADED),
        (frames({"error": {"code": "rate_limit_exceeded"}}), Category.RATE_LIMITED),
        (frames({"detail": "Unauthorized"}), Category.SERVER_ERROR),
        (frames({"object": "error", "message": "context length", "code": 400}), Category.CONTEXT_LENGTH),
        (frames({"type": "error", "message": "x"}), Category.SERVER_ERROR),
        (frames({"choices": [{"error": {"code": 429}, "finish_reason": "error"}]}), Category.RATE_LIMITED),
        (
            frames({**delta("", finish="error"), "error": {"code": 429, "message": "x"}}),
            Category.RATE_LIMITED,
        ),
        (frames(delta("a"), delta(finish="error")), Category.SERVER_ERROR),
        (frames(delta("a"), delta(finish="abort")), Category.TRUNCATED),
        (frames(delta("a"), delta(finish="insufficient_system_resource")), Category.OVERLOADED),
        (frames(delta("a"), 7), Category.MALFORMED),
        (frames(delta("a"), [1]), Category.MALFORMED),
        (frames(delta("a"), {"choices": "x"}), Category.MALFORMED),
        (frames(delta("a"), {"choices": [None]}), Category.MALFORMED),
        (b"data: {{{\n\n", Category.MALFORMED),
        (b"data: " + b"[" * 100_000 + b"\n\n", Category.MALFORMED),
        (b"data: " + b"9" * 10_000 + b"\n\n", Category.MALFORMED),
        (b'{"choices": [{"delta": {"content": "no sse"}}]}', Category.TRUNCATED),
    ],
)
def test_what_is_no_complete_answer_is_a_failure_of_its_category(stream: bytes, category: Category) -> None:
    assert category_of(stream) is category


def test_an_error_after_text_and_before_done_is_no_success() -> None:
    """vLLM sends an error frame and then `[DONE]`."""
    events, reason, failure = decode(frames(delta("half an ans")), b"")
    assert reason is FinishReason.STOP
    events, reason, failure = decode(frames(delta("half"), end=b""), frames({"error": {"code": 500}}))
    assert (text_of(events), reason) == ("half", None)
    assert failure is not None


def test_no_word_of_an_error_gets_into_the_failure() -> None:
    _, _, failure = decode(
        frames({"error": {"message": "sk-canary", "code": "sk-canary", "type": "sk-canary"}})
    )
    assert "canary" not in f"{failure}{failure!r}"
    _, _, failure = decode(b"data: sk-canary\n\n")
    assert "canary" not in f"{failure}{failure!r}"
    assert failure is not None
    assert failure.__suppress_context__, (
        "the decoder's own error, which quotes the bytes, is not shown with it"
    )


def test_json_that_orjson_refuses_and_the_library_takes_is_read() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(b'"\\ud800"')
    assert (
        category_of(b'data: {"choices":[{"delta":{"content":"\\ud800"},"finish_reason":"stop"}]}\n\n') is None
    )
