"""The one table from exceptions to the errors that callers get."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tickertape.api.edge.error_forms import ErrorForm
from tickertape.api.edge.field_paths import field_path
from tickertape.api.edge.problems import Problem
from tickertape.api.failure_log import log_failure
from tickertape.broker import errors
from tickertape.roles import RoleNotFound, UnknownVariable

logger = structlog.get_logger("api")


@dataclass(frozen=True)
class _Rule:
    status: int
    code: str
    message: str | None = None
    param: str | None = None
    retry_after_s: int | None = None
    # OpenAI's SDK retries a call after a 409, which a conflict does not resolve.
    openai_status: int | None = None


_RULES: dict[type[Exception], _Rule] = {
    errors.IdempotencyConflict: _Rule(409, "idempotency_conflict", openai_status=400),
    errors.ConversationBusy: _Rule(409, "conversation_busy", openai_status=400),
    errors.QueueFull: _Rule(503, "queue_full", retry_after_s=5),
    errors.TenantLimitReached: _Rule(429, "rate_limit_exceeded", retry_after_s=2),
    errors.RateReached: _Rule(429, "rate_limit_exceeded"),
    errors.KeptBytesReached: _Rule(429, "rate_limit_exceeded"),
    errors.Unavailable: _Rule(
        503, "unavailable", "The queue cannot be reached at the moment.", retry_after_s=1
    ),
    errors.TooManyLargeLogs: _Rule(
        503,
        "too_many_large_logs",
        "This process holds as many large logs as it may. Try again when others have been read.",
        retry_after_s=5,
    ),
    errors.AccessDenied: _Rule(
        503,
        "unavailable",
        "The queue denies this server a right that it needs; /readyz names it.",
        retry_after_s=5,
    ),
    errors.RequestMissing: _Rule(404, "not_found"),
    errors.ParentMissing: _Rule(400, "invalid_value", param="parent_id"),
    errors.NotFinished: _Rule(409, "not_finished"),
    errors.CursorMalformed: _Rule(400, "invalid_cursor", param="after"),
    RoleNotFound: _Rule(404, "role_not_found", param="role"),
    UnknownVariable: _Rule(400, "invalid_value", param="variables"),
}
HANDLED = (
    errors.BrokerError,
    RoleNotFound,
    UnknownVariable,
    HTTPException,
    RequestValidationError,
)
"""The exceptions that a route may raise on purpose. Any other one is a defect."""
_HTTP_CODES = {
    400: ("invalid_body", "The body could not be read as JSON."),
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not support this method."),
}


def problem_of(error: Exception, path: str, form: ErrorForm) -> Problem:
    """The error that the caller gets for an exception.

    An exception without a rule is a defect. It is logged, and the caller gets a 500.
    """
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return problem_of_validation(error)
        case HTTPException():
            return _problem_of_http(error)
    rule = next((_RULES[kind] for kind in type(error).__mro__ if kind in _RULES), None)
    if rule is None:
        log_failure(error, "request failed", path=path)
        return Problem(500, "internal", "Internal server error. It has been logged.")
    if isinstance(error, errors.AccessDenied):
        logger.warning("Redis denies access", path=path, reason=str(error))
    status = rule.openai_status if form is ErrorForm.OPENAI else None
    headers = {"Retry-After": str(rule.retry_after_s)} if rule.retry_after_s else None
    if isinstance(error, errors.RateReached | errors.KeptBytesReached) and error.wait_ms:
        headers = {"Retry-After": str(-(-error.wait_ms // 1000))}
    message = rule.message or str(error)
    return Problem(status or rule.status, rule.code, message, param=rule.param, headers=headers)


def _problem_of_http(error: HTTPException) -> Problem:
    code, message = _HTTP_CODES.get(error.status_code, ("refused", "The call was refused."))
    return Problem(error.status_code, code, message, headers=error.headers)


def problem_of_validation(error: RequestValidationError) -> Problem:
    """The error that names the first field at fault."""
    first = error.errors()[0]
    kind, (holder, *steps) = str(first["type"]), first["loc"]
    if holder != "body":
        param = ".".join(map(str, steps))
        return Problem(400, "invalid_value", f"{param}: {_text(first)}", param=param)
    if kind == "json_invalid":
        where = f"{first['ctx']['error']} at character {steps[0]}"
        return Problem(400, "invalid_json", f"The body is not valid JSON: {where}.")
    # A rule about several fields names the one to report: see checked.field_error.
    param = first.get("ctx", {}).get("param") or field_path(steps, error.body)
    if not steps and not param and kind == "too_long":
        return Problem(400, "invalid_value", f"body: {_text(first)}")
    if not steps and not param:
        return Problem(400, "invalid_body", "The body has to be a JSON object.")
    code = {"missing": "missing_field", "extra_forbidden": "unknown_field"}
    return Problem(400, code.get(kind, "invalid_value"), f"{param}: {_text(first)}", param=param)


def _text(first: Mapping[str, object]) -> str:
    if first["type"] == "extra_forbidden":
        return "Unknown field"
    return str(first["msg"]).removeprefix("Value error, ")
