"""The limits of a tenant and of the queue, when there are several partitions."""

import asyncio
import contextlib
from typing import Any

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rigs
from tickertape.broker import short_outage
from tickertape.broker.connections import Connections
from tickertape.broker.errors import (
    ConversationBusy,
    QueueFull,
    RateReached,
    TenantLimitReached,
    Unavailable,
)
from tickertape.broker.lua import Scripts
from tickertape.broker.principals import principal_of
from tickertape.broker.rates import RateLimit
from tickertape.broker.repartition import Repartition
from tickertape.broker.request_ids import new_request_id, partition_of
from tickertape.broker.seats import GRACE_MS


def rigs(
    url: str, count: int = 2, **settings: Any
) -> contextlib.AbstractAsyncContextManager[list[Rig]]:
    """Processes of a system with 16 partitions."""
    given = {"openai_model": "m", "partitions": 16, **settings}
    return open_rigs(url, *(GivenSettings(**given) for _ in range(count)))


def requests(limit: int) -> tuple[RateLimit, ...]:
    """A limit of requests a day, and one request of it."""
    return (RateLimit("r", TENANT, limit, 86_400_000, cost=1),)


async def accepted(rigs: list[Rig], count: int, **fields: Any) -> list[str]:
    """The ids of the accepted ones of `count` submits at the same time."""
    answers = await asyncio.gather(
        *(rigs[n % len(rigs)].submit(**fields) for n in range(count)), return_exceptions=True
    )
    refused = {type(answer) for answer in answers if not isinstance(answer, str)}
    assert refused <= {TenantLimitReached}
    return [answer for answer in answers if isinstance(answer, str)]


async def test_a_limit_of_a_hundred_admits_a_hundred_in_sixteen_partitions(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=100) as both:
        assert len(await accepted(both, 150)) == 100
        assert len(await accepted(both, 2, tenant="other")) == 2


async def test_one_conversation_may_use_the_whole_limit(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=20) as both:
        ids = await accepted(both, 30, conversation_id="c")
        assert (len(ids), len({partition_of(id_) for id_ in ids})) == (20, 1)


async def test_each_end_makes_room_for_one_request_at_once(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=5) as both:
        ids = await accepted(both, 5)
        for _ in range(12):
            await both[0].requests.cancel(ids.pop(0), TENANT)
            ids += await accepted(both, 3)
            assert len(ids) == 5


async def test_a_flood_at_the_limit_counts_the_requests_a_few_times(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=3) as both:
        assert len(await accepted(both, 3)) == 3
        await both[0].connections.ask("CONFIG", "RESETSTAT")
        assert await accepted(both, 200) == []
        stats = await both[0].connections.ask("INFO", "commandstats")
        counts = stats["cmdstat_scard"]["calls"] / 16
    # The script of each submit counts one partition, so 12.5 of these are not of a look at all.
    assert counts < 30


async def test_a_refused_submit_takes_no_room(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=3) as both:
        fields = {"idempotency_key": "k", "fingerprint": "f"}
        first = await both[0].submit(**fields)
        assert [await both[1].submit(**fields) for _ in range(9)] == [first] * 9
        assert len(await accepted(both, 9)) == 2
        # At the limit, a repeated submit is still found.
        assert await both[1].submit(**fields) == first


async def test_a_submit_that_its_busy_conversation_refuses_uses_up_no_rate(redis_url: str) -> None:
    async with rigs(redis_url, 1) as (rig,):
        await rig.submit(conversation_id="c", rates=requests(2))
        for _ in range(3):
            with pytest.raises(ConversationBusy):
                await rig.submit(conversation_id="c", on_busy="reject", rates=requests(2))
        await rig.submit(rates=requests(2))
        with pytest.raises(RateReached):
            await rig.submit(rates=requests(2))


async def test_a_repeated_submit_uses_up_no_rate(redis_url: str) -> None:
    async with rigs(redis_url, 1) as (rig,):
        fields: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
        fields["rates"] = requests(2)
        first = await rig.submit(**fields)
        assert [await rig.submit(**fields) for _ in range(3)] == [first] * 3
        await rig.submit(rates=requests(2))
        with pytest.raises(RateReached):
            await rig.submit(rates=requests(2))


async def test_a_process_that_died_between_its_two_steps_holds_its_seat_for_the_grace_only(
    redis_url: str,
) -> None:
    async with rigs(redis_url, tenant_limit=2) as both:
        (first,) = await accepted(both, 1)
        scripts = Scripts(both[0].connections.commands)
        lost = new_request_id(1)
        (seats,) = await both[0].connections.ask("KEYS", "*seats:*")
        await scripts.verdict(
            "seat",
            [seats.decode()] * 2,
            request_id=lost,
            tenant_limit=2,
            user_limit="",
            epoch=0,
            rates="",
        )
        assert await accepted(both, 1) == []
        await both[0].connections.ask("HINCRBY", seats, lost, -GRACE_MS)
        assert len(await accepted(both, 3)) == 1
        assert (await both[0].record(first)).state == "queued"


async def test_seats_that_redis_lost_are_counted_from_the_requests(redis_url: str) -> None:
    async with rigs(redis_url, tenant_limit=4) as both:
        await accepted(both, 3)
        for name in await both[0].connections.ask("KEYS", "*seats:*"):
            await both[0].connections.ask("DEL", name)
        assert len(await accepted(both, 5)) == 1


async def test_the_users_of_a_tenant_are_counted_in_its_home(redis_url: str) -> None:
    async with rigs(redis_url) as (rig, _):
        for user in (None, "ann", "bob", "cid", "dan"):
            await rig.submit(tenant=principal_of(TENANT, user), user_limit=5)
        seats = await rig.connections.ask("KEYS", "*seats:*")
        assert len(seats) == 5
        assert len({name.partition(b":")[0] for name in seats}) == 1


@pytest.mark.parametrize("counts", [(1, 16), (16, 3), (16, 1)])
async def test_a_limit_is_exact_through_a_change_of_the_partitions(
    redis_url: str, counts: tuple[int, int]
) -> None:
    before, after = counts
    async with rigs(redis_url, tenant_limit=10, partitions=before) as both:
        assert len(await accepted(both, 6)) == 6
        await Repartition(both[0].connections).change(after, lambda _: None, announce_s=0)
        assert len(await accepted(both, 9)) == 4


@pytest.fixture
def homes_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Scripts.verdict

    async def away(self: Scripts, name: str, *rest: Any, **arguments: Any) -> Any:
        if name == "seat":
            raise Unavailable
        return await call(self, name, *rest, **arguments)

    monkeypatch.setattr(Scripts, "verdict", away)


@pytest.mark.usefixtures("homes_are_silent")
async def test_a_home_in_a_cluster_that_does_not_answer_leaves_each_partition_its_share(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigs(redis_url, 1, tenant_limit=16) as (rig,):
        monkeypatch.setattr(Connections, "is_cluster", True)
        ids = await accepted([rig], 3, conversation_id="c")
        assert len(ids) == 1


@pytest.mark.usefixtures("homes_are_silent")
async def test_on_one_server_nothing_is_let_in_past_a_count_that_takes_too_long(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_outage, "MOST_WAITING", 0)
    async with rigs(redis_url, 1, tenant_limit=16) as (rig,):
        with pytest.raises(Unavailable):
            await rig.submit()
        assert await rig.connections.ask("KEYS", "*req:*") == []


async def test_a_queue_is_full_at_its_limit_and_no_sooner(redis_url: str) -> None:
    async with rigs(redis_url, 1, queue_limit=20, tenant_limit=100) as (rig,):
        for number in range(20):
            await rig.submit(conversation_id="c" if number % 2 else f"c{number}")
        with pytest.raises(QueueFull):
            await rig.submit(conversation_id="c")


async def test_one_request_may_need_more_memory_than_a_share(redis_url: str) -> None:
    async with rigs(redis_url, 1, queue_bytes=64_000) as (rig,):
        large = {"messages": [{"role": "user", "content": "x" * 30_000}], "params": {}}
        await rig.submit(payload=large)
        await rig.submit(payload=large)
        with pytest.raises(QueueFull):
            await rig.submit(payload=large)


async def test_one_partition_keeps_no_seats(redis_url: str) -> None:
    async with rigs(redis_url, 1, partitions=1, tenant_limit=3) as (rig,):
        assert len(await accepted([rig], 5)) == 3
        connections = Connections(redis_url)
        assert await connections.ask("KEYS", "*seats:*") == []
        await connections.aclose()
    assert KEYS.seats(0, "t") == "{p0}:seats:t"


@pytest.mark.parametrize("partitions", [1, 16])
async def test_a_tenant_with_many_users_has_a_limit_of_its_own(
    redis_url: str, partitions: int
) -> None:
    async with rigs(redis_url, tenant_limit=10, partitions=partitions) as both:
        ids = []
        for number in range(25):
            user = principal_of(TENANT, f"user {number}")
            ids += [(id_, user) for id_ in await accepted(both, 1, tenant=user)]
        assert len(ids) == 10
        assert await accepted(both, 1) == []
        assert len(await accepted(both, 1, tenant=principal_of("other", "ann"))) == 1
        for id_, user in ids[:3]:
            await both[0].requests.cancel(id_, user)
        assert len(await accepted(both, 5)) == 3


@pytest.mark.parametrize("partitions", [1, 16])
async def test_a_user_has_a_limit_inside_that_of_its_tenant(
    redis_url: str, partitions: int
) -> None:
    ann, bob = principal_of(TENANT, "ann"), principal_of(TENANT, "bob")
    async with rigs(redis_url, tenant_limit=10, partitions=partitions) as both:
        ids = await accepted(both, 8, tenant=ann, user_limit=4)
        assert len(ids) == 4
        with pytest.raises(TenantLimitReached, match="user_concurrent"):
            await both[0].submit(ann, user_limit=4)
        assert len(await accepted(both, 8, tenant=bob, user_limit=8)) == 6
        with pytest.raises(TenantLimitReached, match=r"\bconcurrent"):
            await both[0].submit(bob, user_limit=8)
        await both[0].requests.cancel(ids[0], ann)
        assert len(await accepted(both, 3, tenant=ann, user_limit=4)) == 1
