"""Recognizes the caller of each call before its body is read.

Without keys the API is open, all callers are one tenant, and the guards accept calls from this
machine only.
"""

from collections.abc import Callable

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.caller import ALL_SCOPES, Authenticator, Call, Caller
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.listed_keys import CurrentKeys
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import needed_scope

OPEN_TENANT = "public"


class ListedKeys:
    """The authenticator for the keys that an operator lists."""

    def __init__(self, keys: CurrentKeys) -> None:
        self._keys = keys

    async def __call__(self, call: Call) -> Caller:
        """The caller by its key; raises Problem 401."""
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthorized("An API key is required: send it as `Authorization: Bearer <key>`.")
        keys = self._keys()
        caller = keys.find(key.strip())
        if caller is None:
            raise unauthorized(
                "This is the hash of an API key: send the key itself. (A key that is itself 64 hex "
                "digits has to be listed by its SHA-256.)"
                if keys.lists_as_hash(key.strip())
                else "This API key is unknown."
            )
        return caller


async def everyone(call: Call) -> Caller:
    """The authenticator of an open API: all callers are one tenant."""
    del call
    return Caller(tenant=OPEN_TENANT)


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
                scope.setdefault("state", {})["caller"] = await self._caller(scope)
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


def unauthorized(message: str) -> Problem:
    """The refusal of an unknown caller."""
    return Problem(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
