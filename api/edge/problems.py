"""What a caller is told when a call is refused or fails: the one table from errors to answers.

Owns the error shape of every path. Messages never repeat what was sent, beyond the names of fields:
bodies hold prompts, headers hold keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tickertape.api.failure_log import note_failure
from tickertape.broker import errors
from tickertape.roles import RoleNotFound, UnknownVariable

log = structlog.get_logger("api")

# Clients of these paths show the body of an error to a person, as it is.
_TEXT_PREFIX = "/api/"
_OPENAI_PREFIX = "/v1/"
_MAX_PARAM_CHARS = 200


class Problem(HTTPException):
    """An answer that is an error; raise it anywhere below a route, or while a body is read.

    An HTTPException, since FastAPI takes any other error in the middle of a body for bad JSON.
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
        """The class of error, in OpenAI's words."""
        return error_type(self.status_code)

    def body(self) -> dict[str, Any]:
        """The JSON of native and `/v1` paths."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


class ErrorDetail(BaseModel):
    """What went wrong, for a person and for a program."""

    message: str = Field(examples=["temperature: Input should be less than or equal to 2"])
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(examples=["temperature"])
    code: str | None = Field(examples=["invalid_value"])


class ErrorBody(BaseModel):
    """Every error of this API, in the shape of OpenAI's."""

    error: ErrorDetail


@dataclass(frozen=True)
class _Rule:
    status: int
    code: str
    message: str | None = None
    param: str | None = None
    retry_after_s: int | None = None
    # OpenAI's SDK repeats a call that got a 409, and a conflict would only be repeated.
    openai_status: int | None = None


_RULES: dict[type[Exception], _Rule] = {
    errors.IdempotencyConflict: _Rule(409, "idempotency_conflict", openai_status=400),
    errors.ConversationBusy: _Rule(409, "conversation_busy", openai_status=400),
    errors.QueueFull: _Rule(503, "queue_full", retry_after_s=5),
    errors.TenantLimitReached: _Rule(429, "rate_limit_exceeded", retry_after_s=2),
    errors.Unavailable: _Rule(
        503, "unavailable", "The queue cannot be reached at the moment.", retry_after_s=1
    ),
    errors.AccessDenied: _Rule(
        503,
        "unavailable",
        "The queue denies this server a right that it needs; /readyz names it.",
        retry_after_s=5,
    ),
    errors.RequestMissing: _Rule(404, "not_found"),
    errors.NotFinished: _Rule(409, "not_finished"),
    errors.CursorMalformed: _Rule(400, "invalid_cursor", param="after"),
    RoleNotFound: _Rule(404, "role_not_found", param="role"),
    UnknownVariable: _Rule(400, "invalid_value", param="variables"),
}
_HTTP_CODES = {
    400: ("invalid_body", "The body could not be read as JSON."),
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not take this method."),
}
_DESCRIPTIONS = {
    400: "A field is wrong; `param` names it",
    401: "The API key is missing or unknown",
    404: "There is nothing of this name that you may see",
    409: "It conflicts with an earlier request; `code` says how",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "You have too many requests waiting or running; see `Retry-After`",
    503: "Not at the moment; see `Retry-After`",
}
_INTERNAL = Problem(500, "internal", "The server failed at this; the failure was noted.")


def problem_of(error: Exception, path: str) -> Problem:
    """The answer for an error; what no rule knows is a defect of ours: noted, and told as 500."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _problem_of_validation(error)
        case HTTPException():
            return _problem_of_http(error)
    rule = next((_RULES[kind] for kind in type(error).__mro__ if kind in _RULES), None)
    if rule is None:
        note_failure(error, "request failed", path=path)
        return _INTERNAL
    if isinstance(error, errors.AccessDenied):
        log.warning("Redis denies access", path=path, reason=str(error))
    status = rule.openai_status if path.startswith(_OPENAI_PREFIX) else None
    headers = {"Retry-After": str(rule.retry_after_s)} if rule.retry_after_s else None
    message = rule.message or str(error)
    return Problem(status or rule.status, rule.code, message, param=rule.param, headers=headers)


def respond(problem: Problem, path: str) -> Response:
    """The response in the shape that this path's clients read."""
    if path.startswith(_TEXT_PREFIX):
        return PlainTextResponse(problem.message, problem.status_code, problem.headers)
    return JSONResponse(problem.body(), problem.status_code, problem.headers)


def handle_problems(app: FastAPI) -> None:
    """Give every error that a route can raise its answer."""
    of_roles = (RoleNotFound, UnknownVariable)
    for kind in (errors.BrokerError, *of_roles, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)


def error_responses(*statuses: int, as_text: bool = False) -> dict[int | str, dict[str, Any]]:
    """What the documentation says of a route's errors. All others have the same shape."""
    shape: dict[str, Any] = (
        {"content": {"text/plain": {"schema": {"type": "string"}}}}
        if as_text
        else {"model": ErrorBody}
    )
    said: dict[int | str, dict[str, Any]] = {
        status: {**shape, "description": _DESCRIPTIONS[status]} for status in statuses
    }
    # Without this one FastAPI would document errors of its own shape.
    return {**said, "default": {**shape, "description": "Any other error"}}


async def _answer(request: Request, error: Exception) -> Response:
    path = request.scope["path"]
    problem = problem_of(error, path)
    if problem.status_code == 405:
        problem.headers = {"Allow": ", ".join(_methods_at(request))}
    return respond(problem, path)


def _methods_at(request: Request) -> list[str]:
    """The router itself names the methods of the first route it meets; a path may have several."""
    routes = request.app.router.routes
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]


def _problem_of_http(error: HTTPException) -> Problem:
    code, message = _HTTP_CODES.get(error.status_code, ("refused", "The call was refused."))
    return Problem(error.status_code, code, message, headers=error.headers)


def _problem_of_validation(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    kind, (place, *steps) = str(first["type"]), first["loc"]
    if place != "body":
        param = ".".join(map(str, steps))
        return Problem(400, "invalid_value", f"{param}: {_text(first)}", param=param)
    if kind == "json_invalid":
        where = f"{first['ctx']['error']} at character {steps[0]}"
        return Problem(400, "invalid_json", f"The body is not valid JSON: {where}.")
    if not steps:
        return Problem(400, "invalid_body", "The body has to be a JSON object.")
    param = field_path(steps, error.body)
    code = {"missing": "missing_field", "extra_forbidden": "unknown_field"}
    return Problem(400, code.get(kind, "invalid_value"), f"{param}: {_text(first)}", param=param)


def _text(first: Mapping[str, Any]) -> str:
    if first["type"] == "extra_forbidden":
        return "Unknown field"
    return str(first["msg"]).removeprefix("Value error, ")


def field_path(steps: Sequence[str | int], body: Any) -> str:
    """Name a field as its caller would: `messages[3].content`.

    Pydantic's own location also names the branches of unions, which the caller never wrote: a step
    that does not lead on in the body is left out, unless it is a field missing at the end.
    """
    known: list[str | int] = []
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        if isinstance(body, list) and isinstance(step, int):
            known.append(step)
            body = body[step]
        elif isinstance(body, dict) and (step in body or is_last):
            known.append(step)
            body = body.get(step)
    return join_path(known)


def join_path(steps: Sequence[str | int]) -> str:
    """The steps as one text, cut where a stranger made it long."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path[:_MAX_PARAM_CHARS]


def error_type(status: int) -> str:
    """The class of an error, in OpenAI's words."""
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
