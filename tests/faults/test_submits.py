"""Submits that are concurrent, repeated, or more than the queue accepts."""

import asyncio
from contextlib import aclosing

import httpx2
import pytest
from redis.asyncio import Redis

from tests.broker.snapshot import take_snapshot
from tests.support.proxy import FaultProxy
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

KEY = {"Idempotency-Key": "k"}


async def post(client: httpx2.AsyncClient, message: str = "hi") -> httpx2.Response:
    return await client.post("/chat", json={"message": message}, headers=KEY)


async def ended(api: RunningApi, request_id: str) -> None:
    async def is_over() -> bool:
        status: str = (await api.read(request_id))["status"]
        return status == "completed"

    await wait_until(is_over, description="the answer")


async def test_fifty_equal_submits_at_once_are_one_request_and_one_call_of_the_upstream(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with (
        running_api(redis_url) as api,
        running_api(redis_url) as other,
        working(redis_url, Settings(openai_base_url=upstream.base_url)),
    ):
        clients = [api.client, other.client] * 25
        answers = await asyncio.gather(*(post(client) for client in clients))
        ids = {answer.json()["request_id"] for answer in answers}
        assert len(ids) == 1
        assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
        await ended(api, ids.pop())
    assert len(upstream.calls) == 1


async def test_a_submit_whose_reply_was_cut_and_that_is_repeated_is_the_same_request(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with (
        running_api(redis_url) as api,
        working(redis_url, Settings(openai_base_url=upstream.base_url)),
        FaultProxy(int(api.url.rpartition(":")[2])) as proxy,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", verify=False) as client,
    ):
        lost = proxy.lose_reply_to(b"POST /chat")
        with pytest.raises(httpx2.TransportError):
            await post(client)
        assert lost.is_set()
        again = await post(client)
        assert again.status_code == 200
        await ended(api, again.json()["request_id"])
        listed = (await api.client.get("/chat")).json()["requests"]
        assert [each["request_id"] for each in listed] == [again.json()["request_id"]]
    assert len(upstream.calls) == 1


async def test_a_key_used_with_another_body_leaves_no_trace(redis_url: str) -> None:
    async with (
        running_api(redis_url) as api,
        aclosing(Redis.from_url(redis_url, protocol=2)) as client,
    ):
        assert (await post(api.client)).status_code == 202
        before = await take_snapshot(client)
        assert (await post(api.client, "something else")).status_code == 409
        assert await take_snapshot(client) == before


async def test_submits_beyond_the_limits_are_refused_and_leave_nothing(
    redis_url: str,
) -> None:
    limit = 10
    async with (
        running_api(redis_url, queue_limit=limit, tenant_limit=1000) as api,
        aclosing(Redis.from_url(redis_url, protocol=2)) as client,
    ):

        async def submit(n: int) -> httpx2.Response:
            return await api.client.post("/chat", json={"message": f"{n}"})

        answers = await asyncio.gather(*(submit(n) for n in range(10 * limit)))
        accepted = [answer for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(accepted) == limit
        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        snapshot = await take_snapshot(client)
        assert len(dict(snapshot.named("req:"))) == len(dict(snapshot.named("log:"))) == limit
        assert snapshot.hash("load")["count"] == str(limit)
