"""Tickertape inside a FastAPI application of one's own.

The host application keeps its middleware, its documents and its own way to recognize callers. What
is mounted is a whole app behind one path: its guards, error forms and routes are those of
`tickertape api`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Annotated, TypeAlias

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.app import create_app, public_paths
from tickertape.api.edge.caller import Call, Caller
from tickertape.api.edge.problems import Problem
from tickertape.api.merged_documents import document_in
from tickertape.api.services import Services
from tickertape.broker.principals import OPEN_TENANT, is_tenant_name
from tickertape.roles import Roles
from tickertape.runtime.environment import load_settings
from tickertape.runtime.logs import join_host
from tickertape.runtime.setting_addresses import checked_root_path

logger = structlog.get_logger("api")

HostAuth: TypeAlias = Callable[..., object]
"""A dependency of the host: it returns a Caller, the id of a user, or None for a stranger."""

_Handler: TypeAlias = Callable[[int, FrameType | None], object]

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# What the host's scope says of the host's own route.
_OF_HOST = frozenset({"app", "router", "route", "endpoint", "path_params"})
_TENANT_FORM = "use 1 to 64 letters, digits, `_`, `.` and `-` for its name"
_recognized: ContextVar[object] = ContextVar("_recognized", default=None)


def mount(
    app: FastAPI,
    path: str = "/llm",
    *,
    auth: HostAuth | None = None,
    settings: Mapping[str, object] | None = None,
    roles: Roles | None = None,
    tenant: str = OPEN_TENANT,
    documented: bool = False,
) -> None:
    """Serve Tickertape below `path` of a host application; see `router`.

    With `documented`, the OpenAPI document of the host has the calls from now on.
    """
    _refuse_other_forms(path)
    inner = _inner_app(path, auth, settings, roles, tenant)
    if documented:
        document_in(app, inner, path, auth)
    app.include_router(router_of(inner, path, auth))


def router(
    prefix: str = "/llm",
    *,
    auth: HostAuth | None = None,
    settings: Mapping[str, object] | None = None,
    roles: Roles | None = None,
    tenant: str = OPEN_TENANT,
    documented: bool = False,
) -> APIRouter:
    """What serves Tickertape below `prefix`, for `app.include_router(tickertape.router("/llm"))`.

    `auth` is a dependency of the host, with any parameters. It returns a `Caller`, or the id of a
    user of `tenant`, or None for a stranger, whose call is answered by 401. The host answers what
    it raises. Without `auth`, callers use the keys of the settings. The page, its files and the
    probes need no caller. `settings` are laid over the environment, under the names of the
    variables: `{"REDIS_URL": "redis://localhost:6379"}`.

    The host's lifespan opens and closes the connections to Redis. When the process gets a stop
    signal, streams that clients resume end at once, and others after `TICKERTAPE_DRAIN_S`. Events
    are logged by the host's `logging`, below the name `tickertape`. With `documented`, the OpenAPI
    document of the host has the calls, too, as soon as its lifespan has begun.

    Raises SettingsInvalid, RolesInvalid, and ValueError for a prefix or a tenant in another form.
    """
    _refuse_other_forms(prefix)
    inner = _inner_app(prefix, auth, settings, roles, tenant)
    return router_of(inner, prefix, auth, documented=documented)


def _refuse_other_forms(prefix: str) -> None:
    problem = "it begins with a slash and ends without one, as /llm"
    try:
        if prefix and checked_root_path(prefix) == prefix:
            return
    except ValueError as error:
        problem = str(error)
    message = f"the prefix is {prefix!r}: {problem}"
    raise ValueError(message)


def _inner_app(
    prefix: str,
    auth: HostAuth | None,
    settings: Mapping[str, object] | None,
    roles: Roles | None,
    tenant: str,
) -> FastAPI:
    inner = create_app(
        load_settings({"TICKERTAPE_ROOT_PATH": prefix, **(settings or {})}),
        roles=roles,
        on_fatal=_log_fatal,
        authenticator=None if auth is None else _HostCallers(tenant),
    )
    join_host()
    return inner


def router_of(
    inner: FastAPI, prefix: str, auth: HostAuth | None, *, documented: bool = False
) -> APIRouter:
    """What serves an app of `create_app`, whose settings have this prefix as the root path."""

    @asynccontextmanager
    async def lifespan(host: FastAPI) -> AsyncIterator[None]:
        if documented:
            document_in(host, inner, prefix, auth)
        async with _running(inner):
            yield

    outer = APIRouter(lifespan=lifespan)

    async def enter(request: Request) -> Response:
        _require_lifespan(inner, prefix)
        return _Inner(inner, request.scope, prefix)

    async def enter_as(
        request: Request, caller: Annotated[object, Depends(auth or _nobody)]
    ) -> Response:
        _require_lifespan(inner, prefix)
        return _Inner(inner, request.scope, prefix, caller)

    for path in ("", *sorted(public_paths())):
        outer.add_api_route(prefix + path, enter, methods=_METHODS, include_in_schema=False)
    path = prefix + "/{path:path}"
    outer.add_api_route(path, enter_as, methods=_METHODS, include_in_schema=False)
    return outer


def _require_lifespan(inner: FastAPI, prefix: str) -> None:
    """Raise Problem 500 if the mounted app was never opened, as below `app.mount` of Starlette."""
    if hasattr(inner.state, "services"):
        return
    logger.error(
        "the lifespan of the host has not begun",
        prefix=prefix,
        fix="let the outer application run the lifespan of the application that has this mount",
    )
    raise Problem(500, "internal_error", "The application here was mounted without its lifespan.")


def _nobody() -> None:
    """The mounted app asks for a key of its own."""


def _log_fatal(reason: str) -> None:
    """A host goes on, without what is mounted: the calls of that are refused from now on."""
    logger.error("giving up", reason=reason)


def _path_in_host(scope: Scope) -> str:
    """The path without what a server or an outer application has put in front of it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path


