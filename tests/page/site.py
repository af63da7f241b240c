"""All of Tickertape in this process, behind a network that a test can break."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.main import create_app
from broker.settings import Settings
from tests.support.desk import working
from tests.support.proxy import FaultProxy
from tests.support.script import Script, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until

Answer = Script | Callable[[], Script]


class Site:
    """What a test decides: the answer to each message, and which calls meet a broken network.

    `answers` holds scripts, or functions that give one for each attempt; any other message is
    answered with "You said: " and itself. The next `refused_streams` streams get a 502 such as
    proxies give.
    """

    def __init__(self, proxy: FaultProxy, upstream: ScriptedUpstream) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{proxy.port}/"
        self.answers: dict[str, Answer] = {}
        self.refused_streams = 0
        upstream.script = self._script

    @property
    def asked(self) -> list[str]:
        """The last message of each call that the upstream got."""
        return [_last_message(call) for call in self.upstream.calls]

    def _script(self, call: Call) -> Script:
        message = _last_message(call)
        given = self.answers.get(message, answer(["You said: ", message]))
        return given() if callable(given) else given


class _Front:
    """The app, behind a proxy that at times has lost it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.site: Site | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.site and self.site.refused_streams and scope["path"].endswith("/stream"):
            self.site.refused_streams -= 1
            head = [(b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": 502, "headers": head})
            await send({"type": "http.response.body", "body": b"<h1>Bad Gateway</h1>"})
            return
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def running_site(
    redis_url: str, upstream: ScriptedUpstream, *, api_keys: str | None = None
) -> AsyncIterator[Site]:
    """An API and a worker on a Redis and an upstream."""
    settings = Settings.model_validate(
        {
            "redis_url": redis_url,
            "openai_base_url": upstream.base_url,
            "openai_api_key": "key",
            "lease_s": 1,
            "retention_s": 600,
            "api_keys": api_keys,
        }
    )
    app = create_app(settings)
    front = _Front(app)
    async with (
        _serving(front, app) as port,
        FaultProxy(port) as proxy,
        working(redis_url, settings),
    ):
        front.site = Site(proxy, upstream)
        await wait_until(
            lambda: app.state.services.readiness.agreed, description="the API is ready"
        )
        yield front.site


@contextlib.asynccontextmanager
async def _serving(front: _Front, app: FastAPI) -> AsyncIterator[int]:
    config = uvicorn.Config(
        front,
        port=0,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve(), name="serving")
        try:
            await wait_until(lambda: server.started, description="uvicorn listens")
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            app.state.services.drain()
            server.should_exit = True
            await serving


def _last_message(call: Call) -> str:
    return str(call.body["messages"][-1]["content"])
