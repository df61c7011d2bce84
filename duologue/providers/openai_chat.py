"""The chat completions wire, as OpenAI wrote it and as two dozen servers bend it. Pure: bytes in, events out.

When is an answer complete? When a terminal mark was seen and no error before it:
  * a `finish_reason` that names a good end; what follows may add usage, an error after it changes nothing;
  * or `[DONE]` after content, for servers that never send a finish reason.
`[DONE]` alone is no success, nor is the end of the connection: some servers send an error and then `[DONE]`.

Which quirk is handled where:
  * role and content in one delta, `content: null`, `delta: null`, `choices: []` (Azure's filter chunks, usage
    chunks): `_take_choice` looks only at what is there;
  * content as a list of parts (Mistral), `refusal` in its place (OpenAI), a whole `message` where a server
    ignores `stream` (transformers serve), `text` (old completions): `_text_of`;
  * reasoning under any name is not content and is not passed on;
  * usage in any chunk, or under `x_groq`; the last one stands; absent is not zero;
  * errors as object or string, at the top (`error`, `detail`, or flat with `object: "error"`), in the choice,
    or as the finish reason `error`;
  * surrogates: a pair split over two deltas is joined, a lone one becomes U+FFFD, so text is always UTF-8.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from duologue.messages import FinishReason, Usage
from duologue.providers.failures import Category, ProviderFailure, cut_short, failure_of_error, nothing_said
from duologue.providers.port import CompletionRequest, ProviderEvent, TextDelta, UsageReported

__all__ = ["ChatDecoder", "build_url", "build_body", "parse_json"]


# ── the request ─────────────────────────────────────────────────────────────────────────────────────────────


def build_url(base: str) -> str:
    """The address to post to.

    `/v1/chat/completions` is added to a bare base, `/chat/completions` to one that already names a version
    (`.../v1`, `.../v1beta/openai`), and nothing to one that ends with it.
    """
    base = base.rstrip("/")
    if base.endswith("/chat/completions"):
        return base
    segments = urlsplit(base).path.split("/")
    versioned = any(segment[:1] == "v" and segment[1:2].isdigit() for segment in segments)
    return base + ("/chat/completions" if versioned else "/v1/chat/completions")


def build_body(model: str, request: CompletionRequest) -> bytes:
    """The request as JSON. Parameters go in as they are, but can't replace model, messages or stream.

    Usage is asked for through `stream_options`; the parameter `stream_options = false` leaves that out, for
    servers that refuse what they don't know.

    Raises:
        ProviderFailure: `bad_request`, when a value can't be written as JSON.
    """
    body: dict[str, Any] = {"stream_options": {"include_usage": True}, **request.parameters}
    if body["stream_options"] is False:
        del body["stream_options"]
    body["model"] = model
    body["messages"] = [
        {"role": message.role.value, "content": message.content} for message in request.messages
    ]
    body["stream"] = True
    try:
        return orjson.dumps(body)
    except TypeError:
        raise ProviderFailure(Category.BAD_REQUEST, "the request can't be written as JSON") from None


# ── the answer ──────────────────────────────────────────────────────────────────────────────────────────────

_FINISH: Mapping[str, FinishReason] = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
}
"""Ends that are not a plain stop; whatever is in neither table is one (stop, eos, tool_calls, ...)."""
_BAD_FINISH: Mapping[str, Category] = {
    "error": Category.SERVER_ERROR,
    "abort": Category.TRUNCATED,
    "insufficient_system_resource": Category.OVERLOADED,
}


class ChatDecoder:
    """Turns the data of one answer's events into typed events. One per attempt.

    After each `feed` look at `finish` (the terminal mark, once seen) and at `ended` (nothing more will come).
    """

    __slots__ = ("_carry", "_had_text", "ended", "finish")

    def __init__(self) -> None:
        self.finish: FinishReason | None = None
        """Why the answer ended well; `None` as long as no terminal mark was seen."""
        self.ended = False
        """`[DONE]` was seen: there is nothing to wait for."""
        self._had_text = False
        self._carry = ""  # a high surrogate at the end of the text so far, whose other half may still come

    def feed(self, data: Sequence[bytes]) -> list[ProviderEvent]:
        """The events of one network read: its text as one delta, and the usage when it was told.

        Raises:
            ProviderFailure: An error was sent before the terminal mark, or bytes that are no chunk. Text of
                the same read that came before it is lost, which nobody can notice: the attempt has failed.
        """
        texts: list[str] = []
        usage: Usage | None = None
        for datum in data:
            if self.ended:
                break
            if datum == b"[DONE]":
                self._end()
                break
            chunk = self._parsed(datum)
            if chunk is None:
                continue
            choices = chunk.get("choices")
            if choices is None or "error" in chunk:  # before the choice: it tells more than a finish reason
                self._check_error(chunk)
            if choices:
                self._take_choice(choices, texts)
            told = chunk.get("usage") or chunk.get("x_groq")
            if told:
                usage = _usage_of(told) or usage
        return self._events(texts, usage)

    def finish_reading(self, data: Sequence[bytes]) -> list[ProviderEvent]:
        """The last events, when nothing more is read; `data` is what was left in the splitter.

        Raises:
            ProviderFailure: `truncated`, when no terminal mark was seen; `empty`, when only `[DONE]` was.
        """
        try:
            events = self.feed(data)
        except ProviderFailure as failure:
            if failure.category is Category.MALFORMED:  # cut in the middle of an event
                raise cut_short() from None
            raise
        if self.finish is None:
            raise nothing_said() if self.ended else cut_short()
        if self._carry:
            self._carry = ""
            events.append(TextDelta("\ufffd"))
        return events

    def _events(self, texts: list[str], usage: Usage | None) -> list[ProviderEvent]:
        events: list[ProviderEvent] = []
        if text := "".join(texts):
            events.append(TextDelta(text))
        if usage is not None:
            events.append(UsageReported(usage))
        return events

    def _end(self) -> None:
        self.ended = True
        if self.finish is None and self._had_text:
            self.finish = FinishReason.STOP

    def _parsed(self, datum: bytes) -> dict[str, Any] | None:
        """The chunk, or `None` for one that says nothing."""
        try:
            chunk = orjson.loads(datum)
        except orjson.JSONDecodeError:
            chunk = self._parsed_leniently(datum)
        if type(chunk) is dict:
            return chunk
        if self.finish is None and chunk is not None:
            raise ProviderFailure(Category.MALFORMED, "an event of the answer is no JSON object")
        return None

    def _parsed_leniently(self, datum: bytes) -> object:
        try:
            return parse_json(datum)
        except ValueError:
            if self.finish is not None or not datum.strip():
                return None
            raise ProviderFailure(Category.MALFORMED, "an event of the answer is no JSON") from None

    def _take_choice(self, choices: object, texts: list[str]) -> None:
        choice = choices[0] if type(choices) is list else None
        if type(choice) is not dict:
            if self.finish is None:
                raise ProviderFailure(Category.MALFORMED, "a chunk's choices are of the wrong type")
            return
        if choice.get("index"):  # a second answer to the same prompt (`n`): nobody asked us to show two
            return
        delta = choice.get("delta")
        text = delta.get("content") if type(delta) is dict else None
        if type(text) is not str:
            text = _text_of(choice)
        if text:
            self._had_text = True
            texts.append(self._repaired(text))
        if (reason := choice.get("finish_reason")) or "error" in choice:
            self._take_finish(choice, reason)

    def _take_finish(self, choice: Mapping[str, Any], reason: object) -> None:
        if self.finish is not None:
            return
        if error := choice.get("error"):
            raise failure_of_error(error)
        if not isinstance(reason, str):
            return
        word = reason.lower()
        if (category := _BAD_FINISH.get(word)) is not None:
            raise cut_short() if category is Category.TRUNCATED else failure_of_error({"code": word})
        self.finish = _FINISH.get(word, FinishReason.STOP)

    def _check_error(self, chunk: Mapping[str, Any]) -> None:
        if self.finish is not None:
            return
        error = chunk.get("error") or chunk.get("detail")
        if not error and "error" in (chunk.get("object"), chunk.get("type")):
            error = chunk
        if error:
            raise failure_of_error(error)

    def _repaired(self, text: str) -> str:
        """`text` with what an earlier piece held back, and without its own unfinished end."""
        if not self._carry and text.isascii():
            return text
        text = self._carry + text
        self._carry = ""
        if "\ud800" <= text[-1] <= "\udbff":
            self._carry, text = text[-1], text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text


def parse_json(data: bytes) -> object:
    """What the standard library makes of JSON that orjson refuses: lone surrogates, `NaN`, bad UTF-8.

    Raises:
        ValueError: It is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice that is not simply a delta with a string of content."""
    for name in ("delta", "message"):
        part = choice.get(name)
        if type(part) is dict:
            return _plain(part.get("content")) or _plain(part.get("refusal"))
    return _plain(choice.get("text"))


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if type(part) is dict and part.get("type") == "text" and type(part.get("text")) is str
        )
    return ""


def _usage_of(told: object) -> Usage | None:
    if isinstance(told, dict) and "usage" in told:  # Groq's own place for it
        told = told["usage"]
    if not isinstance(told, dict):
        return None
    usage = Usage(
        _count(told, "prompt_tokens", "input_tokens"), _count(told, "completion_tokens", "output_tokens")
    )
    return None if usage == Usage() else usage


def _count(told: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
