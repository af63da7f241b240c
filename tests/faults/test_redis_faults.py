"""Redis is full, empty, paused or read-only: accepted requests end, and others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.support.followers import following
from tests.support.keyspace import KEYS
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Text, Wait
from tests.support.servers import ValkeyServer
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.runtime.settings import Settings

WORDS = ("a ", "b ", "c ", "d ", "e ", "f ")


class Answering:
    """An answer that continues when the test decides."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.go_on = asyncio.Event()
        first, rest = WORDS[:2], WORDS[2:]
        upstream.script = [Role(), *map(Text, first), Wait(self.go_on), *map(Text, rest), Finish()]


@asynccontextmanager
async def system(
    redis: ValkeyServer, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[RunningApi]:
    """An API and a worker in this process."""
    shared_settings = {
        "openai_base_url": upstream.base_url,
        "lease_s": 5.0,
        "heartbeat_s": 0.3,
        **settings,
    }
    async with (
        running_api(redis.url, **shared_settings) as api,
        working(redis.url, Settings.model_validate(shared_settings)),
    ):
        yield api


async def half_said(api: RunningApi) -> str:
    """Submit a request and wait until the first words of its answer are in the log."""
    request_id = await api.submit()

    async def says() -> bool:
        text: str = (await api.read(request_id))["text"]
        return text == "".join(WORDS[:2])

    await wait_until(says, description="the first words")
    return request_id


async def ended(api: RunningApi, request_id: str) -> dict[str, Any]:
    async def is_over() -> bool:
        answered: dict[str, Any] = (await api.client.get(f"/chat/{request_id}")).json()
        return answered.get("status") == "completed"

    await wait_until(is_over, timeout_s=20, description="the answer to be complete")
    return await api.read(request_id)


async def ask(api: RunningApi, *command: str | int) -> Any:
    return await api.services.connections.ask(*command)


async def is_refused(api: RunningApi) -> bool:
    """Whether a submit is refused with 503 and a time to retry."""
    answered = await api.client.post("/chat", json={"message": "x" * 1000})
    if answered.status_code == 202:
        return False
    assert answered.status_code == 503
    assert answered.json()["error"]["code"] == "unavailable"
    assert int(answered.headers["Retry-After"]) >= 1
    return True


async def test_a_redis_without_memory_refuses_submits_and_ends_what_runs(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    answering = Answering(upstream)
    async with system(own_redis, upstream) as api:
        request_id = await half_said(api)
        await ask(api, "CONFIG", "SET", "maxmemory", "1")
        assert await is_refused(api)
        lease_end = await lease_end_ms(api, request_id)

        async def is_renewed() -> bool:
            return await lease_end_ms(api, request_id) > lease_end

        await wait_until(is_renewed, description="the lease to be renewed without memory")
        answering.go_on.set()
        # Text that cannot be appended is written with the terminal, which may use memory because it
        # frees more.
        answer = await ended(api, request_id)
        assert (answer["text"], answer["n"]) == ("".join(WORDS), 1)
        await ask(api, "CONFIG", "SET", "maxmemory", "0")
        assert not await is_refused(api)


async def lease_end_ms(api: RunningApi, request_id: str) -> float:
    return float(await ask(api, "ZSCORE", KEYS.running(0), request_id))


async def test_without_memory_a_request_can_still_be_cancelled(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    Answering(upstream)
    async with system(own_redis, upstream) as api:
        request_id = await half_said(api)
        await ask(api, "CONFIG", "SET", "maxmemory", "1")
        answered = await api.client.post(f"/chat/{request_id}/cancel")
        assert answered.json()["status"] == "cancelled"
        async with asyncio.timeout(5):
            await upstream.calls[0].closed.wait()


@pytest.mark.parametrize(
    "setting", [("min-replicas-to-write", "1"), ("replicaof", "127.0.0.1 1")], ids=lambda s: s[0]
)
async def test_a_redis_that_refuses_writes_refuses_submits_and_loses_no_answer(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, setting: tuple[str, str]
) -> None:
    answering = Answering(upstream)
    async with system(own_redis, upstream) as api:
        request_id = await half_said(api)
        if setting[0] == "replicaof":
            await ask(api, "REPLICAOF", *setting[1].split())
        else:
            await ask(api, "CONFIG", "SET", *setting)
        answering.go_on.set()
        assert await is_refused(api)
        if setting[0] == "replicaof":
            await ask(api, "REPLICAOF", "NO", "ONE")
        else:
            await ask(api, "CONFIG", "SET", setting[0], "0")
        answer = await ended(api, request_id)
        assert not await is_refused(api)
    assert answer["text"] == "".join(WORDS)


async def test_no_caller_hangs_after_redis_was_emptied(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    answering = Answering(upstream)
    async with system(own_redis, upstream) as api:
        request_id = await half_said(api)
        async with following(api.stream_url(request_id)) as reader:
            await reader.shows("a b ")
            await ask(api, "FLUSHALL")
            await reader.ends()
        assert reader.events[-1].kind == "gone"
        assert (await api.client.get(f"/chat/{request_id}")).status_code == 404
        # The request's worker is fenced and closes its upstream.
        async with asyncio.timeout(5):
            await upstream.calls[0].closed.wait()
        answering.go_on.set()
        assert (await ended(api, await api.submit()))["text"] == "".join(WORDS)


@pytest.mark.slow
async def test_a_redis_that_hangs_for_longer_than_every_time_out_loses_and_doubles_nothing(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    answering = Answering(upstream)
    async with system(own_redis, upstream, lease_s=2.0) as api:
        request_id = await half_said(api)
        own_redis.pause()
        answering.go_on.set()
        await asyncio.sleep(7)
        own_redis.resume()
        answer = await ended(api, request_id)
        events = await collect(f"{api.url}/chat/{request_id}/stream")
    # No worker counts as crashed, because every worker gets a lease to renew before a takeover.
    assert (answer["text"], answer["n"]) == ("".join(WORDS), 1)
    assert [event.kind for event in events].count("delta") == len(WORDS)


async def test_scripts_that_redis_forgot_are_loaded_again(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    answering = Answering(upstream)
    async with system(own_redis, upstream) as api:
        request_id = await half_said(api)
        await ask(api, "SCRIPT", "FLUSH")
        answering.go_on.set()
        assert (await ended(api, request_id))["text"] == "".join(WORDS)
        await ask(api, "SCRIPT", "FLUSH")
        assert (await ended(api, await api.submit()))["text"] == "".join(WORDS)


@asynccontextmanager
async def connected(redis: ValkeyServer) -> AsyncIterator[Connections]:
    connections = Connections(redis.url)
    try:
        yield connections
    finally:
        await connections.aclose()


async def test_a_redis_busy_with_a_foreign_script_is_an_outage(
    own_redis: ValkeyServer,
) -> None:
    async with connected(own_redis) as connections, connected(own_redis) as others:
        await connections.ask("CONFIG", "SET", "busy-reply-threshold", 20)
        hogging = asyncio.create_task(others.ask("EVAL", "while true do end", 0))

        async def is_refused() -> bool:
            try:
                await connections.ask("GET", "anything")
            except Unavailable:
                return True
            return False

        await wait_until(is_refused, description="Redis to be busy")
        await connections.ask("SCRIPT", "KILL")
        with pytest.raises(ResponseError):
            await hogging
        assert not await is_refused()
