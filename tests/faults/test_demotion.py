"""The primary is demoted, and keeps every connection that it has."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from tests.support.followers import following
from tests.support.pair import Pair, server_pair
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Text, Wait
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

LONGEST_OUTAGE_S = 5.0


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with server_pair() as running:
        yield running


@asynccontextmanager
async def system(pair: Pair, upstream: ScriptedUpstream) -> AsyncIterator[RunningApi]:
    # The heartbeat is long, so that the tail check hides no push that is lost.
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "heartbeat_s": 60.0}
    async with (
        running_api(pair.url, **given) as api,
        working(pair.url, Settings.model_validate(given)),
    ):
        yield api


@pytest.mark.slow
async def test_a_demoted_primary_that_keeps_its_connections_is_left_within_five_seconds(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    with structlog.testing.capture_logs() as logged:
        async with system(pair, upstream) as api:
            ended = await api.submit()
            answer = text_of(await collect(api.stream_url(ended)))
            upstream.enqueue(
                [Role(), Text("a"), Wait(gates[0]), Text("b"), Wait(gates[1]), Finish()]
            )
            request_id = await api.submit()
            async with following(api.stream_url(request_id)) as reader:
                await reader.shows("a")
                await pair.has(request_id, 3)
                await pair.hand_over()
                demoted_at_s = time.monotonic()
                gates[0].set()
                await reader.shows("ab")
                gates[1].set()
                await reader.ends()

            async def is_accepted() -> bool:
                asked = await api.client.post("/chat", json={"message": "hi"})
                return asked.status_code == 202

            await wait_until(is_accepted, description="a submit to be accepted")
            await wait_until(api.is_ready, description="the API to be ready again")
            outage_s = time.monotonic() - demoted_at_s
            kept = await api.read(ended)
    assert outage_s < LONGEST_OUTAGE_S
    assert reader.text == "ab"
    assert kept["text"] == answer
    named = [line["reason"] for line in logged if line["event"] == "Redis takes no writes"]
    assert any("READONLY" in reason for reason in named)


@pytest.mark.slow
async def test_an_api_whose_primary_was_demoted_says_so_and_stays_alive_until_it_is_led_elsewhere(
    pair: Pair,
) -> None:
    async with running_api(pair.url) as api:
        pair.front.lead_new_to(pair.primary.port)
        await pair.demote_primary()

        async def says_why() -> bool:
            ready = await api.client.get("/readyz")
            return ready.status_code == 503 and "READONLY" in ready.json()["error"]["message"]

        await wait_until(says_why, description="/readyz to have the server's word")
        assert (await api.client.get("/healthz")).status_code == 200
        opened = pair.front.connection_count
        for _ in range(200):
            assert (await api.client.post("/chat", json={"message": "hi"})).status_code == 503
        opened = pair.front.connection_count - opened
        metrics = (await api.client.get("/metrics")).text
        pair.front.lead_new_to(pair.replica.port)
        await wait_until(api.is_ready, timeout_s=LONGEST_OUTAGE_S, description="it recovers")
        assert (await api.client.post("/chat", json={"message": "hi"})).status_code == 202
    assert opened < 40
    assert "tickertape_redis_takes_writes 0.0" in metrics
    assert float(metrics.partition('refusals_total{reply="READONLY"} ')[2].split()[0]) > 10
