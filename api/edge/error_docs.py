"""Pure: how the OpenAPI document describes the errors of a route."""

from pydantic import BaseModel, Field

from tickertape.runtime.json_types import JsonObject

_DESCRIPTIONS = {
    400: "A field is invalid; `param` names it",
    401: "The API key is missing or unknown",
    404: "The object does not exist, or belongs to another tenant",
    409: "The call conflicts with an earlier request; see `code`",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests of the tenant are waiting or running; see `Retry-After`",
    503: "Temporarily unavailable; see `Retry-After`",
}


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
    form: JsonObject = (
        {"content": {"text/plain": {"schema": {"type": "string"}}}}
        if as_text
        else {"model": ErrorBody}
    )
    documented: dict[int | str, JsonObject] = {
        status: {**form, "description": _DESCRIPTIONS[status]} for status in statuses
    }
    # Without a default, FastAPI would document its own form of errors.
    return {**documented, "default": {**form, "description": "Any other error"}}
