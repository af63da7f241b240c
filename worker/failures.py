"""What can go wrong with an attempt, as exceptions and as the failure codes that clients are told.

    UpstreamError              the upstream gave no complete answer
    ├── RateLimited            upstream_rate_limited   429, or the same said inside the stream
    ├── UpstreamFault          upstream_error          5xx, or an error said inside the stream
    │   └── UpstreamGarbage                            what came back is not what was asked for
    ├── Unreachable            upstream_unreachable    no connection, or none that answered
    ├── Stalled                upstream_stalled        connected and silent for too long
    ├── Truncated              upstream_truncated      the body ended without a finish_reason
    ├── Rejected               upstream_rejected       a 4xx: the same request will fail again
    └── DeadlineExceeded       deadline                the attempt as a whole took too long

A message is shown to clients and written to logs, so whoever raises one of these leaves keys and
prompts out of it, and raises it `from None`: the SDK's exceptions carry the request with its key.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, ClassVar

from broker.errors import TooLong


class FailureCode(StrEnum):
    """`failed.code`, as it stands in the log and on the native wire."""

    RATE_LIMITED = "upstream_rate_limited"
    ERROR = "upstream_error"
    UNREACHABLE = "upstream_unreachable"
    STALLED = "upstream_stalled"
    TRUNCATED = "upstream_truncated"
    REJECTED = "upstream_rejected"
    DEADLINE = "deadline"
    TOO_LONG = "too_long"
    INTERRUPTED = "interrupted"
    POISON = "poison"
    INTERNAL = "internal"


# Sending the same request again would fail in the same way.
_FINAL = frozenset({FailureCode.REJECTED, FailureCode.TOO_LONG, FailureCode.POISON})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `retry_after_s` is what the upstream asked for, if it did."""

    code: FailureCode
    message: str
    retry_after_s: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code not in _FINAL

    def terminal(self) -> dict[str, Any]:
        """The data of the log's `failed` entry."""
        return {"code": self.code.value, "message": self.message, "retryable": self.retryable}


class UpstreamError(Exception):
    """The upstream gave no complete answer."""

    code: ClassVar[FailureCode] = FailureCode.ERROR

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


class RateLimited(UpstreamError):
    """The upstream's rate limit is reached."""

    code = FailureCode.RATE_LIMITED


class UpstreamFault(UpstreamError):
    """The upstream reported an error."""


class UpstreamGarbage(UpstreamFault):
    """The upstream sent something that is not a stream of chat completion chunks."""


class Unreachable(UpstreamError):
    """The upstream cannot be reached."""

    code = FailureCode.UNREACHABLE


class Stalled(UpstreamError):
    """The upstream fell silent."""

    code = FailureCode.STALLED


class Truncated(UpstreamError):
    """The upstream's answer broke off."""

    code = FailureCode.TRUNCATED


class Rejected(UpstreamError):
    """The upstream rejected the request."""

    code = FailureCode.REJECTED


class DeadlineExceeded(UpstreamError):
    """The attempt took too long."""

    code = FailureCode.DEADLINE


def failure_of(error: Exception) -> Failure:
    """The failure to record for an exception that ended an attempt.

    An exception nobody foresaw becomes `internal` and only its type is named: its text may hold
    anything, a prompt included.
    """
    if isinstance(error, UpstreamError):
        return Failure(error.code, error.message, error.retry_after_s)
    if isinstance(error, TooLong):
        return Failure(FailureCode.TOO_LONG, str(error))
    return Failure(FailureCode.INTERNAL, f"The worker failed ({type(error).__name__}).")


# A 429 with one of these means an empty account: waiting does not fill it.
# https://platform.openai.com/docs/guides/error-codes
_OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_RATE_LIMIT_WORDS = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests"})
_TRANSIENT_4XX = frozenset({408, 425})


def from_response(
    status: int, error: object, message: str, *, retry_after_s: float | None = None
) -> UpstreamError:
    """The error for an HTTP status of 400 or more.

    `error` is the body's error object, if there is one; `message` is shown for a 4xx only, and has
    been cleared of secrets. 408 and 425 are the two 4xx that invite another try.
    """
    if status == 429 and _word(error) not in _OUT_OF_CREDIT:
        return RateLimited(retry_after_s=retry_after_s)
    if status >= 500 or status in _TRANSIENT_4XX:
        return UpstreamFault(f"The upstream answered {status}.", retry_after_s=retry_after_s)
    return Rejected(message or f"The upstream answered {status}.")


def message_of(body: object) -> str:
    """What the body of an HTTP error says, as OpenAI, FastAPI or plain-text servers put it."""
    match body:
        case {"message": str(message)} | {"detail": str(message)}:
            return message
        case {"message": dict(inner)}:  # Mistral wraps FastAPI's
            return message_of(inner)
        case {"detail": list(problems)}:
            return "; ".join(_problem(problem) for problem in problems)
        case str(message) if not message.lstrip().startswith("<"):  # a proxy's page says nothing
            return message
    return ""


def _problem(problem: object) -> str:
    # Only where and what: the rest of FastAPI's problems quotes the request.
    match problem:
        case {"loc": list(path), "msg": str(message)}:
            return f"{'.'.join(map(str, path))}: {message}"
    return ""


def from_stream(error: object) -> UpstreamError:
    """The error for an `error` object found inside the stream.

    Gateways put an HTTP status into `code`, others a word into `code` or `type`. The text is not
    passed on: unlike a 4xx it says nothing that the caller could mend.
    """
    word = _word(error)
    if word in _RATE_LIMIT_WORDS:
        return RateLimited()
    if word.isdecimal() and 400 <= int(word[:4]) < 600:
        return from_response(int(word), error, "The upstream rejected the request in mid-stream.")
    return UpstreamFault("The upstream reported an error in its stream.")


def _word(error: object) -> str:
    if not isinstance(error, dict):
        return ""
    return str(error.get("code") or error.get("type") or "")


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date).

    None when there is none that can be read; never negative.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return None if seconds is None else max(0.0, seconds)
    try:
        due = parsedate_to_datetime(value)
    except ValueError:
        return None
    due = due if due.tzinfo else due.replace(tzinfo=UTC)
    return max(0.0, (due - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
