"""The app: routes and guards put together, and what runs while it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from tickertape.api import operations
from tickertape.api.edge.auth import Authentication, CurrentKeys, keys_from
from tickertape.api.edge.guards import BodyLimit, JsonOnly, LastResort, LoopbackOnly
from tickertape.api.edge.problems import handle_problems
from tickertape.api.lifespan import OnFatal, running
from tickertape.api.page import routes as page
from tickertape.api.protocols import openai_models
from tickertape.api.protocols.ai_sdk import routes as ai_sdk
from tickertape.api.protocols.gpt_terminal import routes as gpt_terminal
from tickertape.api.protocols.native import (
    conversations,
    streams,
)
from tickertape.api.protocols.native import (
    requests as chat,
)
from tickertape.api.protocols.native import (
    roles as role_templates,
)
from tickertape.api.protocols.openai_chat import routes as openai_chat
from tickertape.api.protocols.openai_responses import routes as openai_responses
from tickertape.broker.errors import SettingsInvalid
from tickertape.roles import Roles, load_roles
from tickertape.runtime.settings import Settings

# The version of the wire contract, not of the program.
API_VERSION = "1"
_TERMINAL_PATH = "/api/gpt/get"
# Its page sends the last turns of a talk along, as text, and allows itself this much.
_TERMINAL_BODY_BYTES = 5 * 1024 * 1024
_ROUTERS = (
    chat,
    streams,
    conversations,
    role_templates,
    openai_chat,
    openai_responses,
    openai_models,
    ai_sdk,
    gpt_terminal,
    operations,
)
# What needs no key: liveness for orchestrators, the documentation; and the page asks for one.
_PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
_EXPOSED = ("X-Request-Id", "Location", "Retry-After")


def create_app(
    settings: Settings,
    *,
    roles: Roles | None = None,
    open_to_all: bool = False,
    on_fatal: OnFatal | None = None,
) -> FastAPI:
    """The API for these settings; it connects when it starts, and waits for Redis if it has to.

    `open_to_all` drops the check of the Host header that protects an API without keys. `on_fatal`
    is told why when the app finds out that it must not go on. Raises SettingsInvalid, RolesInvalid.
    """
    redis_url = settings.redis_url
    if redis_url is None:
        raise SettingsInvalid(
            "REDIS_URL is not set: give the server of the queue, redis://host:port"
        )
    keys = keys_from(settings)
    loaded_roles = load_roles(settings.roles_dir) if roles is None else roles
    files = page.load_page()
    guards = _guards(settings, keys, public=_PUBLIC | frozenset(files), open_to_all=open_to_all)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings, redis_url, loaded_roles, on_fatal or _ignore) as services:
            app.state.services = services
            yield

    return _routed(lifespan, guards, files)


def _routed(
    lifespan: Lifespan[FastAPI], guards: list[Middleware], files: dict[str, page.PageFile]
) -> FastAPI:
    app = FastAPI(
        title="Tickertape",
        version=API_VERSION,
        description="LLM requests that are typed once, into a log, and can be watched by many.",
        lifespan=lifespan,
        middleware=guards,
        redoc_url=None,
        # A redirect would name the host and scheme as this process sees them, behind any proxy.
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
        # Its spans and logs would carry bodies, which are prompts, out of the process.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    handle_problems(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.include_router(page.page_router(files))
    return app


def _guards(
    settings: Settings, keys: CurrentKeys | None, *, public: frozenset[str], open_to_all: bool
) -> list[Middleware]:
    """The guards, outermost first: what an inner one refuses passes through the outer ones."""
    guards = [Middleware(LastResort)]
    most_bytes = settings.max_body_bytes
    if settings.origins:
        guards.insert(0, _cors(settings.origins))
    if keys is None and not open_to_all:
        guards.append(Middleware(LoopbackOnly))

    def limit_bytes(path: str) -> int:
        is_default = "max_body_bytes" not in settings.model_fields_set
        return _TERMINAL_BODY_BYTES if is_default and path == _TERMINAL_PATH else most_bytes

    return [
        *guards,
        Middleware(Authentication, keys=keys, public=public),
        Middleware(JsonOnly),
        Middleware(BodyLimit, limit_bytes=limit_bytes),
    ]


def _cors(origins: tuple[str, ...]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        # With any origin allowed, none of them may act with what a browser keeps for another.
        allow_credentials="*" not in origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


def _ignore(reason: str) -> None:
    """The app goes on, not ready, when nobody minds it."""
