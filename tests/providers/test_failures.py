"""Failures by category: what providers say, in all their ways of saying it, and never in their words."""

import pytest

from duologue.errors import ProviderFailed
from duologue.providers.failures import (
    Category,
    ProviderFailure,
    failure_of_error,
    failure_of_response,
    retry_after_of,
)
from tests.providers.builders import headers

CANARY = "sk-canary-do-not-show"


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (301, Category.MODEL_MISCONFIGURED),
        (400, Category.BAD_REQUEST),
        (401, Category.UNAUTHORIZED),
        (402, Category.QUOTA),
        (403, Category.FORBIDDEN),
        (404, Category.NOT_FOUND),
        (413, Category.CONTEXT_LENGTH),
        (418, Category.BAD_REQUEST),
        (422, Category.BAD_REQUEST),
        (429, Category.RATE_LIMITED),
        (498, Category.OVERLOADED),
        (499, Category.SERVER_ERROR),
        (500, Category.SERVER_ERROR),
        (502, Category.SERVER_ERROR),
        (503, Category.OVERLOADED),
        (504, Category.SERVER_ERROR),
        (524, Category.SERVER_ERROR),
        (529, Category.OVERLOADED),
        (204, Category.MALFORMED),
    ],
)
def test_without_a_body_the_status_decides(status: int, category: Category) -> None:
    failure = failure_of_response(status, {}, None)
    assert (failure.category, failure.http_status) == (category, status)


@pytest.mark.parametrize(
    ("status", "body", "category"),
    [
        (429, {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, Category.QUOTA),
        (429, {"error": {"code": "credit_balance_exhausted"}}, Category.QUOTA),
        (429, {"error": {"details": {"error_code": "enforced_spend_limit_reached"}}}, Category.QUOTA),
        (400, {"error": {"code": "context_length_exceeded", "type": "x"}}, Category.CONTEXT_LENGTH),
        (500, {"error": {"type": "exceed_context_size_error", "code": 500}}, Category.CONTEXT_LENGTH),
        (400, {"error": {"type": "invalid_request_error", "message": "prompt is too long"}}, Category.CONTEXT_LENGTH),
        (400, {"error": {"code": "content_filter"}}, Category.CONTENT_FILTER),
        (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, Category.CONTENT_FILTER),
        (400, [{"error": {"code": 400, "message": "bad API key", "status": "INVALID"}}], Category.UNAUTHORIZED),
        (401, {"error": "Unauthorized"}, Category.UNAUTHORIZED),
        (400, {"error": {"type": "invalid_request_error", "code": None}}, Category.BAD_REQUEST),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, Category.QUOTA),
        (422, {"detail": [{"msg": "extra fields not permitted"}]}, Category.BAD_REQUEST),
        (400, {"object": "error", "message": "its maximum context length is 8", "code": 400}, Category.CONTEXT_LENGTH),
        (500, {"error": {"code": True, "type": ["x"], "metadata": 3}}, Category.SERVER_ERROR),
        (500, 3, Category.SERVER_ERROR),
    ],
)  # fmt: skip
def test_a_precise_code_or_phrase_wins_over_the_status(status: int, body: object, category: Category) -> None:
    assert failure_of_response(status, {}, body).category is category


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ({"message": "boom", "type": "InternalServerError", "code": 500}, Category.SERVER_ERROR),
        ({"message": "slow down", "code": 429}, Category.RATE_LIMITED),
        ({"message": "Overloaded", "type": "overloaded_error"}, Category.OVERLOADED),
        ({"code": 502, "metadata": {"error_type": "rate_limit_exceeded"}}, Category.RATE_LIMITED),
        ("the context size has been exceeded", Category.CONTEXT_LENGTH),
        ("something broke", Category.SERVER_ERROR),
        ({"code": "99999999999999999999"}, Category.SERVER_ERROR),
        (17, Category.SERVER_ERROR),
    ],
)
def test_an_error_inside_a_stream_is_understood_as_object_and_as_string(
    error: object, category: Category
) -> None:
    assert failure_of_error(error).category is category


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (headers(), None),
        (headers(retry_after="3"), 3.0),
        (headers(retry_after="0.5"), 0.5),
        (headers(retry_after_ms="250", retry_after="9"), 0.25),
        (headers(retry_after="-1"), None),
        (headers(retry_after="nan"), None),
        (headers(retry_after="inf"), None),
        (headers(retry_after="soon"), None),
        (headers(retry_after="99999999999"), 99999999999.0),
        (headers(retry_after="Wed, 21 Oct 2026 07:28:10 GMT", date="Wed, 21 Oct 2026 07:28:00 GMT"), 10.0),
        (headers(retry_after="Wed, 21 Oct 2026 07:28:00 GMT", date="Wed, 21 Oct 2026 07:28:10 GMT"), 0.0),
        (headers(retry_after="Wed, 21 Oct 2026 07:28:10 GMT"), None),
    ],
)
def test_a_wait_hint_is_read_in_all_its_forms(found: dict[str, str], seconds: float | None) -> None:
    assert retry_after_of(found) == seconds


@pytest.mark.parametrize(
    "body", [{"error": {"message": CANARY, "code": CANARY, "type": CANARY}}, CANARY, [CANARY]]
)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_no_word_of_a_body_gets_into_a_message(status: int, body: object) -> None:
    failure = failure_of_response(status, {}, body)
    assert CANARY not in f"{failure!s}{failure!r}{failure.args}"
    assert CANARY not in str(failure_of_error(body))


def test_a_failure_is_a_provider_failed_with_its_category() -> None:
    failure = ProviderFailure(Category.EMPTY, "nothing")
    assert isinstance(failure, ProviderFailed)
    assert (failure.code, failure.category, failure.had_content) == ("provider_failed", "empty", False)
