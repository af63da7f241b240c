"""One line of the log for each step of a request in the API. No line holds content.

A line has the id of the request, the tenant, and the id that the caller gave its call in
`X-Request-Id` or `X-Client-Request-Id`. Streams are opened more often than requests are submitted,
so their lines have the level debug.
"""

import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar

import structlog
from starlette.types import Scope

from tickertape.runtime.fair_turns import TENANT

logger = structlog.get_logger("api")

_CALLERS_IDS = (b"x-request-id", b"x-client-request-id")
# What a log may show as it is.
_SHOWN = re.compile(rb"[!-~]{1,128}")
_CALLERS_ID: ContextVar[str | None] = ContextVar("the caller's id of the call", default=None)


def note_call(scope: Scope, tenant: str) -> None:
    """Remember whose call this is, for the lines that it causes."""
    TENANT.set(tenant)
    _CALLERS_ID.set(_callers_id(scope))


def _callers_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name in _CALLERS_IDS and _SHOWN.fullmatch(value):
            return str(value, "ascii")
    return None


def log_submitted(request_id: str, wire: str, begun_s: float, *, is_new: bool) -> None:
    """A request was accepted, `begun_s` (time.monotonic) after its body had arrived."""
    event = "submitted" if is_new else "submitted again"
    logger.info(event, request_id=request_id, wire=wire, ms=_ms_since(begun_s), **_of_call())


def log_refused(error: Exception, wire: str) -> None:
    """A submit was refused. Only the code or the type of the error is logged."""
    logger.info("submit refused", code=code_of(error), wire=wire, **_of_call())


def log_cancelled(request_id: str, status: str) -> None:
    """A caller cancelled a request, which had ended as `status` before if that is not cancelled."""
    logger.info("cancelled", request_id=request_id, status=status, **_of_call())


def log_erased(request_id: str | None = None) -> None:
    """A caller erased a request, or a whole conversation, whose name is not logged."""
    named = {"request_id": request_id} if request_id else {}
    logger.info("erased" if request_id else "conversation erased", **named, **_of_call())


def log_stream(request_id: str, wire: str, position: int) -> Callable[[], None] | None:
    """A stream was opened; call the result when it is closed. None if no such line is wanted."""
    if not logger.is_enabled_for(logging.DEBUG):
        return None
    opened_s, of_call = time.monotonic(), _of_call()
    logger.debug("stream opened", request_id=request_id, wire=wire, position=position, **of_call)

    def closed() -> None:
        ms = _ms_since(opened_s)
        logger.debug("stream closed", request_id=request_id, wire=wire, ms=ms, **of_call)

    return closed


def code_of(error: BaseException) -> str:
    """The code of a refusal, or the type of another error. Its text may have content."""
    return str(getattr(error, "code", None) or type(error).__name__)


def _ms_since(begun_s: float) -> int:
    return round(1000 * (time.monotonic() - begun_s))


def _of_call() -> dict[str, str]:
    named = {"tenant": TENANT.get() or None, "caller_request_id": _CALLERS_ID.get()}
    return {name: value for name, value in named.items() if value is not None}
