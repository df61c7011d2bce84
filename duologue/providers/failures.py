"""What can go wrong with a model, in our words: one category per thing that is handled differently.

Everything here is pure. A provider's own words are read to find the category and are then dropped: an error
body may echo a key or a prompt, so no part of one ever gets into a message, a log or an event.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from duologue.errors import ProviderFailed

__all__ = [
    "Category",
    "ProviderFailure",
    "AnswerRefused",
    "REFUSALS",
    "failure_of_response",
    "failure_of_error",
    "cut_short",
    "nothing_said",
    "retry_after_of",
]


class Category(StrEnum):
    """How an attempt failed. Values are wire words: clients see them as `reason` and `category`."""

    CONNECT = "connect"
    """No connection: refused, no such host, a bad certificate, or not within the connect timeout."""
    DISCONNECTED = "disconnected"
    """The connection ended before any answer began, as one that was idle for too long does."""
    TIMEOUT_FIRST_TOKEN = "timeout_first_token"  # noqa: S105 - a token of text
    """No content within `first_token` of the attempt's start."""
    TIMEOUT_IDLE = "timeout_idle"
    """Content began and then none came for `idle`; comments and pings are not content."""
    TIMEOUT_TOTAL = "timeout_total"
    """The whole attempt took longer than `total`."""
    RATE_LIMITED = "rate_limited"
    """Too many requests; waiting helps."""
    QUOTA = "quota"
    """The account's money or allowance is used up; waiting does not help."""
    UNAUTHORIZED = "unauthorized"
    """The key is not accepted."""
    FORBIDDEN = "forbidden"
    """The key is accepted but may not do this."""
    NOT_FOUND = "not_found"
    """No such model or path at this address."""
    BAD_REQUEST = "bad_request"
    """The provider does not take this request, whoever sends it."""
    CONTEXT_LENGTH = "context_length"
    """The prompt does not fit the model's context."""
    CONTENT_FILTER = "content_filter"
    """The provider's filter refused the prompt or the whole answer."""
    SERVER_ERROR = "server_error"
    """The provider says that it failed."""
    OVERLOADED = "overloaded"
    """The provider says that it is too busy."""
    TRUNCATED = "truncated"
    """The answer stopped without its terminal mark."""
    MALFORMED = "malformed"
    """What came is not what this wire sends."""
    EMPTY = "empty"
    """The answer ended well and said nothing."""
    OVER_CAPACITY = "over_capacity"
    """Our own cap on concurrent calls to this model is reached; no call was made."""
    MODEL_MISCONFIGURED = "model_misconfigured"
    """The model can't be called as it is configured; no call was made."""
    INTERNAL = "internal"
    """The adapter itself crashed: a bug of ours."""


class ProviderFailure(ProviderFailed):
    """One attempt that gave no complete answer.

    Args:
        category: What went wrong.
        message: A sentence of ours; never a provider's words, which may echo a key or a prompt.
        http_status: The answer's status, where there was an answer.
        retry_after: Seconds that the provider asks to wait; `None` when it does not say.
        had_content: Whether text was passed on before. Only the attempt's shell knows, and sets it.
    """

    category: Category

    def __init__(
        self,
        category: Category,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
        had_content: bool = False,
    ) -> None:
        super().__init__(message, category=category)
        self.http_status = http_status
        self.retry_after = retry_after
        self.had_content = had_content


class AnswerRefused(ProviderFailed):
    """The turn failed for a reason that asking again, unchanged, does not mend: its prompt."""

    retryable = False


REFUSALS = frozenset({Category.BAD_REQUEST, Category.CONTEXT_LENGTH, Category.CONTENT_FILTER})
"""Categories that are the prompt's fault."""

_SENTENCES: Mapping[Category, str] = {
    Category.RATE_LIMITED: "the provider is rate limiting us",
    Category.QUOTA: "the provider's account has no quota left",
    Category.UNAUTHORIZED: "the provider does not accept the key",
    Category.FORBIDDEN: "the provider forbids this call",
    Category.NOT_FOUND: "the provider knows no such model or path; check the model's name and url",
    Category.BAD_REQUEST: "the provider does not accept the request",
    Category.CONTEXT_LENGTH: "the prompt does not fit the model's context",
    Category.CONTENT_FILTER: "the provider's content filter refused",
    Category.OVERLOADED: "the provider is overloaded",
    Category.SERVER_ERROR: "the provider failed",
    Category.TRUNCATED: "the answer was cut short",
    Category.MALFORMED: "the provider's answer can't be understood",
    Category.MODEL_MISCONFIGURED: "the provider redirects elsewhere; check the model's url",
}

