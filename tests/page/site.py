"""All of Tickertape in this process, behind a network that a test can break."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.proxy import FaultProxy
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Script, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api import app
from tickertape.runtime.settings import Settings
from tickertape.worker.functions.definition import Function, function
from tickertape.worker.functions.request import Request
from tickertape.worker.functions.values import Value

Answer = Script | Callable[[], Script]


class Site:
    """What a test decides: the answer to each message, and which calls meet a broken network.

    The function `agent` yields the `values` of a message. For the upstream, `answers` has scripts,
    or functions that give one for each attempt; any other message is answered with "You said: " and
    itself. The next `refused_streams` streams get a 502 such as proxies give.
    """

    def __init__(self, proxy: FaultProxy, upstream: ScriptedUpstream, api: RunningApi) -> None:
        self.proxy = proxy
        self.api = api
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{proxy.port}/"
        self.answers: dict[str, Answer] = {}
        self.values: dict[str, Sequence[Value]] = {}
        self.refused_streams = 0
        self.streams_opened = 0
        upstream.script = self._script

    @property
    def asked(self) -> list[str]:
        """The last message of each call that the upstream got."""
        return [_last_message(call) for call in self.upstream.calls]

    async def knows_agent(self) -> None:
        """Wait until the API has heard of the function."""

        async def is_listed() -> bool:
            return (await self.api.client.get("/v1/models/agent")).status_code == 200

        await wait_until(is_listed, description="the function in the list of models")

    def agent(self) -> Function:
        """The function, for a worker."""

        @function("agent")
        async def agent(request: Request) -> AsyncIterator[Value]:
            for value in self.values[request.text]:
                yield value

        return agent

    def _script(self, call: Call) -> Script:
        message = _last_message(call)
        given = self.answers.get(message, answer(["You said: ", message]))
        return given() if callable(given) else given


class _Front:
    """An app behind a proxy that at times has lost it."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = scope["path"].endswith(("/stream", "/streams"))
        self._site.streams_opened += is_stream
        if is_stream and self._site.refused_streams:
            self._site.refused_streams -= 1
            response = HTMLResponse("<h1>Bad Gateway</h1>", status_code=502)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def take_assets_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sites that open from now on have no assets, as a process that starts without them."""
    monkeypatch.setattr("tickertape.api.page.files._ASSETS", "a-folder-that-is-missing")
    # A process reads the page once.
    monkeypatch.setattr(app, "_page", app._page.__wrapped__)


@contextlib.asynccontextmanager
async def running_site(
    redis_url: str, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[Site]:
    """An API and a worker on a Redis and an upstream."""
    for_worker = Settings.model_validate(
        {
            "openai_base_url": upstream.base_url,
            "openai_api_key": "key",
            # No worker dies here, and a busy machine must not look as if one had.
            "lease_s": 10,
            "redis_url": redis_url,
        }
    )
    async with (
        running_api(redis_url, **settings) as api,
        FaultProxy(urlsplit(api.url).port or 0) as proxy,
    ):
        site = Site(proxy, upstream, api)
        # uvicorn asks its configuration for the app at each connection.
        config = api.server.config
        config.loaded_app = _Front(config.loaded_app, site)
        async with working(redis_url, for_worker, functions=[site.agent()]):
            yield site


def _last_message(call: Call) -> str:
    return str(call.body["messages"][-1]["content"])
