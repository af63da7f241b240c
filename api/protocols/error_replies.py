"""Pure: the error for an answer that was not completed, in OpenAI's form."""

from typing import NamedTuple

from tickertape.api.edge.problems import error_type
from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject


class ErrorReply(NamedTuple):
    """An error: an HTTP status before a stream has begun, an event afterwards."""

    status: int
    code: str
    message: str

    def body(self) -> JsonObject:
        """The JSON of the error, as an HTTP body and as an event."""
        error = {"message": self.message, "type": error_type(self.status)}
        return {"error": {**error, "param": None, "code": self.code}}


_STATUSES = {
    "upstream_rate_limited": 429,
    "upstream_rejected": 400,
    "upstream_error": 502,
    "upstream_truncated": 502,
    "upstream_unreachable": 503,
    "upstream_stalled": 504,
    "deadline": 504,
    "interrupted": 503,
    "too_long": 400,
}
# The codes of errors that say nothing about the request: a repeated call may find its answer.
REPEATABLE = frozenset({"draining", "unavailable"})
# Clients compare with OpenAI's own code where there is one.
_CODES = {"upstream_rate_limited": "rate_limit_exceeded"}

STARTED_OVER = ErrorReply(
    503,
    "interrupted",
    "The answer was cut off and started over; what was sent of it is no longer valid.",
)
LOG_GONE = ErrorReply(
    500, "log_gone", "The answer no longer exists, because it was erased or has expired."
)


def error_reply(terminal: Entry) -> ErrorReply:
    """The error for a `failed` or `cancelled` entry."""
    if terminal.kind == "cancelled":
        return ErrorReply(400, "cancelled", "The request was cancelled.")
    code = str(terminal.data.get("code", "internal"))
    message = str(terminal.data.get("message", "The request failed."))
    return ErrorReply(_STATUSES.get(code, 500), _CODES.get(code, code), message)
