"""The app: the protocols, the page and the guards, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from tickertape.api import operations
from tickertape.api.edge.access import Access
from tickertape.api.edge.auth import Authentication
from tickertape.api.edge.caller import Authenticator
from tickertape.api.edge.error_forms import ErrorForm, ErrorForms
from tickertape.api.edge.error_handlers import handle_errors
from tickertape.api.edge.front import Front
from tickertape.api.edge.guards import BodyLimit, JsonOnly, LastResort
from tickertape.api.edge.listed_keys import keys_from
from tickertape.api.edge.open_api import OpenApi
from tickertape.api.edge.operator_port import OperatorPort
from tickertape.api.edge.rate_headers import RateHeaders
from tickertape.api.edge.read_limits import ReadLimits
from tickertape.api.edge.tenant_rules import TenantRulebook
from tickertape.api.hosting import Hosting
from tickertape.api.lifespan import Callers, OnFatal, Reports, running
from tickertape.api.metrics import Metrics
from tickertape.api.openapi import document_app, operation_id
from tickertape.api.page.files import ServedPage, load_page
from tickertape.api.page.routes import page_routes
from tickertape.api.protocols import (
    agui,
    ai_sdk,
    gpt_terminal,
    native,
    openai_chat,
    openai_responses,
)
from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.quick_route import QuickRoute, QuickRoutes, quick_routes
from tickertape.api.rates import RESTS, rate_headers
from tickertape.api.request_trace import TraceCalls
from tickertape.api.services import TIMING, ApiTiming
from tickertape.broker.errors import SettingsInvalid
from tickertape.roles import Roles, load_roles
from tickertape.runtime.settings import Settings

# Adding a protocol means adding its folder here: see CONTRIBUTING.md.
_PROTOCOLS = (
    native.PROTOCOL,
    openai_chat.PROTOCOL,
    openai_responses.PROTOCOL,
    ai_sdk.PROTOCOL,
    agui.PROTOCOL,
    gpt_terminal.PROTOCOL,
)
# The version of the HTTP contract, not of the program.
API_VERSION = "1"
_DOCUMENTATION_PATHS = frozenset({"/openapi.json"})
_ALONE = Hosting()
_EXPOSED_HEADERS = (
    *("X-Request-Id", "Location", "Retry-After"),
    *("x-workflow-run-id", "x-workflow-stream-tail-index"),
)


def create_app(
    settings: Settings,
    *,
    roles: Roles | None = None,
    open_to_all: bool = False,
    on_fatal: OnFatal | None = None,
    timing: ApiTiming = TIMING,
    authenticator: Authenticator | None = None,
    hosting: Hosting = _ALONE,
) -> FastAPI:
    """The API for these settings. It connects to Redis at its start, and waits until Redis is up.

    `open_to_all` drops the check of the Host header that protects an API without keys. `on_fatal`
    is called with the reason when the app has to be stopped. `authenticator` recognizes callers in
    place of the keys of the settings. `hosting` has the port of operators, the processes of the
    same address, of which each answers for all, and what makes traces. Raises SettingsInvalid,
    RolesInvalid.
    """
    redis_url = settings.redis_url
    if redis_url is None:
        raise SettingsInvalid(
            "REDIS_URL is not set: it names the Redis server of the queue, redis://host:port"
        )
    keys = keys_from(settings, timing.key_reload_s)
    loaded_roles = load_roles(settings.roles_dir) if roles is None else roles
    page, routes_of_page = _page()
    forms = ErrorForms(_error_forms())
    access = Access(settings, keys, authenticator, start_wait_s=timing.start_wait_s)
    callers = Callers(access, keys, TenantRulebook(settings.tenant_rules, settings.prices))
    if not access.is_closed:
        _check_origins(settings)
    metrics = Metrics(hosting.siblings)
    forms.on_refused = metrics.count_refusal
    guards = _guards(
        settings, forms, page, callers, metrics, hosting.operator_port, serves_all=open_to_all
    )
    if hosting.tracer is not None:
        guards.append(Middleware(TraceCalls, tracer=hosting.tracer))
    routes, quick = _completed_routes(_PROTOCOLS)
    guards.append(Middleware(QuickRoutes, routes=quick, forms=forms))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(
            settings,
            redis_url,
            loaded_roles,
            Reports(on_fatal or _ignore, hosting.report_ready),
            timing,
            callers,
            metrics,
        ) as services:
            app.state.services = services
            yield
        access.close()

    app = _app(lifespan, guards)
    app.state.settings = settings
    handle_errors(app, forms)
    app.router.routes.extend([*routes, *routes_of_page])
    document_app(app)
    return app


def _app(lifespan: Lifespan[FastAPI], guards: list[Middleware]) -> FastAPI:
    return FastAPI(
        title="Tickertape",
        version=API_VERSION,
        description="Submit a request, then follow its stream from any number of clients. A client "
        "that reconnects continues after the last event that it received.",
        lifespan=lifespan,
        middleware=guards,
        # The page with the documentation is one of ours: page/docs.html.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the host and scheme that this process sees behind a proxy.
        redirect_slashes=False,
        # Spans and logs of FastAPI would carry bodies, which hold prompts, out of the process.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )


@cache
def _completed_routes(
    protocols: tuple[HttpProtocol, ...],
) -> tuple[list[BaseRoute], list[QuickRoute]]:
    """The routes of the protocols and of the operations, which all apps of a process share.

    FastAPI completes included routes when it first matches one, which takes 60 ms. Matching one
    here keeps those from the first request.
    """
    everything = APIRouter(generate_unique_id_function=operation_id)
    for router in [*(each for one in protocols for each in one.routers), operations.router]:
        everything.include_router(router)
    for route in everything.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": ""})
    quick = [each for one in protocols for each in quick_routes(one.routers, one.quick)]
    return everything.routes, quick


@cache
def _page() -> tuple[ServedPage, list[Route]]:
    """The files of the page and their routes, which all apps of a process share."""
    page = load_page()
    return page, page_routes(page)


def public_paths() -> frozenset[str]:
    """The paths of routes that need no caller, as FastAPI writes paths."""
    _, routes = _page()
    return operations.PUBLIC_PATHS | _DOCUMENTATION_PATHS | {route.path for route in routes}


def _error_forms() -> dict[str, ErrorForm]:
    return {
        prefix: form for protocol in _PROTOCOLS for prefix, form in protocol.error_forms.items()
    }


def _guards(
    settings: Settings,
    forms: ErrorForms,
    page: ServedPage,
    callers: Callers,
    metrics: Metrics,
    operator_port: int | None,
    *,
    serves_all: bool,
) -> list[Middleware]:
    """The guards, outermost first. The refusal of an inner guard passes through the outer ones."""
    access = callers.access
    public_paths = operations.PUBLIC_PATHS | _DOCUMENTATION_PATHS

    def is_public(path: str) -> bool:
        return path in public_paths or page.find(path) is not None

    guards = [Middleware(Front, settings=settings)]
    if settings.origins:
        guards.append(_cors(settings.origins))
    guards.append(Middleware(LastResort, forms=forms))
    return [
        *guards,
        Middleware(
            OperatorPort,
            forms=forms,
            settings=settings,
            port=operator_port,
            is_page=lambda path: page.find(path) is not None,
        ),
        Middleware(
            OpenApi,
            forms=forms,
            is_open=lambda: not access.is_closed,
            serves_all=serves_all,
            origins=settings.origins,
        ),
        Middleware(
            Authentication,
            forms=forms,
            authenticator=access,
            is_public=is_public,
            audit=access.audit,
            on_unrecognized=metrics.count_unrecognized,
        ),
        Middleware(ReadLimits, forms=forms, rules=callers.rules),
        Middleware(RateHeaders, headers=lambda: rate_headers(RESTS.get())),
        Middleware(JsonOnly, forms=forms),
        Middleware(BodyLimit, forms=forms, limit_bytes=_body_limit(settings)),
    ]


def _check_origins(settings: Settings) -> None:
    if "*" in settings.origins:
        raise SettingsInvalid(
            "TICKERTAPE_CORS_ORIGINS=* without keys would let every web page use this server: name"
            " the origins, or set TICKERTAPE_API_KEYS or TICKERTAPE_REQUIRE_KEYS=1"
        )


def _body_limit(settings: Settings) -> Callable[[str], int]:
    """The limit of a body by the path it is sent to, in bytes."""
    general = settings.max_body_bytes
    if "max_body_bytes" in settings.model_fields_set:
        return lambda _: general
    special = {
        path: limit for protocol in _PROTOCOLS for path, limit in protocol.max_body_bytes.items()
    }
    return lambda path: special.get(path, general)


def _cors(origins: tuple[str, ...]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        # With a wildcard origin, credentials are never allowed.
        allow_credentials="*" not in origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )


def _ignore(reason: str) -> None:
    """Without `on_fatal`, the app continues, but is not ready."""