# Codes and types of error objects, as they are on the wire, lower-cased. They win over the status, because
# the status lies: a spent account is a 429, a bad key a 400, a context that does not fit a 500.
_CODES: Mapping[str, Category] = {
    "insufficient_quota": Category.QUOTA,
    "billing_hard_limit_reached": Category.QUOTA,
    "billing_error": Category.QUOTA,
    "credit_balance_exhausted": Category.QUOTA,
    "insufficient_balance": Category.QUOTA,
    "insufficient_credits": Category.QUOTA,
    "enforced_spend_limit_reached": Category.QUOTA,
    "rate_limit_exceeded": Category.RATE_LIMITED,
    "rate_limit_error": Category.RATE_LIMITED,
    "rate_limit_reached": Category.RATE_LIMITED,
    "too_many_requests": Category.RATE_LIMITED,
    "resource_exhausted": Category.RATE_LIMITED,
    "invalid_api_key": Category.UNAUTHORIZED,
    "authentication_error": Category.UNAUTHORIZED,
    "api_key_invalid": Category.UNAUTHORIZED,
    "permission_error": Category.FORBIDDEN,
    "permission_denied": Category.FORBIDDEN,
    "model_not_found": Category.NOT_FOUND,
    "not_found_error": Category.NOT_FOUND,
    "context_length_exceeded": Category.CONTEXT_LENGTH,
    "exceed_context_size_error": Category.CONTEXT_LENGTH,
    "request_too_large": Category.CONTEXT_LENGTH,
    "content_filter": Category.CONTENT_FILTER,
    "content_policy_violation": Category.CONTENT_FILTER,
    "responsibleaipolicyviolation": Category.CONTENT_FILTER,
    "invalid_request_error": Category.BAD_REQUEST,
    "badrequesterror": Category.BAD_REQUEST,
    "overloaded_error": Category.OVERLOADED,
    "service_unavailable": Category.OVERLOADED,
    "insufficient_system_resource": Category.OVERLOADED,
    "server_error": Category.SERVER_ERROR,
    "api_error": Category.SERVER_ERROR,
    "internal_server_error": Category.SERVER_ERROR,
    "internalservererror": Category.SERVER_ERROR,
}

# A vague code says less than the words that follow it: these are looked for where no precise code is.
_PHRASES: tuple[tuple[str, Category], ...] = (
    ("maximum context length", Category.CONTEXT_LENGTH),
    ("context length", Category.CONTEXT_LENGTH),
    ("context size", Category.CONTEXT_LENGTH),
    ("context window", Category.CONTEXT_LENGTH),
    ("prompt is too long", Category.CONTEXT_LENGTH),
    ("api key", Category.UNAUTHORIZED),
    ("insufficient balance", Category.QUOTA),
    ("exceeded your current quota", Category.QUOTA),
    ("rate limit", Category.RATE_LIMITED),
    ("overloaded", Category.OVERLOADED),
)
_VAGUE = frozenset({Category.BAD_REQUEST, Category.SERVER_ERROR})

_STATUSES: Mapping[int, Category] = {
    401: Category.UNAUTHORIZED,
    402: Category.QUOTA,
    403: Category.FORBIDDEN,
    404: Category.NOT_FOUND,
    413: Category.CONTEXT_LENGTH,
    429: Category.RATE_LIMITED,
    498: Category.OVERLOADED,  # Groq: no room in the flexible tier
    499: Category.SERVER_ERROR,  # Groq: says that we left, which we did not
    503: Category.OVERLOADED,
    529: Category.OVERLOADED,  # Anthropic, Together
}


def failure_of_response(status: int, headers: Mapping[str, str], error: object) -> ProviderFailure:
    """The failure that an answer with a status other than 200 stands for.

    Args:
        status: The HTTP status.
        headers: The answer's headers, found by lower-case names.
        error: The parsed body, whatever it is: an object, a string, or `None` when it is no JSON.
    """
    category = _category_of(_inner_error(error), _category_of_status(status))
    return ProviderFailure(
        category,
        f"{_SENTENCES[category]} (status {status})",
        http_status=status,
        retry_after=retry_after_of(headers),
    )


def failure_of_error(error: object) -> ProviderFailure:
    """The failure that an error within a stream stands for: its `error` key's value, object or string."""
    category = _category_of(error, Category.SERVER_ERROR)
    return ProviderFailure(category, f"{_SENTENCES[category]} (said within the stream)")


def cut_short() -> ProviderFailure:
    """The failure of an answer that stopped without its terminal mark."""
    return ProviderFailure(Category.TRUNCATED, "the answer stopped without its terminal mark")


def nothing_said() -> ProviderFailure:
    """The failure of an answer that ended well and had no text."""
    return ProviderFailure(Category.EMPTY, "the answer ended without any text")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after`; `None` when there is none that makes sense.

    A date counts from the answer's own `date` header, so that nobody's clock but the server's matters.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        waited = (until - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(0.0, waited)


def _category_of_status(status: int) -> Category:
    category = _STATUSES.get(status)
    if category is not None:
        return category
    if status >= 500:
        return Category.SERVER_ERROR
    if 300 <= status < 400:
        return Category.MODEL_MISCONFIGURED
    return Category.BAD_REQUEST if status >= 400 else Category.MALFORMED


def _inner_error(body: object) -> object:
    """The error within a body: under `error`, or the body itself where a server answers flat."""
    if isinstance(body, list) and body:  # Gemini's compatible door wraps its error in a list
        body = body[0]
    if isinstance(body, dict):
        return body.get("error") or body
    return body


def _category_of(error: object, default: Category) -> Category:
    found = default
    if isinstance(error, dict):
        for word in _codes_in(error):
            known = _CODES.get(word.lower())
            if known is None and word.isdecimal() and 400 <= (number := int(word[:4])) < 600:
                known = _category_of_status(number)
            if known is not None and known not in _VAGUE:
                return known
            if known is not None and default in _VAGUE:
                found = known
    if found in _VAGUE:
        return _category_of_words(error) or found
    return found


def _codes_in(error: Mapping[Any, Any]) -> list[str]:
    """Every value that may be a code, most telling first; `type` and `code` are swapped by some servers."""
    places: list[object] = [error.get("code"), error.get("type"), error.get("status")]
    for name in ("innererror", "details", "metadata"):
        inner = error.get(name)
        if isinstance(inner, dict):
            places += [inner.get("code"), inner.get("error_code"), inner.get("error_type")]
    return [str(place) for place in places if isinstance(place, str | int)]


def _category_of_words(error: object) -> Category | None:
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    if not isinstance(error, str):
        return None
    words = error[:2000].lower()
    return next((category for phrase, category in _PHRASES if phrase in words), None)
