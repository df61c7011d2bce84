"""What is asked and what must come back: prompts, tokens and the exact text of every answer.

Pure. The fake upstream and the load client both stand on it, so a delivery is right only when each byte of
it is. An answer is the vocabulary read round and round from a starting place that the prompt names, so an
answer delivered to the wrong dialogue is seen, too.
"""

import re
from functools import lru_cache

import orjson

__all__ = [
    "VOCABULARY",
    "answer",
    "build_chunk",
    "build_prompt",
    "build_usage_chunk",
    "rotation_in",
    "rotation_of",
]

VOCABULARY: tuple[str, ...] = (
    " the", " a", " of", " to", " and", " is", " in", " that", " it", " for", " on", " with", " as", " by",
    " an", " we", " can", " be", " this", " which", " value", " function", " returns", " monad", " type",
    " compose", " each", " step", " then", " answer", " equation", " equal", " both", " side", " sum",
    " electron", " bond", " energy", " lower", " state", " molecule", " carbon", " é", " naïve", " Straße",
    " 水", " λx", " →", " 🙂", ' "quoted"', " back\\slash", " x", "²", "ing", "ed", "ly", ".", ",", ":",
    "\n", " 42", " if", " else", " so",
)  # fmt: skip
"""64 tokens of the usual lengths; some are not ASCII and some need escaping, so that offsets and JSON are tried."""

_NUMBER = re.compile(rb"question-(\d+)")


def build_prompt(number: int) -> str:
    """A user's message that tells the fake upstream where to start reading."""
    return f"question-{number}"


def rotation_of(number: int) -> int:
    """Where the answer to prompt `number` starts in the vocabulary."""
    return number % len(VOCABULARY)


def rotation_in(body: bytes | bytearray) -> int:
    """Where to start, as the last prompt in a request's body says; 0 where there is none."""
    found = _NUMBER.match(body, at) if (at := body.rfind(b"question-")) >= 0 else None
    return rotation_of(int(found[1])) if found else 0


@lru_cache(maxsize=4096)
def answer(rotation: int, tokens: int) -> str:
    """The whole text of an answer of that many tokens."""
    size = len(VOCABULARY)
    return "".join(VOCABULARY[(rotation + place) % size] for place in range(tokens))


def build_chunk(*, content: str | None = None, role: str | None = None, finish: str | None = None) -> bytes:
    """One `data:` event in the shape of OpenAI's chat completions, with all the fields that it sends."""
    delta = {key: value for key, value in (("role", role), ("content", content)) if value is not None}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + orjson.dumps({**_COMMON, "choices": [choice], "usage": None}) + b"\n\n"


def build_usage_chunk(tokens: int) -> bytes:
    """The chunk after the last one: no choice, and the counts."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": tokens,
        "total_tokens": 10 + tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    return b"data: " + orjson.dumps({**_COMMON, "choices": [], "usage": usage}) + b"\n\n"


_COMMON = {
    "id": "chatcmpl-Bq8ZtLw3kYb0f2XhQe7RrN5uVjS1a",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "bench-model-2025-04-14",
    "service_tier": "default",
    "system_fingerprint": "fp_0123456789",
}
