"""Streams in the shapes that servers really send, written by us, each with the text and the end that it means."""

import json
from dataclasses import dataclass

from duologue.messages import FinishReason, Usage


@dataclass(frozen=True)
class Recording:
    name: str
    stream: bytes
    text: str
    reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None


def frames(*events: object, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


def delta(content: object = None, finish: str | None = None, **fields: object) -> dict[str, object]:
    inner = {
        key: value
        for key, value in {"content": content, **fields}.items()
        if value is not None or key in fields
    }
    return {"choices": [{"index": 0, "delta": inner, "finish_reason": finish}], "usage": None}


def usage(prompt: int, completion: int) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


RECORDINGS = [
    Recording(
        "openai",
        frames(
            delta("", role="assistant", refusal=None),
            delta("Hel"),
            delta("lo \u2014 "),
            delta("wörld 🌍"),
            delta(finish="stop"),
            {"choices": [], "usage": usage(9, 4)},
        ),
        "Hello \u2014 wörld 🌍",
        usage=Usage(9, 4),
    ),
    Recording(
        "role and content in the first delta",
        frames(delta("Hello", role="assistant"), delta(" you", finish="length")),
        "Hello you",
        FinishReason.LENGTH,
    ),
    Recording(
        "azure",
        frames(
            {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "id": "", "model": ""},
            delta("", role="assistant"),
            delta("Hi"),
            {"choices": [{"index": 0, "delta": None, "finish_reason": None, "content_filter_offsets": {}}]},
            delta(finish="stop"),
        ),
        "Hi",
    ),
    Recording(
        "azure cuts by its filter",
        frames(delta("Once"), delta(finish="content_filter")),
        "Once",
        FinishReason.CONTENT_FILTER,
    ),
    Recording(
        "openrouter",
        b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
        + frames(
            delta("", role="assistant", reasoning="let me think"),
            delta("Yes", native_finish_reason=None),
            delta(finish="stop"),
            {"choices": [{"delta": {"role": "assistant", "content": ""}, "index": 0}], "usage": usage(1, 2)},
        ),
        "Yes",
        usage=Usage(1, 2),
    ),
    Recording(
        "openrouter ends by length, then errs with usage",
        frames(
            delta("Long"),
            delta(finish="length"),
            {"error": {"code": 502, "message": "x"}, "choices": [], "usage": usage(3, 4)},
        ),
        "Long",
        FinishReason.LENGTH,
        Usage(3, 4),
    ),
    Recording(
        "groq",
        frames(
            {**delta("", role="assistant"), "x_groq": {"id": "req_1"}},
            delta(None, reasoning="hm", channel="analysis"),
            delta("42"),
            {**delta(finish="stop"), "x_groq": {"id": "req_1", "usage": usage(5, 6)}},
        ),
        "42",
        usage=Usage(5, 6),
    ),
    Recording(
        "deepseek",
        b": keep-alive\n\n"
        + frames(
            delta(None, role="assistant", reasoning_content="so"),
            delta("So", reasoning_content=None),
            {**delta("", finish="stop"), "usage": usage(7, 8)},
        ),
        "So",
        usage=Usage(7, 8),
    ),
    Recording(
        "gemini names a finish reason in every chunk",
        frames(
            delta("a", finish="stop"),
            delta("b", finish="stop"),
            {**delta("c", finish="stop"), "usage": usage(1, 3)},
        ),
        "abc",
        usage=Usage(1, 3),
    ),
    Recording(
        "mistral sends parts",
        frames(
            delta([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
            delta([{"type": "text", "text": "So "}, {"type": "reference"}, {"type": "text", "text": "be it"}]),
            delta("", finish="stop"),
        ),
        "So be it",
    ),
    Recording(
        "vllm counts in every chunk",
        frames(
            {**delta("a"), "usage": usage(2, 1)}, {**delta("b"), "usage": usage(2, 2)},
            {**delta(finish="stop"), "usage": usage(2, 2)},
        ),
        "ab",
        usage=Usage(2, 2),
    ),
    Recording(
        "llama.cpp",
        b":\n\n"
        + frames(
            delta(None, role="assistant"), delta("One"), {**delta(finish="stop"), "timings": {"predicted_n": 1}},
        ),
        "One",
    ),
    Recording(
        "transformers serve never says done",
        frames(delta("Hey", role="assistant"), {**delta(finish="stop"), "usage": usage(1, 1)}, end=b""),
        "Hey",
        usage=Usage(1, 1),
    ),
    Recording("done without a finish reason", frames(delta("All"), delta(" there")), "All there"),
    Recording("a refusal is an answer", frames(delta(None, refusal="I can't."), delta(finish="stop")), "I can't."),
    Recording("a tool call after text", frames(delta("Wait."), delta(None, finish="tool_calls")), "Wait."),
    Recording("a whole message", frames(
        {"choices": [{"message": {"content": "All at once"}, "finish_reason": "stop"}]}, end=b""), "All at once"),
    Recording("old completions", frames({"choices": [{"text": "Old", "finish_reason": "stop"}]}), "Old"),
    Recording("a second choice is not ours", frames(
        delta("A"), {"choices": [{"index": 1, "delta": {"content": "B"}}]}, delta(finish="stop")), "A"),
    Recording("surrogates split over deltas", b'data: {"choices":[{"delta":{"content":"x\\ud83d"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\ude00y"}}]}\n\n' + frames(delta(finish="stop")), "x😀y"),
    Recording("lone surrogates", b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"b\\udc00c\\ud800"},"finish_reason":"stop"}]}\n\n',
        "a\ufffdb\ufffdc\ufffd"),
    Recording("characters that tear lines", frames(delta("a\u2028b\x85c\x0b\x0c\x1c\x00d"), delta(finish="stop"))
        .replace(b"\\u2028", "\u2028".encode()), "a\u2028b\x85c\x0b\x0c\x1c\x00d"),
    Recording("crlf and multi-line data", b'data: {"choices":[{"delta":\r\ndata: {"content":"ok"},\r\n'
        b'data: "finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n', "ok"),
    Recording("not a number", b'data: {"choices":[{"delta":{"content":"ok"},"logprobs":NaN}]}\n\n'
        + frames(delta(finish="stop")), "ok"),
    Recording("bytes that are no UTF-8",
        b'data: {"choices":[{"delta":{"content":"a\xff\xfeb"},"finish_reason":"stop"}]}\n\n',
        "a\ufffd\ufffdb"),
    Recording("events of other kinds", b"event: ping\ndata: {}\n\n" + frames(
        {"type": "ping"}, {"choices": None, "usage": None}, delta("ok"), {"error": None, **delta(finish="eos")}), "ok"),
]  # fmt: skip
