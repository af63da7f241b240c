"""What a tenant keeps is counted until it expires, and a limit refuses more."""

import pytest

from tests.broker.checked_partition import TAG
from tests.broker.partition import CONVERSATION_TTL_S, RETENTION_S, Partition
from tests.support.rig import Rig, open_rig
from tickertape.broker.connections import Connections
from tickertape.broker.errors import KeptBytesReached
from tickertape.broker.kept_bytes import KeptBytes, end_of
from tickertape.runtime.settings import Settings

TEXT = "x" * 10_000


async def kept(partition: Partition, tenant: str = "t") -> int:
    """The bytes that are counted for a tenant."""
    listed = dict((await partition.snapshot()).list("kept"))
    return int(listed.get(tenant, 0))


async def ends(partition: Partition, tenant: str = "t") -> list[int]:
    """In how many seconds each counted part expires."""
    now_s, _ = await partition.client.time()
    counted = (await partition.snapshot()).hash(f"kept:{tenant}")
    return sorted(int(end) - now_s for end in counted)


async def answer(partition: Partition, id_: str, tenant: str = "t", *, conv: str = "") -> None:
    """A request that ends with TEXT."""
    assert (await partition.submit(id_, tenant, conv=conv))[0] == "OK"
    answered = f'"{TEXT}"' if conv else ""
    await partition.finish(await partition.take(), 1, TEXT, answered=answered)


async def let_expire(partition: Partition, tenant: str = "t") -> None:
    """Let the time of all that is counted have come."""
    await partition.client.delete(f"{TAG}req:a", f"{TAG}log:a")
    steps = f"{TAG}kept:{tenant}"
    for number, (end, size) in enumerate((await partition.client.hgetall(steps)).items()):
        await partition.client.hdel(steps, end)
        await partition.client.hset(steps, str(1000 + number), size)
    await partition.client.zadd(f"{TAG}aging", {tenant: 1_000_000})


async def test_a_finished_request_counts_what_its_log_has(partition: Partition) -> None:
    await partition.submit("a", payload=f'"{TEXT * 3}"')
    assert await kept(partition) == 0
    await partition.finish(await partition.take(), 1, TEXT)
    # The payload is dropped at the end.
    assert len(TEXT) < await kept(partition) < len(TEXT) + 1000
    [end] = await ends(partition)
    assert RETENTION_S <= end <= RETENTION_S + 130


