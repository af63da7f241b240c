"""The outermost guard: what the proxies in front did to a call, and the headers of every answer."""

import itertools
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickertape.runtime.networks import Networks, address_of, is_in, networks_of
from tickertape.runtime.settings import Settings


def headers_of_answers(settings: Settings) -> dict[str, str]:
    """The headers of each answer that does not set them itself."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    if settings.hsts_s:
        headers["Strict-Transport-Security"] = f"max-age={settings.hsts_s}"
    return headers


class Front:
    """Finds the client's address behind trusted proxies, and takes the root path off."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._proxies = networks_of(settings.trusted_proxies)
        self._root = settings.root_path
        self._headers = [
            (name.lower().encode(), value.encode())
            for name, value in headers_of_answers(settings).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", ())]
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [
                    header for header in self._headers if header[0] not in names
                ]
            await send(message)

        if self._proxies and scope.get("client"):
            near, port = scope["client"]
            scope["client"] = (client_address(near, Headers(scope=scope), self._proxies), port)
        if self._root and scope["path"] == self._root:
            # The page's links are relative, and would miss the root path without the slash.
            answer = RedirectResponse(f"{self._root}/", 307)
            await answer(scope, receive, send_with_headers)
            return
        if self._root and scope["path"].startswith(f"{self._root}/"):
            scope["path"] = scope["path"].removeprefix(self._root)
        await self._app(scope, receive, send_with_headers)


def client_address(near: str, headers: Headers, proxies: Networks) -> str:
    """Pure: the last address on the way of a call that is not one of the proxies.

    `near` is the address of the connection. Each proxy adds the address of its own caller at the
    right, so what stands further left may be invented. `Forwarded` counts without
    `X-Forwarded-For` only.
    """
    farther = _listed(headers.getlist("x-forwarded-for")) or _forwarded(
        headers.getlist("forwarded")
    )
    found = near
    for text in itertools.chain([near], reversed(farther)):
        address = address_of(text)
        if address is None:
            break
        found = str(address)
        if not is_in(address, proxies):
            break
    return found


def _listed(values: Iterable[str]) -> list[str]:
    return [_bare(item) for value in values for item in value.split(",")]


def _forwarded(values: Iterable[str]) -> list[str]:
    found = []
    for element in (item for value in values for item in value.split(",")):
        pairs = (pair.partition("=") for pair in element.split(";"))
        named = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        found.append(_bare(named.get("for", "")))
    return found


def _bare(text: str) -> str:
    """An address without its port and brackets."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
