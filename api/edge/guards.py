"""Pure ASGI guards in front of the routes. Each looks at a call's head, or counts its body's bytes;
none holds back a byte of an answer.
"""

import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickertape.api.edge.problems import Problem, problem_of, respond
from tickertape.api.failure_log import note_failure
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_loopback

# host, [v6 host], each with or without a port.
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]/@]+))(?::\d{1,5})?", re.ASCII)


def check_bind(host: str, *, has_keys: bool, open_to_all: bool) -> None:
    """Refuse to serve strangers without keys; raises SettingsInvalid."""
    if not has_keys and not open_to_all and not is_loopback(host):
        raise SettingsInvalid(
            f"--host {host} would let everyone in: set TICKERTAPE_API_KEYS, or insist with --open"
        )


class LastResort:
    """Answers 500 where nothing else did, and notes the failure without its text.

    After the head of an answer is out, the connection breaks off instead: what was cut short must
    not look whole. A server does that by itself when an app returns early.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def noting_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:  # noqa: BLE001  # the last resort, which notes it
            if has_started:
                note_failure(error, "request failed", path=scope["path"])
                return
            problem = problem_of(error, scope["path"])
            await respond(problem, scope["path"])(scope, receive, send)


class LoopbackOnly:
    """Refuses calls whose Host is not this machine's own name.

    An open API is kept on loopback, but a page anywhere may point a name of its own there and then
    talk to us as its own server (DNS rebinding); its Host header gives it away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if scope["type"] != "http" or _is_ours(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        problem = Problem(
            403,
            "forbidden_host",
            "Without API keys this server answers to loopback names only, such as localhost; "
            "set TICKERTAPE_API_KEYS, or insist with --open.",
        )
        await respond(problem, scope["path"])(scope, receive, send)


def _is_ours(host: str) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and is_loopback(match[1] or match[2])


class JsonOnly:
    """Refuses bodies that do not say that they are JSON.

    Any page may make a browser post a form, or text, to us; for JSON the browser asks us first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if scope["type"] != "http" or _is_json_or_nothing(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        problem = Problem(
            415, "unsupported_media_type", "Send JSON, and `Content-Type: application/json`."
        )
        await respond(problem, scope["path"])(scope, receive, send)


def _is_json_or_nothing(headers: Headers) -> bool:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return not has_body or media_type == "application/json"


class BodyLimit:
    """Refuses bodies over `limit_bytes(path)`, announced or not; never holds more than that."""

    def __init__(self, app: ASGIApp, *, limit_bytes: Callable[[str], int]) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_bytes(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > limit:
            await respond(_too_large(limit), scope["path"])(scope, receive, send)
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counting_receive, send)


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {limit_bytes} bytes.")
