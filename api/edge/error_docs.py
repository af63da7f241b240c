"""Pure: how the OpenAPI document describes the errors of a route."""

from pydantic import BaseModel, Field

from tickertape.api.edge.problems import Problem
from tickertape.runtime.json_types import JsonObject

_DESCRIPTIONS = {
    400: "A field is invalid; `param` names it",
    401: "The API key is missing or unknown",
    403: "The server has no API keys, and the call comes from elsewhere; see `code`",
    404: "The object does not exist, or belongs to another tenant",
    409: "The call conflicts with an earlier request; see `code`",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "A limit of the tenant or of the user is reached; see `Retry-After`",
    503: "Temporarily unavailable; see `Retry-After`",
}


# What a caller gets for a typical mistake. A test compares them with the server's answers.
_EXAMPLES = {
    400: Problem(
        400,
        "invalid_value",
        "temperature: Input should be less than or equal to 2",
        param="temperature",
    ),
    401: Problem(401, "invalid_api_key", "This API key is unknown."),
    403: Problem(
        403,
        "forbidden_host",
        "Without API keys this server accepts only loopback names, such as localhost; "
        "set TICKERTAPE_API_KEYS, or use --open.",
    ),
    404: Problem(404, "not_found", "There is no such request (it may have expired)."),
    409: Problem(409, "conversation_busy", "The conversation has an active request."),
    413: Problem(413, "body_too_large", "The body is larger than 20971520 bytes."),
    415: Problem(415, "unsupported_media_type", "Send JSON, and `Content-Type: application/json`."),
    429: Problem(
        429,
        "rate_limit_exceeded",
        "The limit concurrent (5) is reached: so many requests wait or run."
        " Try again when one of them has ended.",
    ),
    503: Problem(503, "unavailable", "The queue cannot be reached at the moment."),
}
_DEFECT = Problem(500, "internal", "Internal server error. It has been logged.")


class ErrorDetail(BaseModel):
    """The details of an error: a message for people, and codes for programs."""

    message: str = Field(examples=["temperature: Input should be less than or equal to 2"])
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(examples=["temperature"])
    code: str | None = Field(examples=["invalid_value"])


class ErrorBody(BaseModel):
    """An error of this API, in the form of OpenAI's errors."""

    error: ErrorDetail


def error_responses(*statuses: int, as_text: bool = False) -> dict[int | str, JsonObject]:
    """The `responses` of a route that may answer with these statuses, and with any other error.

    `as_text` is for routes whose errors are plain text; see ErrorForm.
    """
    documented: dict[int | str, JsonObject] = {
        status: _response(_EXAMPLES[status], _DESCRIPTIONS[status], as_text=as_text)
        for status in statuses
    }
    # Without a default, FastAPI would document its own form of errors.
    default = _response(_DEFECT, "Any other error", as_text=as_text)
    return {**documented, "default": default}


def _response(example: Problem, description: str, *, as_text: bool) -> JsonObject:
    if as_text:
        text = {"schema": {"type": "string"}, "example": example.message}
        return {"description": description, "content": {"text/plain": text}}
    content = {"application/json": {"example": example.body()}}
    return {"description": description, "model": ErrorBody, "content": content}
