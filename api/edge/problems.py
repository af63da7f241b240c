"""The error that refuses a call, in the form of OpenAI's errors."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from tickertape.runtime.json_types import JsonObject

STOPPING = "The server is about to stop."


class Problem(HTTPException):
    """An error that the caller gets as the response. Raise it in a route or while a body is read.

    Its message never repeats what the caller sent, beyond the names of fields, because bodies hold
    prompts and headers hold keys. It is an HTTPException because FastAPI reports any other error
    during the reading of a body as invalid JSON.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code
        self.message = message
        self.param = param

    @property
    def type(self) -> str:
        """The class of the error, in OpenAI's terms."""
        return error_type(self.status_code)

    def body(self) -> JsonObject:
        """The error as a JSON object."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


def draining() -> Problem:
    """The refusal of calls that this process could not answer before it stops."""
    return Problem(503, "draining", STOPPING, headers={"Retry-After": "1"})


def error_type(status: int) -> str:
    """The class of an error, in OpenAI's terms."""
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
