"""Why an attempt failed: the codes that clients see, and the failure that has one of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """The values of `failed.code`, in the log and on the native wire."""

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
    FUNCTION = "function_failed"
    INTERNAL = "internal"


# With these codes, the same request would fail again.
_FINAL = frozenset({FailureCode.REJECTED, FailureCode.TOO_LONG, FailureCode.POISON})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed.

    `retry_after_s` is the pause that the upstream asked for, if it did. `may_differ`: the next call
    of the upstream has a fair chance to succeed. `problem` says why the upstream would refuse every
    other request as well, such as a wrong key of this server. `detail` is the upstream's own text,
    which goes to this worker's log only. `is_final`: the same request would fail again, whatever
    its code says. `counts`: the failure is one of the tries that a request has.
    """

    code: FailureCode
    message: str
    retry_after_s: float | None = None
    may_differ: bool = True
    problem: str | None = None
    detail: str | None = None
    is_final: bool = False
    counts: bool = True

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code not in _FINAL and not self.is_final

    def terminal(self) -> dict[str, Any]:
        """The data of the log's `failed` entry."""
        return {"code": self.code.value, "message": self.message, "retryable": self.retryable}


class SourceFailed(Exception):
    """A source gave no complete answer, and must not be asked again for this request."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure
