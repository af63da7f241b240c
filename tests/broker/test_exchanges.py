"""CHAIN: what responses said, for those that follow, and never after an erasure."""

from collections.abc import AsyncIterator

import pytest

from tests.broker.checked_partition import TAG, Reply
from tests.broker.partition import RING, Partition
from tests.support.rig import Rig, open_rig
from tickertape.broker.errors import RequestMissing
from tickertape.broker.exchanges import Exchanges

KEEP_S = 100


async def follow(
    partition: Partition,
    id_: str = "a",
    exchange: str = "[]",
    after: str = "",
    *,
    tenant: str = "t",
    keep_s: int = KEEP_S,
    most: int = 9,
) -> Reply:
    return await partition.call(
        "chain",
        [RING],
        request_id=id_,
        tenant=tenant,
        keep_s=keep_s,
        least_s=keep_s // 2,
        exchange=exchange,
        after=after,
        most=most,
    )


async def ended(partition: Partition, *ids: str) -> None:
    for id_ in ids:
        await partition.submit(id_)
        await partition.finish(await partition.take(), 1, "secret")


async def chained(partition: Partition) -> None:
    """Three responses in a row: c follows b, and b follows a."""
    await ended(partition, "a", "b", "c")
    await follow(partition, "a", "of a")
    await follow(partition, "b", "of b", "a")
    await follow(partition, "c", "of c", "b")


async def test_an_exchange_is_stored_once_and_expires(partition: Partition) -> None:
    await ended(partition, "a")
    for exchange in ("[1]", "[2]"):
        assert await follow(partition, exchange=exchange) == ("OK", "")
        stored = (await partition.snapshot()).hash("exchange:a")
        stored.pop("stored")
        assert stored == {"tenant": "t", "exchange": "[1]", "after": ""}
    assert 0 < await partition.client.ttl(f"{TAG}exchange:a") <= KEEP_S


async def test_a_chain_is_read_from_its_end_in_parts(partition: Partition) -> None:
    await chained(partition)
    assert await follow(partition, "c", "of c", "b") == ("OK", "", "of b", "of a")
    assert await follow(partition, "c", "of c", "b", most=1) == ("OK", "a", "of b")
    assert await follow(partition, "a", "") == ("OK", "", "of a")


async def test_a_chain_that_goes_on_in_another_partition_is_read_up_to_there(
    partition: Partition,
) -> None:
    await ended(partition, "r0_b")
    assert await follow(partition, "r0_b", "of b", "r1_a") == ("OK", "r1_a")


async def test_a_parent_is_kept_until_those_that_follow_it_expire(partition: Partition) -> None:
    await chained(partition)
    for id_ in ("a", "b", "c"):
        await partition.client.expire(f"{TAG}exchange:{id_}", KEEP_S // 2 - 9)
    await follow(partition, "c", "of c", "b")
    for id_ in ("a", "b", "c"):
        assert await partition.client.ttl(f"{TAG}exchange:{id_}") > KEEP_S // 2
    async with partition.unchanged():
        await follow(partition, "c", "of c", "b", keep_s=KEEP_S // 2)
    assert await partition.client.ttl(f"{TAG}exchange:a") > KEEP_S // 2


async def test_a_response_that_was_erased_gets_no_exchange(partition: Partition) -> None:
    await ended(partition, "a")
    await partition.erase("a")
    async with partition.unchanged():
        assert await follow(partition) == ("MISSING", "")


async def test_a_chain_with_an_erased_response_is_followed_no_more(partition: Partition) -> None:
    await chained(partition)
    await partition.erase("a")
    await ended(partition, "d")
    async with partition.unchanged():
        assert await follow(partition, "d", "of d", "c") == ("MISSING", "")


async def test_an_erasure_takes_the_exchange_along_also_after_the_request_has_expired(
    partition: Partition,
) -> None:
    for has_expired in (False, True):
        await ended(partition, "a")
        await follow(partition)
        if has_expired:
            await partition.client.delete(f"{TAG}req:a", f"{TAG}log:a")
        assert await partition.erase("a", "other") == ("MISSING", "")
        assert await partition.erase("a") == ("OK", "")
        assert "exchange:a" not in (await partition.snapshot()).keys


@pytest.mark.parametrize("state", ["missing", "running", "another tenant's", "not stored"])
async def test_what_is_no_finished_response_of_the_tenant_has_no_exchange(
    partition: Partition, state: str
) -> None:
    if state == "running":
        await partition.submit("a")
        await partition.take()
    elif state != "missing":
        await ended(partition, "a")
    tenant = "other" if state == "another tenant's" else "t"
    exchange = "" if state == "not stored" else "[]"
    async with partition.unchanged():
        assert await follow(partition, exchange=exchange, tenant=tenant) == ("MISSING", "")


async def test_another_tenant_reads_no_chain_and_extends_none(partition: Partition) -> None:
    await chained(partition)
    await partition.submit("x", "other")
    await partition.finish(await partition.take(), 1)
    async with partition.unchanged():
        for id_, after in (("x", "c"), ("c", "b")):
            reply = await follow(partition, id_, "[]", after, tenant="other")
            assert reply == ("MISSING", "")


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running:
        yield running


async def test_an_id_that_names_no_partition_of_this_system_is_missing(rig: Rig) -> None:
    exchanges = Exchanges(rig.connections)
    for id_ in ("r9_" + "a" * 26, "nothing"):
        with pytest.raises(RequestMissing):
            await exchanges.follow(id_, "t", [], "", retention_s=1)
        with pytest.raises(RequestMissing):
            await exchanges.erase(id_, "t")
