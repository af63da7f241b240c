"""WorkCheck: what Redis refuses is a condition with a code, in Redis' own words."""

from collections.abc import AsyncIterator

import pytest
from redis import Redis

from tests.support.accounts import ALL, limited_account
from tests.support.servers import ValkeyServer
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable, WritesRefused
from tickertape.broker.redis_errors import REFUSES_WRITES
from tickertape.broker.work_check import WorkCheck, condition_of, upstream_condition
from tickertape.runtime.conditions import Code
from tickertape.runtime.upstream_words import KEY_REFUSED, UNREACHABLE


@pytest.fixture
async def check(own_redis: ValkeyServer) -> AsyncIterator[WorkCheck]:
    connections = Connections(own_redis.url)
    yield WorkCheck(connections)
    await connections.aclose()


async def test_a_server_that_takes_all_writes_has_no_condition_and_nothing_is_left(
    check: WorkCheck, own_redis: ValkeyServer
) -> None:
    assert await check.conditions() == []
    assert await check.conditions() == []
    with Redis.from_url(own_redis.url) as client:
        assert client.keys() == []


async def test_values_of_others_under_the_tried_names_are_no_obstacle(
    check: WorkCheck, own_redis: ValkeyServer
) -> None:
    with Redis.from_url(own_redis.url) as client:
        client.lpush("{p0}:log:~tried", "foreign")
        assert await check.conditions() == []
        assert client.keys() == []


async def test_a_memory_that_is_full_is_met_although_ends_of_requests_are_allowed(
    check: WorkCheck, own_redis: ValkeyServer
) -> None:
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "1")
        (found,) = await check.conditions()
        assert found.code is Code.MEMORY_FULL
        assert found.words.startswith(f"{REFUSES_WRITES}OOM command not allowed")
        assert "script" not in found.words
        client.config_set("maxmemory", "0")
        assert await check.conditions() == []
        assert client.keys() == []


async def test_a_missing_right_is_named_and_nothing_is_written(redis_url: str) -> None:
    with limited_account(redis_url, *ALL, "-xadd") as account:
        connections = Connections(account.url)
        (found,) = await WorkCheck(connections).conditions()
        await connections.aclose()
        assert found == (
            Code.RIGHTS,
            "Redis denies access: this account may not run XADD",
        )
        with Redis.from_url(redis_url) as client:
            assert client.keys() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WritesRefused(f"{REFUSES_WRITES}OOM command not allowed"), Code.MEMORY_FULL),
        (WritesRefused(f"{REFUSES_WRITES}READONLY You can't write"), Code.READ_ONLY),
        (WritesRefused(f"{REFUSES_WRITES}NOREPLICAS Not enough"), Code.WRITES_REFUSED),
        (WritesRefused(f"{REFUSES_WRITES}MISCONF Errors writing"), Code.WRITES_REFUSED),
        (AccessDenied("Redis refuses the login: WRONGPASS"), Code.RIGHTS),
        (SettingsInvalid("Redis 6.2 has no SPUBLISH"), Code.OLD_SERVER),
        (Unavailable(), Code.REDIS_SILENT),
        (TimeoutError(), Code.REDIS_SILENT),
    ],
)
def test_each_failure_of_the_server_is_one_condition(error: Exception, code: Code) -> None:
    assert condition_of(error).code is code
    on_node = Code.CLUSTER_NODE if code is Code.REDIS_SILENT else code
    assert condition_of(error, "h:6379").code is on_node


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        (KEY_REFUSED, Code.UPSTREAM_KEY),
        (UNREACHABLE, Code.NO_UPSTREAM),
        ("The upstream reported an error.", Code.UPSTREAM),
    ],
)
def test_what_workers_publish_of_the_upstream_is_one_condition(sentence: str, code: Code) -> None:
    assert upstream_condition(sentence) == (code, sentence)
