"""What can go wrong with an attempt, as exceptions and as the failure codes that clients are told.

    UpstreamError              the upstream gave no complete answer
    ├── RateLimited            upstream_rate_limited   429, or the same said inside the stream
    ├── UpstreamFault          upstream_error          5xx, or the same said inside the stream
    │   └── UpstreamGarbage                            what came back is not what was asked for
    ├── Unreachable            upstream_unreachable    no connection, or none that answered
    ├── Stalled                upstream_stalled        connected and silent for too long
    ├── Truncated              upstream_truncated      the body ended without a finish_reason
    ├── Rejected               upstream_rejected       a 4xx, or the same said inside the stream:
    │                                                  the same request will fail again
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

from tickertape.broker.errors import TooLong


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
    """Why an attempt failed.

    `retry_after_s` is what the upstream asked for, if it did; `may_differ` says whether the next
    call of the upstream may well go otherwise.
    """

    code: FailureCode
    message: str
    retry_after_s: float | None = None
    may_differ: bool = True

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
    may_differ: bool = True

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        may_differ: bool | None = None,
    ) -> None:
        if may_differ is not None:
            self.may_differ = may_differ
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

    may_differ = False


class Unreachable(UpstreamError):
    """The upstream cannot be reached."""

    code = FailureCode.UNREACHABLE


class NoModelList(UpstreamError):
    """The upstream has no list of models: its address may be wrong, or it works without one."""


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
        return Failure(error.code, error.message, error.retry_after_s, error.may_differ)
    if isinstance(error, TooLong):
        return Failure(FailureCode.TOO_LONG, str(error))
    return Failure(FailureCode.INTERNAL, f"The worker failed ({type(error).__name__}).")


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
