"""What protects an API without keys, which serves whoever reaches it.

Such an API listens on loopback only. Calls of others can still arrive there: by a web page in a
browser on this machine, and by a proxy that someone put in front.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.heads import header_of
from tickertape.api.edge.host_names import is_loopback_name
from tickertape.api.edge.operator_port import is_operator
from tickertape.api.edge.problems import Problem

HOW_TO_OPEN = "set TICKERTAPE_API_KEYS, or use --open."
_OF_PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip"})
_OF_PROXIES_PREFIX = b"x-forwarded-"
_OF_BROWSERS = frozenset({b"origin", b"sec-fetch-site"})
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_FROM_OUR_PAGE = frozenset({"same-origin", "none"})


class OpenApi:
    """Refuses calls of other machines and of other sites' pages, as long as the API `is_open`.

    `serves_all` states that the operator wants calls of other machines. `origins` are those whose
    pages may call.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        is_open: Callable[[], bool],
        serves_all: bool,
        origins: tuple[str, ...],
    ) -> None:
        self._app = app
        self._forms = forms
        self._is_open = is_open
        self._serves_all = serves_all
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_open() and not is_operator(scope):
            problem = self._refusal(scope)
            if problem is not None:
                await self._forms.respond(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        names = {name for name, _ in scope["headers"]}
        if not self._serves_all:
            if not is_loopback_name(header_of(scope, b"host") or ""):
                return forbidden_host()
            if came_through_a_proxy(names):
                return forbidden_proxy()
        if scope["method"] in _HARMLESS or names.isdisjoint(_OF_BROWSERS):
            return None
        is_foreign = is_of_another_site(Headers(scope=scope), self._origins)
        return forbidden_origin() if is_foreign else None


def came_through_a_proxy(names: set[bytes]) -> bool:
    """Whether a proxy says that the call is of another machine; `names` are those of its head."""
    return not names.isdisjoint(_OF_PROXIES) or any(
        name.startswith(_OF_PROXIES_PREFIX) for name in names
    )


def is_of_another_site(headers: Headers, origins: frozenset[str]) -> bool:
    """Whether a browser says that a page of another site makes the call.

    A page can make a browser post without a body and without asking first (CORS), and no page can
    change these headers. Other programs than browsers send none of them.
    """
    origin = headers.get("origin")
    if origin in origins:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _FROM_OUR_PAGE
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def forbidden_host() -> Problem:
    """The refusal of a Host header that is not a loopback name."""
    message = "Without API keys this server accepts only loopback names, such as localhost; "
    return Problem(403, "forbidden_host", message + HOW_TO_OPEN)


def forbidden_proxy() -> Problem:
    """The refusal of a call that came through a proxy."""
    message = "Without API keys this server accepts no calls through a proxy; "
    return Problem(403, "forbidden_proxy", message + HOW_TO_OPEN)


def forbidden_origin() -> Problem:
    """The refusal of a page that is neither ours nor of an allowed origin."""
    message = (
        "Pages of other origins may not call this server; TICKERTAPE_CORS_ORIGINS allows some."
    )
    return Problem(403, "forbidden_origin", message)