async def test_a_stopped_request_counts_what_it_has_said(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.append(go, 1, TEXT)
    await partition.cancel("a")
    assert len(TEXT) < await kept(partition) < len(TEXT) + 1000


async def test_a_conversation_counts_its_turns_until_it_expires(partition: Partition) -> None:
    for number in range(3):
        await answer(partition, f"a{number}", conv="talk")
    # Each answer is in a log and in the turns.
    assert 6 * len(TEXT) < await kept(partition) < 6 * len(TEXT) + 3000
    *_, last = await ends(partition)
    assert CONVERSATION_TTL_S <= last <= CONVERSATION_TTL_S + 260


async def test_turns_that_a_long_conversation_drops_are_not_counted_for_good(
    redis_url: str,
) -> None:
    question = [{"role": "user", "content": "x" * 99}]
    async with open_rig(redis_url, Settings(conversation_turns=5)) as rig:
        key = ""
        for _ in range(120):
            await rig.submit(conversation_id="talk", question=question)
            key = f"{TAG}conv:{(await rig.claim_lease()).conversation}"
            await rig.finish("x" * 99)
        rows = await rig.connections.ask("XLEN", f"{key}:turns")
        stored = await rig.connections.ask("HGET", key, "stored")
        assert rows < 200
        assert 90 * rows < int(stored.split(b"|")[1]) < 150 * rows


@pytest.mark.parametrize("how", ["erase", "forget", "erase turn"])
async def test_what_is_erased_counts_no_more(partition: Partition, how: str) -> None:
    await answer(partition, "a", conv="" if how == "erase" else "talk")
    if how == "forget":
        await partition.forget("talk")
    else:
        await partition.erase("a")
    assert await kept(partition) <= 10
    if how != "erase turn":
        assert "kept:t" not in (await partition.snapshot()).keys


async def test_what_has_expired_makes_room_without_anybody_s_help(partition: Partition) -> None:
    await answer(partition, "a")
    limit = str(len(TEXT) + 524)
    assert await partition.submit("b", kept_limit=limit) == ("KEPT", "")
    await let_expire(partition)
    assert (await partition.submit("b", kept_limit=limit))[0] == "OK"
    assert await kept(partition) == 0


async def test_a_tenant_that_comes_no_more_is_dropped_too(partition: Partition) -> None:
    await answer(partition, "a")
    await let_expire(partition)
    await partition.recount()
    now = await partition.snapshot()
    assert not now.list("kept")
    assert "kept:t" not in now.keys


async def test_a_tenant_keeps_no_more_than_its_limit_and_others_are_not_refused(
    partition: Partition,
) -> None:
    limit, number = str(5 * len(TEXT)), 0
    while (await partition.submit(f"a{number}", kept_limit=limit))[0] == "OK":
        await partition.finish(await partition.take(), 1, TEXT)
        number += 1
    assert number == 5
    async with partition.unchanged():
        assert await partition.submit("b", "t~user", kept_limit=limit) == ("KEPT", "")
    assert (await partition.submit("b", "u", kept_limit=limit))[0] == "OK"


async def test_requests_that_wait_count_against_the_limit(partition: Partition) -> None:
    payload = f'"{TEXT}"'
    for id_ in ("a", "b"):
        assert (await partition.submit(id_, payload=payload, kept_limit="25000"))[0] == "OK"
    assert await partition.submit("c", payload=payload, kept_limit="25000") == ("KEPT", "")
    await partition.cancel("a")
    assert (await partition.submit("c", payload=payload, kept_limit="25000"))[0] == "OK"


async def test_a_repeated_submit_is_found_although_the_limit_is_reached(
    partition: Partition,
) -> None:
    await partition.submit("a", idem="k")
    assert await partition.submit("b", idem="k", kept_limit="1") == ("EXISTS", "a")


@pytest.mark.parametrize("missing", ["kept", "kept:public", "aging"])
async def test_a_count_that_redis_has_evicted_stops_nobody(redis_url: str, missing: str) -> None:
    async with open_rig(redis_url) as rig:
        await answered(rig, 2)
        await rig.connections.ask("DEL", f"{TAG}{missing}")
        last = await rig.submit(kept_limit=21_500)
        await rig.requests.cancel(last, "public")
        async for listed in rig.requests.newest("public"):
            await rig.requests.erase(listed.request_id, "public")
        await rig.submit(kept_limit=1000)
        assert not await rig.connections.ask("EXISTS", f"{TAG}kept", f"{TAG}aging")


def test_the_wait_ends_when_enough_has_expired() -> None:
    ends_s = {300: 5, 100: 10, 200: 20}
    assert [end_of(ends_s, excess) for excess in (1, 10, 11, 30, 31, 35, 36)] == [
        100, 100, 200, 200, 300, 300, None,
    ]  # fmt: skip


async def test_a_refusal_names_the_limit_and_the_true_time_to_wait(redis_url: str) -> None:
    async with open_rig(redis_url, Settings(retention_s=600)) as rig:
        await answered(rig, 3)
        with pytest.raises(KeptBytesReached) as refusal:
            await rig.submit(kept_limit=30_000)
        assert 600_000 <= (refusal.value.wait_ms or 0) <= 600_000 + 60_000
        assert "kept_bytes (30000)" in str(refusal.value)
        with pytest.raises(KeptBytesReached) as refusal:
            await rig.submit(payload={"messages": [TEXT]}, kept_limit=9000)
        assert refusal.value.wait_ms is None


async def answered(rig: Rig, count: int) -> None:
    for _ in range(count):
        await rig.submit(kept_limit=10**6)
        await rig.claim()
        await rig.type(TEXT)
        await rig.finish()


async def test_the_limit_holds_over_all_partitions_and_its_whole_can_be_used(
    redis_url: str,
) -> None:
    settings = Settings(partitions=4)
    connections = Connections(redis_url, partitions=4)
    await connections.agree_on_partitions(4)
    try:
        async with open_rig(redis_url, settings) as rig:
            await rig.connections.partitions.refresh()
            payload, limit = {"messages": [TEXT]}, 20 * 10_500
            for _ in range(20):
                await rig.submit(payload=payload, kept_limit=limit)
            with pytest.raises(KeptBytesReached):
                await rig.submit(payload=payload, kept_limit=limit)
    finally:
        await connections.aclose()


async def test_the_largest_tenants_are_summed_over_partitions(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        await rig.connections.ask("ZADD", "{p0}:kept", 5, "a", 7, "b")
        await rig.connections.ask("ZADD", "{p1}:kept", 3, "a")
        assert await KeptBytes(rig.connections).largest(2) == [8, 7]
