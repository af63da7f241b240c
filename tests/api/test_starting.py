"""Calls that reach an API before Redis has accepted it."""

import asyncio
import time

from tests.api.test_stored_keys import SCOPES, of
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer
from tickertape.api.services import ApiTiming
from tickertape.broker.access import AccessRecords, KeyRecord
from tickertape.broker.connections import Connections
from tickertape.runtime import api_key

PATIENT = ApiTiming(start_wait_s=20)
BODY = {"message": "hi"}


async def first_call(api: RunningApi, redis: ValkeyServer, headers: dict[str, str]) -> int:
    """The status of a call that came before Redis was there."""
    call = asyncio.create_task(api.client.post("/chat", json=BODY, headers=headers))
    # Another call is answered meanwhile.
    assert (await api.client.get("/healthz")).status_code == 200
    assert not call.done()
    redis.start()
    return (await call).status_code


async def test_the_first_call_of_an_api_that_starts_is_accepted(own_redis: ValkeyServer) -> None:
    own_redis.stop()
    async with running_api(own_redis.url, wait_for_redis=False, timing=PATIENT) as api:
        assert await first_call(api, own_redis, {}) == 202


async def test_the_first_call_with_a_key_of_redis_is_accepted(own_redis: ValkeyServer) -> None:
    key, connections = api_key.new_key(), Connections(own_redis.url)
    record = KeyRecord(key_id="1", tenant="ada", scopes=SCOPES, created_ms=1)
    await AccessRecords(connections).add(api_key.digest(key, None), record)
    await connections.aclose()
    own_redis.stop()
    async with running_api(
        own_redis.url, wait_for_redis=False, timing=PATIENT, require_keys=True
    ) as api:
        assert await first_call(api, own_redis, of(key)) == 202


async def test_a_call_is_refused_soon_if_redis_does_not_come(own_redis: ValkeyServer) -> None:
    url = own_redis.url
    own_redis.stop()
    async with running_api(url, wait_for_redis=False) as api:
        began_s = time.monotonic()
        answer = await api.client.post("/chat", json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert time.monotonic() - began_s >= 0.9
