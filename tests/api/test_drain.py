"""What a server that drains finishes, for how long, and what ends it earlier."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.half_answers import HALF, REST, Gated, asking, until_closed
from tests.support.raw import raw_connection
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.wire_calls import ERROR, FOREGROUND, chat, chat_stream, raw_text
from tickertape.runtime.settings import Settings


@asynccontextmanager
async def system(
    redis_url: str, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[RunningApi]:
    """An API and a worker."""
    of_worker = Settings(
        redis_url=redis_url, openai_base_url=upstream.base_url, openai_model="a-model"
    )
    async with running_api(redis_url, **settings) as api, working(redis_url, of_worker):
        yield api


def tell(api: RunningApi, number: signal.Signals) -> None:
    api.server.handle_exit(number, None)


async def until_cut(api: RunningApi) -> None:
    connections = api.server.server_state.connections
    await wait_until(lambda: not connections, description="all connections are closed")


async def test_a_draining_api_finishes_what_cannot_resume_and_releases_what_can(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gated = Gated(upstream)
    async with (
        system(redis_url, upstream, drain_delay_s=0) as api,
        asking(api.url, *FOREGROUND) as calls,
    ):
        await gated.begins(len(FOREGROUND))
        tell(api, signal.SIGTERM)
        await until_closed(api.url)
        gated.rest.set()
        assert await asyncio.gather(*calls) == [HALF + REST] * len(FOREGROUND)
        await until_cut(api)


async def test_a_drain_that_lasts_too_long_cuts_what_is_left(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gated = Gated(upstream)
    async with (
        system(redis_url, upstream, drain_delay_s=0, drain_s=0.5) as api,
        asking(api.url, raw_text, chat_stream) as calls,
    ):
        await gated.begins(2)
        begun_s = time.monotonic()
        tell(api, signal.SIGTERM)
        assert await asyncio.gather(*calls) == [ERROR, ERROR]
        assert time.monotonic() - begun_s >= 0.5


async def test_a_second_signal_cuts_at_once(redis_url: str, upstream: ScriptedUpstream) -> None:
    gated = Gated(upstream)
    async with system(redis_url, upstream) as api, asking(api.url, raw_text, chat_stream) as calls:
        await gated.begins(2)
        tell(api, signal.SIGINT)
        await until_closed(api.url)
        tell(api, signal.SIGTERM)
        begun_s = time.monotonic()
        assert await asyncio.gather(*calls) == [ERROR, ERROR]
        await until_cut(api)
        assert time.monotonic() - begun_s < 2


async def test_a_terminal_that_closes_and_signals_twice_cuts_nothing(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gated = Gated(upstream)
    async with system(redis_url, upstream) as api, asking(api.url, raw_text) as calls:
        await gated.begins(1)
        for _ in range(2):
            tell(api, signal.SIGHUP)
        await until_closed(api.url)
        gated.rest.set()
        assert await asyncio.gather(*calls) == [HALF + REST]


async def test_an_api_that_is_not_ready_any_more_still_accepts_calls_for_a_while(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gated = Gated(upstream)
    async with system(redis_url, upstream, drain_delay_s=1.5) as api:
        tell(api, signal.SIGTERM)

        async def is_draining() -> bool:
            return not await api.is_ready()

        await wait_until(is_draining, description="the probe fails")
        ready = await api.client.get("/readyz")
        assert ready.json()["error"]["code"] == "draining"
        # Proxies that keep connections send the next call elsewhere.
        assert ready.headers["connection"] == "close"
        async with asking(api.url, chat, raw_text) as calls:
            await gated.begins(2)
            await until_closed(api.url)
            gated.rest.set()
            assert await asyncio.gather(*calls) == [HALF + REST] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_person_at_a_terminal_does_not_wait_for_load_balancers(
    redis_url: str, number: signal.Signals
) -> None:
    async with running_api(redis_url, drain_delay_s=600) as api:
        tell(api, number)
        await until_closed(api.url)


async def test_a_call_on_a_connection_that_has_just_been_opened_is_answered_by_a_stopping_api(
    redis_url: str,
) -> None:
    async with running_api(redis_url, drain_delay_s=0) as api:
        async with raw_connection(api.url) as fresh, raw_connection(api.url) as kept:
            await kept.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await kept.until(b"}")
            await wait_until(
                lambda: len(api.server.server_state.connections) >= 3,
                description="both connections and the caller's to be accepted",
            )
            tell(api, signal.SIGINT)
            # An idle one is closed at once, because its client knows that this may happen.
            await kept.until_closed()
            await fresh.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await fresh.until_closed()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()


async def test_a_connection_without_a_call_does_not_delay_the_stop(redis_url: str) -> None:
    async with (
        running_api(redis_url, drain_delay_s=0) as api,
        raw_connection(api.url) as silent,
        raw_connection(api.url) as slow,
    ):
        await slow.send(b"GET /healthz HTTP/1.1\r\nHost:")
        await wait_until(
            lambda: len(api.server.server_state.connections) >= 3,
            description="both connections and the caller's to be accepted",
        )
        tell(api, signal.SIGINT)
        assert await silent.until_closed() == b""
        assert await slow.until_closed() == b""