class _HostCallers:
    """The authenticator of a mounted app, whose callers the host has recognized."""

    def __init__(self, tenant: str) -> None:
        if not is_tenant_name(tenant):
            message = f"the tenant is {tenant!r}: {_TENANT_FORM}"
            raise ValueError(message)
        self._tenant = tenant

    async def __call__(self, call: Call) -> Caller:
        """The caller of the call that this task answers."""
        del call
        found = _recognized.get()
        if isinstance(found, Caller) and is_tenant_name(found.tenant):
            return found
        if isinstance(found, str) and found:
            return Caller(tenant=self._tenant, user=found)
        if not found:
            raise Problem(401, "unauthenticated", "Sign in first: this call needs a user.")
        logger.error(
            "the host's auth returned no caller",
            returned=type(found).__name__,
            fix="return the id of the user as a string, or a tickertape.Caller with a tenant:"
            f" {_TENANT_FORM}",
        )
        raise Problem(500, "internal_error", "The server cannot tell who makes this call.")


class _Inner(Response):
    """The answer of a mounted app to a call that the host has routed here."""

    def __init__(self, app: FastAPI, scope: Scope, prefix: str, caller: object = None) -> None:
        super().__init__()
        self._app: ASGIApp = app
        self._caller = caller
        # A call of the prefix itself is redirected to the page, with the path that callers know.
        root: str = app.state.settings.root_path
        self._path = _path_in_host(scope).partition(prefix)[2] or root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer. For the app, the path begins behind the prefix."""
        inner = {name: value for name, value in scope.items() if name not in _OF_HOST}
        inner |= {"path": self._path, "root_path": "", "state": dict(scope.get("state", {}))}
        token = _recognized.set(self._caller)
        try:
            await self._app(inner, receive, send)
        finally:
            _recognized.reset(token)


@asynccontextmanager
async def _running(inner: FastAPI) -> AsyncIterator[None]:
    """Run the mounted app as long as the host."""
    async with inner.router.lifespan_context(inner):
        services: Services = inner.state.services
        with _parting_at_signals(services):
            yield


@contextmanager
def _parting_at_signals(services: Services) -> Iterator[None]:
    """End streams when the process is to stop: a server that waits for them would wait for good.

    The handlers of the server are called as well. A loop outside of the main thread gets no
    signals, and its host has to cancel what is open.
    """
    loop = asyncio.get_running_loop()

    def part() -> None:
        services.streams.part()
        loop.call_later(services.settings.drain_s, services.streams.drain)

    former = {}
    for number in _STOP_SIGNALS:
        handler = signal.getsignal(number)
        if not callable(handler):
            continue

        def stop(number: int, frame: FrameType | None, handler: _Handler = handler) -> None:
            loop.call_soon_threadsafe(part)
            handler(number, frame)

        try:
            signal.signal(number, stop)
        except ValueError:  # not the main thread
            break
        former[number] = (stop, handler)
    try:
        yield
    finally:
        for number, (stop, handler) in former.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)
