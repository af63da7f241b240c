"""Requests of functions are handed to workers that serve them, whatever moves them meanwhile."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Empty, Partition
from tests.support.rig import open_rig
from tickertape.broker.dead import DeadRequests
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.looks import Look, Looks
from tickertape.broker.pools import is_function_name
from tickertape.broker.queue import Queue
from tickertape.broker.queue_depth import read_queue_depth
from tickertape.broker.queue_lines import QueueLines

AGENT = "support-agent"
BOTH = ("", AGENT)


async def submit(partition: Partition, id_: str, tenant: str = "t", conv: str = "") -> None:
    await partition.submit(id_, tenant, pool=AGENT, format_=2, conv=conv)


async def take(partition: Partition, *pools: str) -> Go:
    got = await partition.claim(pools=pools, format_=2)
    assert isinstance(got, Go), "nothing waits"
    return got


async def test_a_worker_is_handed_requests_of_its_pools_only(partition: Partition) -> None:
    await submit(partition, "a")
    await partition.submit("plain")
    assert isinstance(await partition.claim(pools=["other"], format_=2), Empty)
    assert (await take(partition, "")).id == "plain"
    assert isinstance(await partition.claim(), Empty)
    assert (await take(partition, "other", AGENT))[::10] == ("a", AGENT)


@pytest.mark.parametrize("how", ["release", "due", "crash", "suspect", "next of conversation"])
async def test_a_request_comes_back_into_its_pool(partition: Partition, how: str) -> None:
    partition.max_crashes = 2 if how == "suspect" else 3
    if how == "next of conversation":
        await partition.submit("first", conv="c")
    await submit(partition, "a", conv="c")
    if how == "next of conversation":
        await partition.finish(await partition.take(), 1)
    else:
        go = await take(partition, AGENT)
        if how == "release":
            await partition.release(go)
        elif how == "due":
            await partition.retry(go)
            await partition.make_due("a")
        else:
            await partition.end_lease(go)
    # A worker of the upstream takes it back from the dead one, and gets nothing.
    assert isinstance(await partition.claim(format_=2), Empty)
    assert await partition.state("a") == "queued"
    assert (await take(partition, AGENT)).id == "a"


@pytest.mark.parametrize("pools", [("",), BOTH, (AGENT,)])
@pytest.mark.parametrize("place", ["ring", "newer"])
async def test_a_request_that_a_worker_without_pools_has_queued_for_the_upstream_is_moved(
    partition: Partition, pools: tuple[str, ...], place: str
) -> None:
    """Such a worker of an earlier release takes requests of dead workers back, too."""
    await submit(partition, "a")
    await misplace(partition, "a")
    if place == "newer" or pools == (AGENT,):
        await partition.client.delete(f"{TAG}wait:t", f"{TAG}ring")
        await partition.client.zadd(f"{TAG}newer", {"a": 2})
    got = await partition.claim(pools=pools, format_=2)
    assert isinstance(got, Go) == (AGENT in pools)
    if isinstance(got, Empty):
        assert (await take(partition, AGENT)).id == "a"


async def misplace(partition: Partition, id_: str) -> None:
    await partition.client.delete(f"{TAG}ring:{AGENT}", f"{TAG}wait:{AGENT}|t")
    await partition.client.rpush(f"{TAG}wait:t", id_)
    await partition.client.rpush(f"{TAG}ring", "t")


@pytest.mark.parametrize("is_misplaced", [False, True])
async def test_a_waiting_request_of_a_function_can_be_cancelled(
    partition: Partition, is_misplaced: bool
) -> None:
    await submit(partition, "a")
    if is_misplaced:
        await misplace(partition, "a")
    assert await partition.cancel("a") == ("OK", "cancelled")
    assert isinstance(await partition.claim(pools=BOTH, format_=2), Empty)


async def test_a_request_of_a_function_that_needs_a_newer_worker_waits_for_one_of_its_pool(
    partition: Partition,
) -> None:
    await partition.submit("a", pool=AGENT, format_=3)
    assert await partition.claim(pools=BOTH, format_=2) == Empty(-1)
    assert await partition.claim(format_=3) == Empty(-1)
    got = await partition.claim(pools=[AGENT], format_=3)
    assert isinstance(got, Go)


async def test_a_tenant_with_fewer_running_requests_is_next_in_whatever_pool_it_waits(
    partition: Partition,
) -> None:
    for number in range(4):
        await submit(partition, f"a{number}", "a")
        await partition.submit(f"p{number}", "a")
    flood = [await take(partition, *BOTH) for _ in range(2)]
    assert {go.tenant for go in flood} == {"a"}
    await submit(partition, "b0", "b")
    await partition.submit("b1", "b")
    assert {(await take(partition, *BOTH)).id for _ in range(2)} == {"b0", "b1"}


async def test_a_worker_of_two_pools_serves_them_by_turns(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        for pool in ("", "", AGENT, AGENT):
            await rig.submit(pool=pool)
        queue = Queue(rig.connections, rig.settings, worker="w", pools=BOTH)
        claims = [await queue.claim(0, str(n)) for n in range(4)]
        pools = [claim.pool for claim in claims if isinstance(claim, Lease)]
        assert sorted(pools[:2]) == sorted(pools[2:]) == ["", AGENT]


async def test_users_of_a_tenant_share_its_turns_in_each_pool(partition: Partition) -> None:
    for user in ("t~1", "t~2"):
        for number in range(2):
            await submit(partition, f"{user}{number}", user)
    await submit(partition, "other", "u")
    assert [await partition.position(f"t~{n}0", f"t~{n}") for n in (1, 2)] == [0, 2]
    assert [(await take(partition, AGENT)).id for _ in range(3)] == ["t~10", "other", "t~20"]
    await partition.cancel("t~11", "t~1")
    assert (await take(partition, AGENT)).id == "t~21"
    assert isinstance(await partition.claim(pools=[AGENT], format_=2), Empty)


async def test_only_a_worker_of_the_pool_is_woken_and_a_full_one_passes_the_wake_on(
    partition: Partition,
) -> None:
    partition.has_listeners = True
    pushes = partition.client.pubsub()
    for worker, pools in (("plain", ("",)), ("agent", (AGENT,)), ("both", BOTH)):
        await pushes.ssubscribe(f"{TAG}push:worker:{worker}")
        await pushes.get_message(timeout=5)
        await partition.claim(worker, pools=pools, format_=2)

    async def woken() -> str:
        message = await pushes.get_message(timeout=5)
        assert message is not None
        return str(message["channel"].decode()).removeprefix(f"{TAG}push:worker:")

    await submit(partition, "a")
    assert await woken() == "agent"
    assert await partition.claim("agent", take=False, pools=[AGENT], format_=2) == Empty(0)
    assert await woken() == "both"
    await partition.submit("b")
    assert await woken() == "plain"
    assert await partition.tokens() == 0
    assert (await partition.claim("both", pools=BOTH, format_=2)) != Empty(-1)
    await pushes.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py


async def test_places_looks_and_the_depth_of_the_queue_know_the_pool(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        ids = [await rig.submit(pool=pool) for pool in ("", AGENT, AGENT, "other")]
        places = [await rig.requests.position(id_, "public") for id_ in ids]
        assert places == [0, 0, 1, 0]
        lines = await QueueLines(rig.connections).read(0, [("public", 0)], AGENT)
        assert lines.positions() == {ids[1]: 0, ids[2]: 1}
        assert (await rig.requests.get(ids[1], "public")).pool == AGENT
        assert (await read_queue_depth(rig.connections)).waiting == 4
        await rig.claim()
        assert await Looks(rig.connections).has_waiting(4) is False
        assert not (await Looks(rig.connections).look(0)).has_waiting
        looks = Looks(rig.connections, pools=BOTH)
        assert await looks.has_waiting(4) is True
        look = await looks.look(0)
        assert look == Look(has_waiting=True, next_ms=look.next_ms)


async def test_a_recount_knows_the_requests_of_functions(partition: Partition) -> None:
    for id_ in "ab":
        await submit(partition, id_)
    await partition.client.delete(f"{TAG}tenant:t", f"{TAG}load")
    assert (await partition.recount())[:2] == ("OK", 2)
    assert (await partition.snapshot()).get("pools") == {AGENT}
    for id_ in "ab":
        await partition.cancel(id_)
    await partition.recount()
    assert (await partition.snapshot()).get("pools") is None


async def test_a_poison_request_is_tried_again_by_its_function(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        dead_id = await rig.submit(pool=AGENT)
        queue = Queue(rig.connections, rig.settings, worker="w", pools=[AGENT])
        for number in range(rig.settings.max_crashes):
            assert isinstance(await queue.claim(0, f"{number}"), Lease)
            await rig.connections.ask("ZADD", f"{TAG}running", 1, dead_id)
        assert isinstance(await queue.claim(0, "last"), Nothing)
        again = await DeadRequests(rig.connections, rig.settings).retry(dead_id)
        assert isinstance(await rig.queue.claim(0, "plain"), Nothing)
        lease = await queue.claim(0, "again")
        assert isinstance(lease, Lease)
        assert (lease.request_id, lease.pool) == (again, AGENT)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        *[(good, True) for good in ("a", "support-agent", "team/agent:v1.2_x", "4o", "x" * 64)],
        *[(bad, False) for bad in ("", "-a", "a|b", "a~b", "a b", "ä", "a\n", "{a}", "x" * 65)],
    ],
)
def test_a_function_s_name_is_a_part_of_names_in_redis(name: str, is_good: bool) -> None:
    assert is_function_name(name) == is_good
