"""`openai_compatible`: chat completions over HTTP. The thin shell; what is said is in openai_chat.py."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import httpx

from duologue.config.models import RegisteredModel
from duologue.providers.failures import Category, ProviderFailure, failure_of_response
from duologue.providers.http import READ_ERRORS, HttpClients, chunks_of, read_body
from duologue.providers.openai_chat import ChatDecoder, build_body, build_url, parse_json
from duologue.providers.port import CompletionRequest, Finished, ProviderEvent, TextDelta
from duologue.providers.sse import EVENT_BYTES_MAX, SseSplitter

__all__ = ["OpenAICompatible"]

_USAGE_SECONDS = 1.0
"""How long usage is waited for after the terminal mark, less where `idle` is short."""
_END_SECONDS = 0.05
"""How long the body's end is waited for after `[DONE]`, so that the connection can be used again."""
_ERROR_BYTES_MAX = 1 << 16
_ERROR_SECONDS = 1.0


class OpenAICompatible:
    """A model behind an OpenAI-compatible address.

    Args:
        model: How it is registered; `url` and `model` are required.
        clients: The connections; not owned.
        key: Gives the key when a call is made, or `None` for none.

    Raises:
        ValueError: `url` or `model` is missing.
    """

    def __init__(
        self, model: RegisteredModel, clients: HttpClients, key: Callable[[], str | None] = lambda: None
    ) -> None:
        if model.url is None or model.model is None:
            raise ValueError("openai_compatible needs a url and a model")
        self._model = model.model
        self._url = build_url(model.url)
        self._timeouts = model.timeouts
        self._clients = clients
        self._key = key

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        key = self._key()
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        body = build_body(self._model, request)
        async with self._clients.post(
            self._url, headers=headers, body=body, connect=self._timeouts.connect
        ) as response:
            await _check_answer(response)
            decoder = ChatDecoder()
            if _content_type(response) == "application/json":  # a server that does not know `stream`
                whole = await read_body(response, bytes_max=EVENT_BYTES_MAX, seconds=None)
                rest = [whole]
            else:
                splitter = SseSplitter()
                async for events in self._events(response, splitter, decoder):
                    yield events
                rest = splitter.finish()
            last = decoder.finish_reading(rest)
            assert decoder.finish is not None
            yield [*last, Finished(decoder.finish)]

    async def close(self) -> None:
        """Nothing: the connections belong to `clients`."""

    async def _events(
        self, response: httpx.Response, splitter: SseSplitter, decoder: ChatDecoder
    ) -> AsyncGenerator[list[ProviderEvent], None]:
        """Batches of the body until its end, however that came."""
        chunks = chunks_of(response)
        try:
            async for chunk in chunks:
                if events := decoder.feed(splitter.feed(chunk)):
                    yield events
                if splitter.overflowed:
                    raise ProviderFailure(Category.MALFORMED, "an event of the answer is too large")
                if decoder.finish is not None or decoder.ended:
                    break
        except READ_ERRORS:
            return
        clock = asyncio.get_running_loop().time
        patience = min(
            _USAGE_SECONDS, self._timeouts.idle / 2
        )  # the attempt's own deadline must not come first
        until = clock() + patience
        while (more := await _read_until(chunks, until)) is not None:
            events = decoder.feed(splitter.feed(more))
            if events:
                yield events
            if decoder.ended:
                until = min(until, clock() + _END_SECONDS)
            elif any(
                type(event) is TextDelta for event in events
            ):  # some name a finish reason in every chunk
                until = clock() + patience


async def _read_until(chunks: AsyncIterator[bytes], deadline: float) -> bytes | None:
    """One more chunk; `None` at the end, after `deadline` and when the connection broke."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(chunks, None)
    except (TimeoutError, *READ_ERRORS):
        return None


async def _check_answer(response: httpx.Response) -> None:
    """Refuse what is no stream of ours."""
    if response.status_code != 200:
        body = await read_body(response, bytes_max=_ERROR_BYTES_MAX, seconds=_ERROR_SECONDS)
        try:
            error = parse_json(body)
        except ValueError:
            error = None
        raise failure_of_response(response.status_code, response.headers, error)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderFailure(Category.MALFORMED, "the answer is compressed, which was not asked for")
    if _content_type(response) == "text/html":
        raise ProviderFailure(Category.MALFORMED, "the answer is a web page; check the model's url")


def _content_type(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()
