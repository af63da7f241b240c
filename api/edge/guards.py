"""ASGI guards in front of the routes.

A guard checks the head of a call or counts the bytes of its body. No guard delays a response.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickertape.api.edge.bound_problems import REFUSED
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.error_rules import problem_of
from tickertape.api.edge.heads import header_of
from tickertape.api.edge.problems import Problem, draining
from tickertape.api.failure_log import log_failure
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_loopback


def check_bind(host: str, *, has_keys: bool, open_to_all: bool) -> None:
    """Refuse to listen beyond loopback without keys; raises SettingsInvalid."""
    if not has_keys and not open_to_all and not is_loopback(host):
        raise SettingsInvalid(
            f"--host {host} would accept calls from everyone: "
            "set TICKERTAPE_API_KEYS, or use --open"
        )


class LastResort:
    """Answers 500 after an exception that nothing else handled, and logs it without its message.

    Once the head of the response was sent, the guard only returns. The server then breaks off the
    connection, so that a truncated response does not look complete.

    uvicorn cancels calls that outlast its grace at a shutdown, for example because they wait for
    Redis. Such a call is answered 503, so that its client retries; uvicorn itself would answer 500.
    """

    def __init__(self, app: ASGIApp, *, forms: ErrorForms) -> None:
        self._app = app
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def tracking_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, tracking_send)
        except asyncio.CancelledError:
            if not has_started:
                path = scope["path"]
                await self._forms.respond(draining(), path)(scope, receive, send)
            raise
        except Exception as error:  # noqa: BLE001  # the last resort, which logs it
            if has_started:
                log_failure(error, "request failed", path=scope["path"])
                return
            path = scope["path"]
            problem = problem_of(error, path, self._forms.of(path))
            await self._forms.respond(problem, path)(scope, receive, send)


class JsonOnly:
    """Refuses a body whose Content-Type is not JSON.

    A page of any origin can make a browser post a form or text here. Before it posts JSON, a
    browser requires this server's consent (CORS preflight).
    """

    def __init__(self, app: ASGIApp, *, forms: ErrorForms) -> None:
        self._app = app
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_json_or_nothing(scope):
            await self._app(scope, receive, send)
            return
        problem = Problem(
            415, "unsupported_media_type", "Send JSON, and `Content-Type: application/json`."
        )
        await self._forms.respond(problem, scope["path"])(scope, receive, send)


def _is_json_or_nothing(scope: Scope) -> bool:
    media_type = header_of(scope, b"content-type") or ""
    if media_type == "application/json":
        return True
    has_length = header_of(scope, b"content-length") not in {None, "0"}
    if not has_length and header_of(scope, b"transfer-encoding") is None:
        return True
    return media_type.partition(";")[0].strip().lower() == "application/json"


class BodyLimit:
    """Refuses a body larger than `limit_bytes(path)`, by its Content-Length or by its bytes.

    A body that the server does not receive further is refused for the reason in the scope.
    """

    def __init__(
        self, app: ASGIApp, *, forms: ErrorForms, limit_bytes: Callable[[str], int]
    ) -> None:
        self._app = app
        self._forms = forms
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_bytes(scope["path"])
        announced = header_of(scope, b"content-length") or "0"
        if announced.isdigit() and int(announced) > limit:
            await self._forms.respond(_too_large(limit), scope["path"])(scope, receive, send)
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            if (refusal := scope.get(REFUSED)) is not None:
                raise refusal
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counting_receive, send)


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {limit_bytes} bytes.")
