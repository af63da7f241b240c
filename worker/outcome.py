"""How an attempt ended, as values that a job decides by."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tickertape.broker.errors import TooLong
from tickertape.worker.failures import Failure, FailureCode
from tickertape.worker.upstream.errors import UpstreamError

_CANNOT_CONTINUE = Failure(
    FailureCode.INTERRUPTED, "The answer was cut off and this upstream cannot continue it."
)


@dataclass(frozen=True)
class Completed:
    """The upstream's answer is complete."""


@dataclass(frozen=True)
class Broken:
    """The upstream's answer is not complete. The retry rule decides what follows."""

    failure: Failure


@dataclass(frozen=True)
class Failed:
    """The request cannot be completed, whatever its policy is."""

    failure: Failure


@dataclass(frozen=True)
class NotContinuable:
    """The upstream cannot go on from the output that this attempt was to continue."""

    failure: Failure = _CANNOT_CONTINUE


class Stop(Enum):
    """Why an attempt stopped before its end was written."""

    FENCED = "another attempt has begun, or the request has ended: nothing may be written"
    DRAINED = "this worker stops: the request goes back to the queue"
    LOG_LOST = "the log is not what this attempt has written: its ids must not be used again"
    LOG_FULL = "the log has reached its bound of entries or bytes"


Outcome: TypeAlias = Completed | Broken | Failed | NotContinuable | Stop


def failure_of(error: Exception) -> Failure:
    """The failure to record for an exception that ended an attempt.

    An unexpected exception becomes `internal`. Its failure names only the exception's type, because
    the text may quote a prompt.
    """
    if isinstance(error, UpstreamError):
        return Failure(
            error.code,
            error.message,
            error.retry_after_s,
            error.may_differ,
            error.problem,
            error.detail,
            counts=error.counts,
        )
    if isinstance(error, TooLong):
        return Failure(FailureCode.TOO_LONG, str(error))
    return Failure(FailureCode.INTERNAL, f"The worker failed ({type(error).__name__}).")
