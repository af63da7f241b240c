from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from broker.errors import TooLong, Unavailable
from worker.failures import (
    DeadlineExceeded,
    Failure,
    FailureCode,
    RateLimited,
    Rejected,
    Stalled,
    Truncated,
    Unreachable,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbage,
    failure_of,
    from_response,
    message_of,
    retry_after_s,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (RateLimited(), "upstream_rate_limited", True),
        (UpstreamFault(), "upstream_error", True),
        (UpstreamGarbage(), "upstream_error", True),
        (Unreachable(), "upstream_unreachable", True),
        (Stalled(), "upstream_stalled", True),
        (Truncated(), "upstream_truncated", True),
        (Rejected(), "upstream_rejected", False),
        (DeadlineExceeded(), "deadline", True),
        (TooLong(), "too_long", False),
        (Unavailable(), "internal", True),
        (ValueError("the prompt was: tell me"), "internal", True),
    ],
)
def test_every_error_has_its_code(error: Exception, code: str, retryable: bool) -> None:
    failure = failure_of(error)
    terminal = failure.terminal()
    assert terminal == {"code": code, "message": failure.message, "retryable": retryable}
    assert failure.message
    assert "prompt" not in failure.message


@pytest.mark.parametrize("code", list(FailureCode))
def test_only_what_would_fail_again_is_not_retryable(code: FailureCode) -> None:
    final = {"upstream_rejected", "too_long", "poison"}
    assert Failure(code, "").retryable == (code not in final)


def test_a_failure_remembers_when_to_come_back() -> None:
    assert failure_of(RateLimited(retry_after_s=3.5)).retry_after_s == 3.5


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (429, {"code": "rate_limit_exceeded"}, RateLimited),
        (429, None, RateLimited),
        (429, {"code": "insufficient_quota"}, Rejected),
        (429, {"code": None, "type": "insufficient_quota"}, Rejected),
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
    ],
)
def test_a_status_is_mapped(status: int, error: object, expected: type[UpstreamError]) -> None:
    assert type(from_response(status, error, "said")) is expected


def test_only_a_rejection_passes_on_what_the_upstream_said() -> None:
    assert from_response(400, None, "no such model").message == "no such model"
    assert from_response(400, None, "").message == "The upstream answered 400."
    assert from_response(503, None, "secret").message == "The upstream answered 503."
    assert "secret" not in from_response(429, None, "secret").message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "no", "code": "x"}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too many", "input": "a prompt"}]},
         "body.n: too many"),
        ({"message": {"detail": [{"loc": ["a", 0], "msg": "b"}, "odd"]}}, "a.0: b; "),
        ("plain text", "plain text"),
        ("<html>nginx</html>", ""),
        ({"message": 5}, ""),
        (None, ""),
        ([1], ""),
    ],
)  # fmt: skip
def test_the_message_is_found_where_servers_put_it(body: object, expected: str) -> None:
    assert message_of(body) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "odd", "retry-after": "9"}, 9.0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30"}, 30.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], expected: float | None
) -> None:
    assert retry_after_s(headers, NOW) == expected
