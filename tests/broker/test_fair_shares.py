"""One tenant beside others: its share of the workers, and its share of the queue's memory."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Empty, Partition
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, open_rig
from tickertape.broker.principals import principal_of


async def submit_many(partition: Partition, tenant: str, count: int, weight: str = "") -> None:
    for number in range(count):
        await partition.submit(f"{tenant}{number}", tenant, weight=weight)


async def take_tenants(partition: Partition, count: int) -> str:
    return "".join([(await partition.take()).tenant for _ in range(count)])


async def test_a_tenant_that_holds_all_workers_gets_none_that_becomes_free_while_another_waits(
    partition: Partition,
) -> None:
    await submit_many(partition, "f", 20)
    flood = [await partition.take() for _ in range(8)]
    await submit_many(partition, "c", 6)
    for number in range(4):
        await partition.finish(flood[number], 1)
        assert (await partition.take()).tenant == "c"
    # Now each of them has four.
    await partition.finish(flood[4], 1)
    assert (await partition.take()).tenant == "f"


async def test_alone_a_tenant_may_have_all_workers(partition: Partition) -> None:
    await submit_many(partition, "f", 9)
    assert await take_tenants(partition, 9) == "f" * 9


async def test_tenants_with_as_many_running_requests_have_their_turns(partition: Partition) -> None:
    for tenant in "abc":
        await submit_many(partition, tenant, 3)
    assert await take_tenants(partition, 9) == "abcabcabc"


async def test_a_tenant_with_weight_3_gets_three_times_as_many_workers(
    partition: Partition,
) -> None:
    await submit_many(partition, "a", 9, weight="3")
    await submit_many(partition, "b", 9)
    assert sorted(await take_tenants(partition, 8)) == [*"aaaaaabb"]


async def test_requests_that_leave_their_worker_do_not_count(partition: Partition) -> None:
    await submit_many(partition, "a", 4)
    first, second, third = [await partition.take() for _ in range(3)]
    await partition.retry(first, 60_000)
    await partition.release(second)
    await partition.cancel(third.id, "a")
    assert (await partition.snapshot()).hash("busy") == {}


async def test_a_request_whose_worker_died_does_not_count(partition: Partition) -> None:
    await submit_many(partition, "a", 1)
    go = await partition.take()
    await partition.end_lease(go)
    assert isinstance(await partition.claim(take=False), Empty)
    assert (await partition.snapshot()).hash("busy") == {}
    assert isinstance(await partition.claim(), Go)
    assert (await partition.snapshot()).hash("busy") == {"a": "1"}


async def test_a_tenant_cannot_fill_the_queue_for_all(partition: Partition) -> None:
    payload = "x" * 100
    assert await partition.submit("a", payload=payload, tenant_bytes=250) == ("OK", "a")
    refused = await partition.submit("b", payload=payload, tenant_bytes=150)
    assert refused == ("TENANT_BYTES", "")
    assert await partition.submit("c", "u", payload=payload, tenant_bytes=150) == ("OK", "c")
    await partition.cancel("a")
    assert await partition.submit("b", payload=payload, tenant_bytes=150) == ("OK", "b")


async def test_all_users_of_a_tenant_share_what_the_tenant_may_have(partition: Partition) -> None:
    for user in "123":
        await submit_many(partition, f"f~{user}", 3)
    for _ in range(3):
        await partition.take()
    await submit_many(partition, "c", 3)
    assert await take_tenants(partition, 3) == "ccc"
    payload = "x" * 100
    refused = await partition.submit("b", "f~4", payload=payload, tenant_bytes=150)
    assert refused == ("TENANT_BYTES", "")


@pytest.mark.slow
async def test_a_hundred_waiting_users_of_a_tenant_keep_no_other_tenant_waiting(
    partition: Partition,
) -> None:
    for number in range(100):
        await partition.submit(f"a{number}", principal_of("a", f"user {number}"))
    for _ in range(4):
        await partition.take()
    await submit_many(partition, "b", 2)
    assert await take_tenants(partition, 2) == "bb"


async def test_a_thousand_waiting_users_of_a_tenant_hide_no_other_tenant(redis_url: str) -> None:
    settings = GivenSettings(openai_model="m", tenant_limit=10_000, lease_s=300)
    async with open_rig(redis_url, settings) as rig:
        users = [principal_of("a", f"user {number}") for number in range(1000)]
        for user in users[:500]:
            await rig.submit(user)
        only = await rig.submit("b")
        for user in users[500:]:
            await rig.submit(user)
        taken = [await rig.claim() for _ in range(2)]
        assert only in taken, "the other tenant has every second turn"
        tenants = [(await rig.claim_lease()).tenant for _ in range(999)]
        assert sorted(tenants) == sorted(users[1:]), "each user has a turn before any has two"


async def test_the_users_of_a_tenant_have_their_turns_one_after_the_other(
    partition: Partition,
) -> None:
    for user, count in (("ann", 4), ("bob", 2), ("cy", 1)):
        await submit_many(partition, principal_of("a", user), count)
    names = {principal_of("a", user): user for user in ("ann", "bob", "cy")}
    taken = [names[(await partition.take()).tenant] for _ in range(7)]
    assert taken == ["ann", "bob", "cy", "ann", "bob", "ann", "ann"]


async def test_a_tenant_and_its_users_and_another_tenant_all_have_turns(
    partition: Partition,
) -> None:
    await submit_many(partition, "a", 2)
    await submit_many(partition, principal_of("a", "ann"), 2)
    await submit_many(partition, "b", 2)
    taken = [(await partition.take()).tenant.partition("~")[0] for _ in range(6)]
    assert sorted(taken[:4]) == ["a", "a", "b", "b"]


async def test_a_cancelled_request_of_a_user_takes_its_turns_away(partition: Partition) -> None:
    ann, bob = principal_of("a", "ann"), principal_of("a", "bob")
    await partition.submit("1", ann)
    await partition.submit("2", bob)
    await partition.cancel("1", ann)
    assert (await partition.take()).id == "2"
    assert isinstance(await partition.claim(), Empty)


async def test_the_place_of_a_user_counts_the_turns_inside_its_tenant(
    partition: Partition,
) -> None:
    ann, bob = principal_of("a", "ann"), principal_of("a", "bob")
    for owner in (ann, bob, "b"):
        await submit_many(partition, owner, 3)
    places = {
        f"{owner}{number}": await partition.position(f"{owner}{number}", owner)
        for owner in (ann, bob, "b")
        for number in range(3)
    }
    order = sorted(places, key=lambda id_: places[id_])
    assert sorted(places.values()) == list(range(9))
    # All three run as many requests as each other: each one that is taken ends at once.
    taken = []
    for _ in range(9):
        go = await partition.take()
        taken.append(go.id)
        await partition.finish(go, 1)
    assert taken == order


async def test_a_place_that_an_older_process_took_from_the_ring_comes_back(
    partition: Partition,
) -> None:
    await partition.submit("1", principal_of("a", "ann"))
    await partition.client.lrem(f"{TAG}ring", 0, "a~")
    await partition.submit("2", principal_of("a", "bob"))
    assert {(await partition.take()).id for _ in range(2)} == {"1", "2"}


async def test_a_tenant_whose_weight_is_taken_away_has_the_weight_of_all_others(
    partition: Partition,
) -> None:
    await partition.submit("1", "a", weight="3")
    assert (await partition.snapshot()).hash("weights") == {"a": "3"}
    await partition.submit("2", principal_of("a", "ann"), weight="1")
    assert (await partition.snapshot()).hash("weights") == {}


async def test_bytes_that_a_process_of_version_0_1_left_uncounted_refuse_no_request(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as rig:
        await rig.connections.ask("HSET", KEYS.owed(0), TENANT, 10 * rig.settings.queue_bytes)
        assert (await rig.record(await rig.submit())).state == "queued"
