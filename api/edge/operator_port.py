"""The port of operators: metrics and the status, without a key, apart from what callers reach.

The operator decides by the address of the port who reaches it. A call is one of operators by the
socket that it arrived at, and by nothing that it says about itself.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.caller import Caller, CallScope
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.heads import header_of
from tickertape.api.edge.host_names import is_loopback_name
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import is_for_operators
from tickertape.runtime.addresses import is_loopback
from tickertape.runtime.settings import Settings

OPERATOR = Caller(tenant="operator", scopes=frozenset[CallScope]({"metrics", "admin"}))
_PROBES = frozenset({"/healthz", "/readyz"})
_STATUS_PAGE = "/status"
_OTHER_PAGES = frozenset({"/", "/docs"})
_NAME = "is_operator"


class OperatorPort:
    """Serves operators on their port only, and nobody else there, if the settings have such a port.

    `port` is the port that the process listens on for operators. With None although the settings
    have one, as in another server than ours, what is for operators is served nowhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        settings: Settings,
        port: int | None,
        is_page: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._forms = forms
        self._is_separate = settings.metrics_port is not None
        self._is_local = is_loopback(settings.metrics_host)
        self._port = port
        self._is_page = is_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_separate and scope["type"] == "http":
            is_here = self._port is not None and (scope.get("server") or ("", 0))[1] == self._port
            problem = self._refusal(scope, is_here=is_here)
            if problem is not None:
                await self._forms.respond(problem, scope["path"])(scope, receive, send)
                return
            if is_here:
                scope.setdefault("state", {})[_NAME] = True
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, *, is_here: bool) -> Problem | None:
        path = scope["path"]
        is_theirs = is_for_operators(scope["method"], path) or path == _STATUS_PAGE
        if not is_here:
            return _not_found() if is_theirs else None
        # A web page could give its own name the address of this machine.
        if self._is_local and not is_loopback_name(header_of(scope, b"host") or ""):
            message = "On the port of operators, this server accepts only loopback names."
            return Problem(403, "forbidden_host", message)
        is_file = self._is_page(path) and path not in _OTHER_PAGES
        return None if is_theirs or is_file or path in _PROBES else _not_found()


def is_operator(scope: Scope) -> bool:
    """Whether the call arrived at the port of operators."""
    return _NAME in scope.get("state", {})


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is nothing at this path.")
