"""Retention: for a tenant by the list of keys, for a request and a conversation by the caller."""

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.listed_keys import parse_keys
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.submission import conversation_key

TENANTS = "ada:the-key-of-ada-01 retention_s=600 conversation_ttl_s=7200,bob:the-key-of-bob-01"
ADA, BOB = (
    {"Authorization": "Bearer the-key-of-ada-01"},
    {"Authorization": "Bearer the-key-of-bob-01"},
)


async def ttl_s(rig: Rig, key: str) -> float:
    return int(await rig.connections.ask("PTTL", key)) / 1000


async def ended(api: RunningApi, rig: Rig, **fields: object) -> str:
    request_id = await api.submit(**fields)  # type: ignore[arg-type]  # fields of a body
    assert await rig.claim() == request_id
    await rig.finish()
    return request_id


async def refused(api: RunningApi, **fields: object) -> dict[str, str]:
    answer = await api.client.post("/chat", json={"message": "hi", **fields})
    assert answer.status_code == 400
    return dict(answer.json()["error"])


def conversation_of(tenant: str, name: str = "c") -> str:
    return KEYS.conversation(0, conversation_key(tenant, name))


async def test_a_tenant_s_requests_and_conversations_are_kept_as_its_key_says(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as rig:
        for headers, tenant, request_s, conversation_s in (
            (ADA, "ada", 600, 7200),
            (BOB, "bob", 3600, 604_800),
        ):
            async with running_api(redis_url, api_keys=TENANTS, headers=headers) as api:
                request_id = await ended(api, rig, conversation_id="c")
            for key in (KEYS.request(request_id), KEYS.log(request_id)):
                assert request_s - 60 < await ttl_s(rig, key) <= request_s
            key = conversation_of(tenant)
            for each in (key, f"{key}:turns"):
                assert conversation_s - 60 < await ttl_s(rig, each) <= conversation_s


async def test_a_caller_shortens_the_retention_of_a_request(redis_url: str) -> None:
    async with open_rig(redis_url) as rig, running_api(redis_url) as api:
        request_id = await ended(api, rig, retention_s=100)
        assert 40 < await ttl_s(rig, KEYS.log(request_id)) <= 100
        error = await refused(api, retention_s=3601)
        assert (error["param"], error["message"]) == (
            "retention_s",
            "retention_s: use at most 3600",
        )
        assert (await refused(api, retention_s=0))["param"] == "retention_s"


async def test_the_retention_of_a_conversation_holds_for_its_later_requests(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as rig, running_api(redis_url) as api:
        first = await ended(api, rig, conversation_id="c", retention_s=500)
        assert await ttl_s(rig, KEYS.log(first)) <= 500
        assert await ttl_s(rig, conversation_of("public")) <= 500
        second = await ended(api, rig, conversation_id="c")
        assert await ttl_s(rig, KEYS.log(second)) <= 500
        assert 440 < await ttl_s(rig, conversation_of("public")) <= 500
        assert (await refused(api, conversation_id="c", retention_s=604_801))["param"] == (
            "retention_s"
        )


async def test_the_retention_of_an_idle_conversation_can_be_changed(redis_url: str) -> None:
    async with open_rig(redis_url) as rig, running_api(redis_url) as api:
        await ended(api, rig, conversation_id="c")
        path = "/conversations/c"
        assert (await api.client.patch(path, json={"retention_s": 300})).status_code == 200
        for key in (conversation_of("public"), f"{conversation_of('public')}:turns"):
            assert 240 < await ttl_s(rig, key) <= 300
        longer = await api.client.patch(path, json={"retention_s": 604_801})
        assert longer.json()["error"]["param"] == "retention_s"
        assert (await api.client.patch(path, json={})).status_code == 400
        missing = await api.client.patch("/conversations/none", json={"retention_s": 300})
        assert missing.status_code == 404


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ("ada:secret retention_s=0", "retention_s"),
        ("ada:secret retention_s=1.5", "retention_s"),
        ("ada:secret conversation_ttl_s=99999999999", "conversation_ttl_s"),
        ("ada:secret conversation_ttl_s=", "conversation_ttl_s"),
        ("ada:secret keep_s=5", "keep_s"),
        ("ada:secret retention_s=5 more", "item 1"),
    ],
)
def test_a_wrong_retention_of_a_key_is_named_and_the_key_is_not(item: str, named: str) -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        parse_keys(item)
    assert named in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_the_shortest_retention_of_a_tenant_s_keys_counts() -> None:
    keys = parse_keys(
        "ada:one-key-of-ada-01 retention_s=9,"
        "ada:two-key-of-ada-01 retention_s=5 conversation_ttl_s=7"
    )
    assert keys.retention("ada") == (5, 7)
    assert keys.retention("bob") == (None, None)
    caller = keys.find("two-key-of-ada-01")
    assert caller is not None
    assert caller.tenant == "ada"
