"""Has the caller of each call recognized before its body is read."""

from collections.abc import Callable
from functools import partial

from starlette.status import HTTP_401_UNAUTHORIZED
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.audit import Audit, AuditedCall
from tickertape.api.edge.caller import (
    ALL_SCOPES,
    Authenticator,
    Call,
    Caller,
    Unrecognized,
    other_object,
)
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.failed_tries import TOO_MANY_TRIES
from tickertape.api.edge.operator_port import OPERATOR, is_operator
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import needed_scope
from tickertape.api.fanout.permit import set_permit
from tickertape.api.fanout.steps import set_steps
from tickertape.api.request_log import note_call
from tickertape.runtime.fair_steps import FairSteps


class Authentication:
    """Puts the caller of a call into `scope["state"]["caller"]`, or answers 401 or 403.

    A path that `is_public` needs no caller, and gets None. The operator port needs no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        authenticator: Authenticator,
        is_public: Callable[[str], bool],
        audit: Audit | None = None,
        on_unrecognized: Callable[[str], None],
    ) -> None:
        self._on_unrecognized = on_unrecognized
        self._app = app
        self._forms = forms
        self._authenticator = authenticator
        self._is_public = is_public
        self._audit = audit
        self._steps = FairSteps()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._is_public(scope["path"]) or is_operator(scope):
            scope.setdefault("state", {})["caller"] = OPERATOR if is_operator(scope) else None
            await self._app(scope, receive, send)
        elif self._audit is None:
            await self._let_in(scope, receive, send, None)
        else:
            audited = self._audit.watch(scope, send)
            try:
                await self._let_in(scope, receive, audited.send, audited)
            finally:
                audited.write()

    async def _let_in(
        self, scope: Scope, receive: Receive, send: Send, audited: AuditedCall | None
    ) -> None:
        try:
            caller = await self._authenticator(Call(scope))
            if audited is not None:
                audited.caller = caller
            _check(caller, scope)
        except Problem as problem:
            is_try = isinstance(problem, Unrecognized)
            if is_try or problem.code == TOO_MANY_TRIES:
                self._on_unrecognized(problem.code)
            elif problem.status_code == HTTP_401_UNAUTHORIZED:
                self._on_unrecognized("no_key")
            if audited is not None and audited.caller is None and not is_try:
                # Strangers without a key could fill the disk. Wrong tries are slowed.
                audited.leave_out()
            await self._forms.respond(problem, scope["path"])(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        note_call(scope, caller.tenant)
        set_permit(scope, caller.permit)
        run = partial(self._steps.run, caller.tenant)
        set_steps(scope, run)
        await run(self._app(scope, receive, send))


def _check(caller: Caller, scope: Scope) -> None:
    if caller.only is not None and not caller.only.allows(scope["method"], scope["path"]):
        raise other_object()
    if caller.scopes is not ALL_SCOPES:
        caller.require(needed_scope(scope["method"], scope["path"]))
