"""Limits of readers: open streams, and bytes of the past, of a tenant and of each of its users."""

import asyncio

import httpx2

from tests.support.rig import open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until

KEYS = "t:a-key-of-tenant-t,u:a-key-of-tenant-u"


def of(tenant: str, user: str | None = None) -> dict[str, str]:
    acting = {"X-Tickertape-User": user} if user else {}
    return {"Authorization": f"Bearer a-key-of-tenant-{tenant}", **acting}


async def submitted(api: RunningApi, headers: dict[str, str]) -> str:
    answer = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
    assert answer.status_code == 202
    return str(answer.json()["request_id"])


async def opened(api: RunningApi, request_id: str, headers: dict[str, str]) -> httpx2.Response:
    request = api.client.build_request("GET", f"/chat/{request_id}/stream", headers=headers)
    response = await api.client.send(request, stream=True)
    if response.status_code != 200:
        await response.aread()
    return response


async def test_a_tenant_has_as_many_open_streams_as_it_may_and_other_tenants_theirs(
    redis_url: str,
) -> None:
    async with running_api(redis_url, api_keys=KEYS, tenant_rules="* streams=3") as api:
        mine, others = await submitted(api, of("t")), await submitted(api, of("u"))
        streams = [await opened(api, mine, of("t")) for _ in range(3)]
        assert [each.status_code for each in streams] == [200] * 3
        refused = await opened(api, mine, of("t"))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert "streams (3)" in refused.json()["error"]["message"]
        assert int(refused.headers["Retry-After"]) > 0
        streams.append(await opened(api, others, of("u")))
        assert streams[-1].status_code == 200
        # A closed stream makes room.
        await streams[0].aclose()
        await wait_until(
            lambda: api.services.streams.open_streams == 3, description="the stream is closed"
        )
        streams.append(await opened(api, mine, of("t")))
        assert streams[-1].status_code == 200
        for stream in streams:
            await stream.aclose()


async def test_many_streams_opened_at_once_are_not_more_than_the_limit(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS, tenant_rules="* streams=5") as api:
        mine = await submitted(api, of("t"))
        streams = await asyncio.gather(*(opened(api, mine, of("t")) for _ in range(20)))
        assert sorted(each.status_code for each in streams) == [200] * 5 + [429] * 15
        for stream in streams:
            await stream.aclose()


async def test_a_user_has_its_own_limit_of_streams(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS, tenant_rules="* user_streams=1") as api:
        ann, bob = of("t", "ann"), of("t", "bob")
        of_ann, of_bob = await submitted(api, ann), await submitted(api, bob)
        streams = [await opened(api, of_ann, ann), await opened(api, of_bob, bob)]
        refused = await opened(api, of_ann, ann)
        assert [each.status_code for each in (*streams, refused)] == [200, 200, 429]
        assert "user_streams" in refused.json()["error"]["message"]
        for stream in streams:
            await stream.aclose()


async def test_a_reader_that_replays_a_finished_log_again_and_again_is_stopped(
    redis_url: str,
) -> None:
    rules = "* replayed_bytes_per_minute=20000"
    async with (
        running_api(redis_url, api_keys=KEYS, tenant_rules=rules) as api,
        open_rig(redis_url) as rig,
    ):
        ids = {}
        for tenant in "tu":
            ids[tenant] = await submitted(api, of(tenant))
            await rig.claim()
            await rig.type("x" * 6000)
            await rig.finish("x" * 6000)
        replays = [await opened(api, ids["t"], of("t")) for _ in range(8)]
        codes = [each.status_code for each in replays]
        assert codes[:3] == [200] * 3
        assert codes[-1] == 429
        assert "replayed_bytes_per_minute (20000)" in replays[-1].json()["error"]["message"]
        # What was read beyond the limit is let go in less than a minute.
        assert 1 <= int(replays[-1].headers["Retry-After"]) <= 30
        document = await api.client.get(f"/chat/{ids['t']}", headers=of("t"))
        assert document.status_code == 429
        other = await opened(api, ids["u"], of("u"))
        assert other.status_code == 200
        for stream in (*replays, other):
            await stream.aclose()


async def test_documents_count_as_bytes_that_were_read(redis_url: str) -> None:
    rules = "* user_replayed_bytes_per_minute=2000"
    async with running_api(redis_url, api_keys=KEYS, tenant_rules=rules) as api:
        mine = await submitted(api, of("t", "ann"))
        codes = []
        for _ in range(60):
            answer = await api.client.get(f"/chat/{mine}", headers=of("t", "ann"))
            codes.append(answer.status_code)
        assert codes[0] == 200
        assert codes[-1] == 429
        assert (await api.client.get("/chat", headers=of("t", "bob"))).status_code == 200
