"""Pure: how an answer that was not completed is told, where OpenAI's words are spoken."""

from typing import Any, NamedTuple

from tickertape.broker.codec import Entry


class Told(NamedTuple):
    """An error: the HTTP status it has before a stream began, and its words after that."""

    status: int
    code: str
    message: str

    def body(self) -> dict[str, Any]:
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
# Where OpenAI has a code of its own, clients compare with that.
_CODES = {"upstream_rate_limited": "rate_limit_exceeded"}

BEGAN_ANEW = Told(
    503,
    "interrupted",
    "The answer was cut off and begun anew; what was sent of it is not valid any more.",
)
LOG_GONE = Told(500, "log_gone", "The answer is not there any more: it was erased, or it expired.")


def error_type(status: int) -> str:
    """The class of an error, in OpenAI's words."""
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"


def told(terminal: Entry) -> Told:
    """The error for a `failed` or `cancelled` entry."""
    if terminal.kind == "cancelled":
        return Told(400, "cancelled", "The request was cancelled.")
    code = str(terminal.data.get("code", "internal"))
    message = str(terminal.data.get("message", "The request failed."))
    return Told(_STATUSES.get(code, 500), _CODES.get(code, code), message)
