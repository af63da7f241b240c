"""Calls that an SDK repeats by itself: a repeated call joins the request that runs already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI

from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Done, Finish, Role, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires import chats, responding
from tests.wires.conftest import openai_client
from tickertape.api.services import ApiTiming
from tickertape.runtime.settings import Settings

BODY = {"model": "m", "messages": [chats.HI]}


async def submit(
    api: RunningApi, tries: int | None, headers: dict[str, str] | None = None, *, seed: int = 0
) -> str:
    """Make a call that is repeated for the nth time; returns the id of its request."""
    body = {**BODY, "stream": True, "seed": seed}
    count = {} if tries is None else {"x-stainless-retry-count": str(tries)}
    async with api.client.stream(
        "POST", chats.URL, json=body, headers={**count, **(headers or {})}
    ) as answer:
        assert answer.status_code == 200
        return str(answer.headers["x-request-id"])


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, timing=ApiTiming(head_delay_s=0.01)) as running:
        yield running


async def test_a_repeated_call_joins_the_request_of_the_first(api: RunningApi) -> None:
    first = await submit(api, 0)
    assert await submit(api, 1) == first
    assert await submit(api, 2) == first


@pytest.mark.parametrize("again", [0, None])
async def test_a_first_call_never_joins(api: RunningApi, again: int | None) -> None:
    first = await submit(api, 0)
    assert await submit(api, again) != first


async def test_a_repeated_call_with_another_body_is_a_new_request(api: RunningApi) -> None:
    first = await submit(api, 0)
    assert await submit(api, 1, seed=1) != first


async def test_a_repeated_call_joins_no_request_of_another_tenant_user_or_key(
    redis_url: str,
) -> None:
    keys = "ada:key-of-ada-0123456,ada:other-of-ada-01234,bob:key-of-bob-0123456"
    timing = ApiTiming(head_delay_s=0.01)
    async with running_api(redis_url, timing=timing, api_keys=keys) as api:
        callers = [
            {"Authorization": "Bearer key-of-ada-0123456"},
            {"Authorization": "Bearer other-of-ada-01234"},
            {"Authorization": "Bearer key-of-bob-0123456"},
            {"Authorization": "Bearer key-of-ada-0123456", "X-Tickertape-User": "eve"},
        ]
        first = [await submit(api, 0, caller) for caller in callers]
        assert len(set(first)) == len(callers)
        assert [await submit(api, 1, caller) for caller in callers] == first


async def test_a_repeated_call_joins_no_request_that_was_cancelled(api: RunningApi) -> None:
    first = await submit(api, 0)
    await api.cancel(first)
    assert await submit(api, 1) != first


async def test_a_repeated_call_gets_an_answer_that_has_just_ended(
    api: RunningApi, worker: Rig
) -> None:
    first = await submit(api, 0)
    await worker.claim()
    await worker.type("Hello")
    await worker.finish()
    assert await submit(api, 1) == first


async def test_as_many_equal_calls_get_as_many_answers(api: RunningApi) -> None:
    first = [await submit(api, 0) for _ in range(3)]
    assert len(set(first)) == 3
    assert sorted([await submit(api, 1) for _ in range(3)]) == sorted(first)


async def test_a_request_that_its_caller_cancels_by_leaving_is_joined_by_none(
    api: RunningApi,
) -> None:
    leaving = {"x-cancel-on-disconnect": "true"}
    first = await submit(api, 0, leaving)
    assert await submit(api, 1, leaving) != first


class Slow:
    """A system behind a proxy that gives up after half a second, and an upstream that waits."""

    def __init__(self, sdk: AsyncOpenAI, proxy: FaultProxy, upstream: ScriptedUpstream) -> None:
        self.sdk = sdk
        self.proxy = proxy
        self.upstream = upstream
        self.gate = asyncio.Event()
        upstream.script = lambda _: [Role(), Wait(self.gate), Text("Hello"), Finish(), Done()]

    async def gives_up(self, times: int) -> None:
        await wait_until(lambda: self.proxy.given_up >= times, description="the proxy gives up")


@asynccontextmanager
async def slow(redis_url: str, upstream: ScriptedUpstream, **settings: Any) -> AsyncIterator[Slow]:
    of_worker = Settings(redis_url=redis_url, openai_base_url=upstream.base_url)
    async with running_api(redis_url, **settings) as api, working(redis_url, of_worker):
        at = urlsplit(api.url)
        assert at.port
        async with (
            FaultProxy(at.port) as proxy,
            openai_client(f"http://127.0.0.1:{proxy.port}{at.path}", max_retries=5) as sdk,
        ):
            proxy.gives_up_after_s = 0.5
            yield Slow(sdk, proxy, upstream)


@pytest.mark.parametrize(
    ("ask", "stream"),
    [
        (chats.ask, True),
        pytest.param(chats.ask, False, marks=pytest.mark.slow),
        pytest.param(responding.ask, False, marks=pytest.mark.slow),
        pytest.param(responding.ask, True, marks=pytest.mark.slow),
    ],
)
async def test_a_call_that_a_proxy_gave_up_is_generated_and_answered_once(
    redis_url: str, upstream: ScriptedUpstream, ask: Any, *, stream: bool
) -> None:
    # Without heartbeats: as behind a proxy that gives up earlier than they come.
    async with slow(redis_url, upstream, heartbeat_s=60) as system:
        asking = ask(system.sdk, stream=stream)
        await system.gives_up(2)
        system.gate.set()
        answer = await asking
        said = [event async for event in answer] if stream else answer
        assert "Hello" in repr(said)
        assert len(upstream.calls) == 1


async def test_a_call_behind_a_proxy_that_gives_up_needs_no_repetition_with_heartbeats(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with slow(redis_url, upstream, heartbeat_s=0.1) as system:
        asking = chats.ask(system.sdk)
        await asyncio.wait({asking}, timeout=1.5)
        system.gate.set()
        assert (await asking).choices[0].message.content == "Hello"
        assert (len(upstream.calls), system.proxy.given_up) == (1, 0)
