from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tickertape.broker.errors import TooLong, Unavailable
from tickertape.worker.failures import Failure, FailureCode
from tickertape.worker.outcome import failure_of
from tickertape.worker.upstream.errors import (
    DeadlineExceeded,
    RateLimited,
    Rejected,
    Stalled,
    Truncated,
    Unreachable,
    UpstreamFault,
    UpstreamGarbage,
)
from tickertape.worker.upstream.retry_after import retry_after_s

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
