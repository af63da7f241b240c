"""What is read out of the errors of upstreams, shape by shape, and the failure that it becomes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.error_reports import (
    Report,
    error_from,
    is_error,
    message_of,
    read_report,
)
from tickertape.worker.upstream.errors import RateLimited, Rejected, UpstreamError, UpstreamFault


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (429, {"code": "rate_limit_exceeded"}, RateLimited),
        (429, None, RateLimited),
        (429, {"code": "insufficient_quota"}, Rejected),
        (429, {"code": None, "type": "insufficient_quota"}, Rejected),
        (429, {"error": {"type": "exceeded_current_quota_error"}}, Rejected),
        (500, None, UpstreamFault),
        (502, "<html>", UpstreamFault),
        (529, None, UpstreamFault),
        (408, None, UpstreamFault),
        (425, None, UpstreamFault),
        (400, None, Rejected),
        (401, None, Rejected),
        (402, None, Rejected),
        (404, None, Rejected),
        (409, None, Rejected),
        (413, None, Rejected),
        (422, None, Rejected),
        # What came with a status is that, whatever its words are.
        (500, {"code": "context_length_exceeded"}, UpstreamFault),
        (400, {"code": "rate_limit_exceeded"}, Rejected),
    ],
)
def test_a_status_is_mapped(status: int, error: object, expected: type[UpstreamError]) -> None:
    assert type(error_from(read_report(error), status=status, message="said")) is expected


def test_only_a_rejection_passes_on_what_the_upstream_said() -> None:
    def shown(status: int, message: str) -> str:
        return error_from(Report(message), status=status, message=message).message

    assert shown(400, "no such model") == "no such model"
    assert shown(400, "") == "The upstream answered 400."
    assert shown(503, "secret") == "The upstream answered 503."
    assert "secret" not in shown(429, "secret")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        # https://platform.openai.com/docs/guides/error-codes
        ("context_length_exceeded", 400), ("invalid_request_error", 400),
        ("invalid_api_key", 401), ("insufficient_quota", 402), ("model_not_found", 404),
        ("rate_limit_exceeded", 429), ("server_error", 500), ("content_filter", 400),
        # https://docs.anthropic.com/en/api/errors
        ("authentication_error", 401), ("billing_error", 402), ("permission_error", 403),
        ("not_found_error", 404), ("request_too_large", 413), ("rate_limit_error", 429),
        ("api_error", 500), ("timeout_error", 504), ("overloaded_error", 529),
        # https://cloud.google.com/apis/design/errors
        ("INVALID_ARGUMENT", 400), ("UNAUTHENTICATED", 401), ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429), ("INTERNAL", 500), ("UNAVAILABLE", 503),
        # Python's class names, as vLLM and LiteLLM send them
        ("BadRequestError", 400), ("AuthenticationError", 401), ("NotFoundError", 404),
        ("RateLimitError", 429), ("InternalServerError", 500), ("ContextWindowExceededError", 400),
        # llama.cpp, Groq, Moonshot, Alibaba, AWS
        ("exceed_context_size_error", 400), ("unavailable_error", 503), ("tool_use_failed", 400),
        ("exceeded_current_quota_error", 402), ("engine_overloaded_error", 429),
        ("InvalidParameter", 400), ("InvalidApiKey", 401), ("Arrearage", 402),
        ("Throttling.RateQuota", 429), ("DataInspectionFailed", 400),
        ("ValidationException", 400), ("ThrottlingException", 429),
        ("AccessDeniedException", 403),
        ("nobody knows this one", None), ("", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["code", "type", "status", "error_code", "error_type"])
def test_a_word_stands_for_the_status_it_comes_with(
    key: str, word: str, status: int | None
) -> None:
    assert read_report({"error": {key: word}}).word_status == status


@pytest.mark.parametrize("number", [400, "400"])
@pytest.mark.parametrize("key", ["code", "type", "status", "status_code", "error_code"])
def test_a_status_is_read_as_a_number_and_as_text_inside_and_outside(
    key: str, number: object
) -> None:
    assert read_report({"error": {key: number}}).status == 400
    assert read_report({"error": "no", key: number}).status == 400
    assert read_report({key: number}).status == 400


@pytest.mark.parametrize("number", [0, 200, 399, 600, 1302, -400, True, "4OO", "٤٠٠", 10**30, 4e2])
def test_other_numbers_are_no_status(number: object) -> None:
    assert read_report({"code": number}).status is None


def test_the_code_goes_before_the_type_and_a_known_word_before_an_unknown_one() -> None:
    both = {"code": "rate_limit_exceeded", "type": "server_error"}
    assert read_report(both).word_status == 429
    groq = {"code": "something_new", "type": "invalid_request_error"}
    assert read_report(groq).word_status == 400


RAW = json.dumps({"error": {"message": "The model is gone.", "code": "model_not_found"}})
GEMINI_SAID = json.dumps({"error": {"code": 400, "message": "API key not valid."}}, indent=2)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "no", "code": "x"}, "no"),
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"error": {"error": "no"}}, "no"),
        ({"error": {"error": {"message": "no"}}}, "no"),
        ({"error": {"code": 400}, "message": "no"}, "no"),
        ({"timestamp": 1, "status": 400, "error": "Bad Request", "message": "no"}, "no"),
        ([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}], "no"),
        ({"Message": "no"}, "no"),
        ({"error_code": 336003, "error_msg": "no"}, "no"),
        ({"error_type": "x", "error_message": "no"}, "no"),
        ({"error": "invalid_request", "error_description": "no"}, "no"),
        ({"base_resp": {"status_code": 2013, "status_msg": "no"}, "choices": None}, "no"),
        ({"errors": ["no", "never"]}, "no; never"),
        ({"success": False, "errors": [{"code": 7000, "message": "no"}], "messages": []}, "no"),
        ({"title": "Problem", "status": 400, "errors": {"n": ["no"], "m": [3]}}, "Problem: n: no"),
        ({"title": "Not Found", "detail": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": {"message": "no"}}, "no"),
        ({"detail": {"error": {"message": "no"}}}, "no"),
        ({"detail": {"error": "no"}}, "no"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too many", "input": "a prompt"}]},
         "body.n: too many"),
        ({"message": {"detail": [{"loc": ["a", 0], "msg": "b"}, 5, "odd"]}}, "a.0: b; odd"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": RAW}}},
         "Provider returned error: The model is gone."),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "no"}}},
         "Provider returned error: no"),
        ({"error": {"message": "no", "metadata": {"raw": {"detail": "no"}}}}, "no"),
        ({"error": {"message": "no", "metadata": {"raw": "<html>"}}}, "no"),
        ({"error": {"message": "no", "metadata": None}}, "no"),
        ({"error": {"message": GEMINI_SAID, "code": 400}}, "API key not valid."),
        ({"error": {"message": '{"input": "a prompt"}'}}, ""),
        ({"error": {"message": "{x} is odd"}}, "{x} is odd"),
        ("plain text", "plain text"),
        ("<html>nginx</html>", ""),
        ({"error": "<html>"}, ""),
        ({"message": 5}, ""),
        (None, ""),
        ([1], ""),
        ({"error": "half \ud800"}, "half \ufffd"),
    ],
)  # fmt: skip
def test_the_message_is_found_where_servers_put_it(body: object, expected: str) -> None:
    assert read_report(body).message == expected


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "39s"}
GEMINI = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{}, RETRY_INFO]}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GEMINI, 39.0),
        ([GEMINI], 39.0),
        # continue#9570: the whole body as a text within an error
        ({"error": {"message": json.dumps(GEMINI), "code": 429}}, 39.0),
        ({"error": {"details": [{"retryDelay": "45.578569677s"}]}}, 45.578569677),
        ({"error": {"details": [{"retryDelay": "0s"}]}}, 0.0),
        ({"error": {"details": [{"retryDelay": "soon"}]}}, None),
        ({"error": {"details": "retryDelay"}}, None),
        ({"error": {"metadata": {"retry_after_seconds": 5}}}, 5.0),
        ({"error": "slow down", "retry_after": 2.5}, 2.5),
        ({"retry_after": -1}, 0.0),
        ({"retry_after": 10**400}, None),
        ({"retry_after": True}, None),
        ({}, None),
    ],
)
def test_when_to_come_back_is_read_from_the_body(body: object, expected: float | None) -> None:
    assert read_report(body).retry_after_s == expected


def test_the_pause_in_the_header_wins_over_the_body() -> None:
    report = read_report(GEMINI)
    assert error_from(report, status=429).retry_after_s == 39
    assert error_from(report, status=429, retry_after_s=0.0).retry_after_s == 0
    assert error_from(report, status=503).retry_after_s == 39


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"error": {"code": 400}}, True),
        ({"error": "no"}, True),
        ({"object": "error", "message": "no", "code": None}, True),
        ({"type": "error", "message": "no"}, True),
        ({"code": 400}, True),
        ({"status_code": 503}, True),
        ({"code": "context_length_exceeded"}, True),
        ({"type": "invalid_request_error", "message": "no"}, True),
        ({"code": "E17", "message": "no"}, True),
        ({"error_type": "x", "error_message": "no"}, True),
        ({"detail": "Internal Server Error"}, True),
        ({"success": False, "errors": ["no"]}, True),
        ({"base_resp": {"status_code": 2013, "status_msg": "no"}, "usage": {}}, True),
        ({"base_resp": {"status_code": 0, "status_msg": ""}}, False),
        ({}, False),
        ({"error": None, "choices": []}, False),
        ({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, False),
        ({"choices": [], "usage": {"total_tokens": 7}, "service_tier": "default"}, False),
        ({"type": "ping"}, False),
        ({"type": "status", "message": "Searching the web"}, False),
        ({"code": 0, "message": "ok"}, False),
        ({"code": "success", "message": "ok"}, False),
        ({"model": "m", "message": {"role": "assistant", "content": "hi"}}, False),
    ],
)
def test_an_error_differs_from_a_chunk_without_choices(
    value: dict[str, Any], expected: bool
) -> None:
    assert is_error(value) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "errors", "message", "detail", "metadata", "raw", "code",
                         "base_resp", "loc", "msg", "retry_after", "details", "status"]),
        inner,
        max_size=4,
    )
    | inner.map(json.dumps),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_json_is_read_as_a_report(said: Any) -> None:
    report = read_report(said)
    report.message.encode()
    assert report.retry_after_s is None or report.retry_after_s >= 0
    assert error_from(report).message
    if isinstance(said, dict):
        is_error(said)


def test_an_error_that_quotes_a_whole_request_is_read_for_a_moment_only() -> None:
    said = {"error": {"message": "Invalid image: " + "data:" * 4_000_000, "code": 400}}
    report = read_report(said)
    assert report.message.startswith("Invalid image: data:")
    assert len(report.message) == 10_000


def test_an_error_that_is_nested_too_deeply_has_no_message() -> None:
    deep: Any = {"message": "too deep"}
    for _ in range(100):
        deep = {"error": [deep]}
    assert message_of(deep) == ""
    assert read_report("[" * 100_000).status is None
