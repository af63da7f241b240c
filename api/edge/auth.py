"""Has the caller of each call recognized before its body is read."""

from collections.abc import Callable

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.caller import ALL_SCOPES, Authenticator, Call, Caller
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import needed_scope
from tickertape.api.fanout.permit import set_permit


class Authentication:
    """Puts the caller of a call into `scope["state"]["caller"]`, or answers 401 or 403.

    A path that `is_public` needs no caller, and gets None.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        authenticator: Authenticator,
        is_public: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._forms = forms
        self._authenticator = authenticator
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                caller = await self._caller(scope)
                scope.setdefault("state", {})["caller"] = caller
                set_permit(scope, None if caller is None else caller.permit)
            except Problem as problem:
                await self._forms.respond(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller | None:
        if self._is_public(scope["path"]):
            return None
        caller = await self._authenticator(_call(scope))
        if caller.scopes != ALL_SCOPES:
            caller.require(needed_scope(scope["method"], scope["path"]))
        return caller


def _call(scope: Scope) -> Call:
    client = scope.get("client")
    return Call(
        method=scope["method"],
        path=scope["path"],
        headers=Headers(scope=scope),
        query=QueryParams(scope["query_string"]),
        address=client[0] if client else "",
    )
