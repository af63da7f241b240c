"""API keys that Redis keeps: their calls, their revocation, and tries with wrong keys."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import structlog

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.stored_keys import add_key
from tests.support.wait import wait_until
from tickertape.api.edge.caller import Unrecognized
from tickertape.api.edge.failed_tries import FailedTries
from tickertape.api.services import ApiTiming
from tickertape.broker.access import AccessRecords
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Refused
from tickertape.runtime import api_key

UI_MESSAGE = {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
FAST = ApiTiming(access_interval_s=0.02)
SCOPES = ("submit", "read", "cancel", "erase", "list", "metrics", "admin")


def of(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def closed_api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, require_keys=True, timing=FAST) as api:
        yield api


async def gets(api: RunningApi, key: str, path: str = "/chat") -> int:
    return (await api.client.get(path, headers=of(key))).status_code


def test_a_mistyped_key_is_found_without_a_look_into_redis() -> None:
    key = api_key.new_key()
    assert api_key.is_key(key)
    assert key.startswith("tt_")
    for wrong in (key[:-1], key + "a", key.replace("tt_", "tt-"), key[:9] + "!" + key[10:]):
        assert not api_key.is_key(wrong)
    other = "a" if key[9] != "a" else "b"
    assert not api_key.is_key(key[:9] + other + key[10:])


def test_a_digest_with_a_secret_cannot_be_made_without_it() -> None:
    key = api_key.new_key()
    digests = {api_key.digest(key, secret) for secret in (None, "one secret", "another secret")}
    assert len(digests) == 3
    assert all(key not in digest for digest in digests)


async def test_a_key_of_redis_is_accepted_by_every_process_within_a_second(redis_url: str) -> None:
    async with closed_api(redis_url) as one, closed_api(redis_url) as two:
        assert await gets(one, api_key.new_key()) == 401
        key = await add_key(one.services.access, "ada")
        began = time.monotonic()
        for api in (one, two):
            await wait_until(lambda api=api: accepts(api, key), description="accepted")  # type: ignore[misc]
        assert time.monotonic() - began < 1
        assert await gets(one, api_key.new_key()) == 401


async def accepted_key(api: RunningApi, tenant: str, **fields: object) -> str:
    """A new key that the API knows already."""
    key = await add_key(api.services.access, tenant, **fields)  # type: ignore[arg-type]  # as named
    await wait_until(lambda: accepts(api, key), description="accepted")
    return key


async def accepts(api: RunningApi, key: str) -> bool:
    return await gets(api, key) == 200


async def test_a_key_that_is_in_use_costs_no_call_of_redis(redis_url: str) -> None:
    async with closed_api(redis_url) as api:
        key = await accepted_key(api, "ada")
        await api.services.connections.ask("DEL", api.services.connections.keys.api_keys())
        assert await gets(api, key, "/roles") == 200


async def test_a_revoked_key_ends_its_open_streams_on_every_process(
    redis_url: str, worker: Rig
) -> None:
    async with closed_api(redis_url) as one, closed_api(redis_url) as two:
        access = one.services.access
        stolen, good = await add_key(access, "ada", "1"), await add_key(access, "ada", "2")
        for api in (one, two):
            await wait_until(lambda api=api: accepts(api, stolen), description="accepted")  # type: ignore[misc]
        body = {"message": "hi", "conversation_id": "c"}
        answer = await one.client.post("/chat", json=body, headers=of(stolen))
        path = f"/chat/{answer.json()['request_id']}/stream"
        wires = [path, "/conversations/c/stream", path + "?format=text"]
        async with asyncio.TaskGroup() as group:
            ending = [
                group.create_task(read_to_the_end(api, wire, stolen))
                for api in (one, two)
                for wire in wires
            ]
            staying = group.create_task(read_to_the_end(one, path, good))
            await wait_until(
                lambda: (
                    (one.services.streams.open_streams, two.services.streams.open_streams) == (4, 3)
                ),
                description="all streams are open",
            )
            began = time.monotonic()
            assert await access.revoke("1")
            for task in ending:
                assert not await task
            assert time.monotonic() - began < 5
            assert not staying.done()
            await worker.claim()
            await worker.finish("x")
            assert await staying
        assert await gets(one, stolen) == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/streams", {"conversations": [{"conversation_id": "c"}]}),
        ("/api/chat", {"id": "c", "messages": [UI_MESSAGE]}),
        ("/api/gpt/get", {"message": "hi"}),
        ("/v1/responses", {"input": "hi", "stream": True, "background": True}),
    ],
)
async def test_a_revoked_key_ends_the_streams_of_every_protocol(
    redis_url: str, path: str, body: dict[str, object]
) -> None:
    async with closed_api(redis_url) as api:
        key = await accepted_key(api, "ada")
        async with api.client.stream("POST", path, json=body, headers=of(key)) as stream:
            assert stream.status_code == 200
            await api.services.access.revoke("1")
            with pytest.raises(httpx2.TransportError):
                await stream.aread()


async def test_the_tickets_of_a_revoked_key_are_void_and_their_streams_end(
    redis_url: str,
) -> None:
    async with closed_api(redis_url) as api:
        key = await accepted_key(api, "ada")
        made = await api.client.post("/chat", json={"message": "hi"}, headers=of(key))
        path = f"/chat/{made.json()['request_id']}"
        issued = await api.client.post(f"{path}/ticket", json={"rights": "read"}, headers=of(key))
        ticket = issued.json()["ticket"]
        async with api.client.stream("GET", f"{path}/stream?ticket={ticket}") as stream:
            await api.services.access.revoke("1")
            with pytest.raises(httpx2.TransportError):
                await stream.aread()
        answer = await api.client.get(path, headers={"Authorization": f"Ticket {ticket}"})
        assert answer.status_code == 401


async def read_to_the_end(api: RunningApi, path: str, key: str) -> bool:
    """Whether the stream ended in order."""
    try:
        async with api.client.stream("GET", path, headers=of(key)) as answer:
            assert answer.status_code == 200
            async for _ in answer.aiter_bytes():
                pass
    except (httpx2.ReadError, httpx2.RemoteProtocolError):
        return False
    return True


async def test_an_expired_key_opens_nothing_and_its_streams_end(redis_url: str) -> None:
    async with closed_api(redis_url) as api:
        soon = int(time.time() * 1000) + 700
        key = await accepted_key(api, "ada", expires_ms=soon)
        answer = await api.client.post("/chat", json={"message": "hi"}, headers=of(key))
        path = f"/chat/{answer.json()['request_id']}/stream"
        assert not await read_to_the_end(api, path, key)
        assert await gets(api, key) == 401


async def test_an_open_api_closes_when_redis_holds_a_key_and_never_opens_again(
    redis_url: str,
) -> None:
    async with running_api(redis_url, timing=FAST) as api:
        assert (await api.client.get("/chat")).status_code == 200
        key = await add_key(api.services.access, "ada")
        await wait_until(lambda: is_closed(api), description="closed")
        await wait_until(lambda: accepts(api, key), description="accepted")
        await api.services.connections.ask("FLUSHALL")
        await wait_until(lambda: refuses(api, key), description="the key is gone")
        assert await is_closed(api)


async def is_closed(api: RunningApi) -> bool:
    return (await api.client.get("/chat")).status_code == 401


async def refuses(api: RunningApi, key: str) -> bool:
    return await gets(api, key) == 401


async def test_the_last_use_of_a_key_is_kept_and_the_key_is_not(redis_url: str) -> None:
    async with closed_api(redis_url) as api:
        access = api.services.access
        key = await accepted_key(api, "ada")

        async def is_noted() -> bool:
            ((record, used_ms),) = await access.listed()
            return record.key_id == "1" and used_ms is not None

        await wait_until(is_noted, description="the use is noted")
        stored = await api.services.connections.ask("HGETALL", "{p0}:keys")
        assert key not in str(stored)


async def test_a_key_id_names_one_key(redis_url: str) -> None:
    connections = Connections(redis_url)
    access = AccessRecords(connections)
    try:
        await add_key(access, "ada")
        with pytest.raises(Refused):
            await add_key(access, "bob")
        assert await access.revoke("1")
        assert await access.revoke("1")
        assert not await access.revoke("2")
    finally:
        await connections.aclose()


def test_an_address_that_tries_keys_is_slowed_and_logged_once_a_minute() -> None:
    now_s = 100.0
    tries = FailedTries(lambda: now_s)
    with structlog.testing.capture_logs() as logged:
        delays = [tries.note("192.0.2.1") for _ in range(10)]
        assert delays[:3] == [0, 0, 0]
        assert delays[3:] == sorted(delays[3:])
        assert delays[-1] == 2.0
        assert tries.note("192.0.2.2") == 0
        now_s += 61
        assert tries.note("192.0.2.1") == 0
    assert [(line["address"], line["tries"]) for line in logged] == [
        ("192.0.2.1", 1),
        ("192.0.2.2", 1),
        ("192.0.2.1", 10),
    ]


async def test_refusals_beyond_what_may_wait_are_answered_at_once() -> None:
    tries = FailedTries(most_waiting=2)
    wrong = Unrecognized("invalid_api_key", "This API key is unknown.")
    for _ in range(3):
        with pytest.raises(Unrecognized):
            await tries.refuse("192.0.2.1", wrong)
    answers = [asyncio.create_task(tries.refuse("192.0.2.1", wrong)) for _ in range(5)]
    refused = await asyncio.gather(*answers, return_exceptions=True)
    codes = [getattr(problem, "code", None) for problem in refused]
    assert codes == ["invalid_api_key"] * 2 + ["too_many_tries"] * 3


def test_a_host_with_many_addresses_is_one_host() -> None:
    tries = FailedTries()
    delays = [tries.note(f"2001:db8::{n}") for n in range(1, 6)]
    assert delays[-1] > 0
    assert len([n for n in range(20_000) if tries.note(f"192.0.2.{n}")]) == 0


async def test_wrong_keys_are_counted_and_a_valid_key_is_not_slowed(redis_url: str) -> None:
    key = "the-key-of-ada-01"
    async with running_api(redis_url, api_keys=f"ada:{key}") as api:
        with structlog.testing.capture_logs() as logged:
            wrong = [gets(api, f"wrong-key-of-ada-{n}") for n in range(6)]
            statuses = asyncio.gather(*wrong)
            assert await gets(api, key) == 200
            assert await statuses == [401] * 6
        assert "wrong-key" not in str(logged)
        metrics = (await api.client.get("/metrics", headers=of(key))).text
        assert 'tickertape_refusals_total{code="invalid_api_key"} 6.0' in metrics
