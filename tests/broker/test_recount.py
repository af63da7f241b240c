"""RECOUNT: counts are right again after Redis or an operator has removed a key."""

import pytest

from tests.broker.checked_partition import TAG
from tests.broker.partition import Partition


async def load(partition: Partition) -> tuple[str | None, str | None]:
    stored = (await partition.snapshot()).hash("load")
    return stored.get("count"), stored.get("bytes")


async def fill(partition: Partition) -> None:
    """Requests in all places: running, delayed, suspect, waiting, held, and one that is over."""
    for id_ in ("delayed", "running", "over"):
        await partition.submit(id_)
    await partition.retry(await partition.take())
    await partition.take()
    await partition.finish(await partition.take(), 1)
    await partition.submit("waiting", "other")
    await partition.submit("active", "third", conv="c")
    await partition.submit("held", "third", conv="c")


async def test_right_counts_stay(partition: Partition) -> None:
    await fill(partition)
    before = await load(partition)
    assert (await partition.recount())[0] == "OK"
    assert await load(partition) == before
    assert before[0] == "5"


@pytest.mark.parametrize("key", ["load", "tenants", "tenant:t", "tenant:other", "tenant:third"])
async def test_a_key_that_was_evicted_is_made_again(partition: Partition, key: str) -> None:
    await fill(partition)
    before, tenants = await load(partition), dict((await partition.snapshot()).named("tenant:"))
    await partition.client.delete(TAG + key)
    await partition.recount()
    assert await load(partition) == before
    assert dict((await partition.snapshot()).named("tenant:")) == tenants


@pytest.mark.parametrize("counted", [0, 77, -3])
async def test_a_wrong_count_is_corrected(partition: Partition, counted: int) -> None:
    await fill(partition)
    before = await load(partition)
    await partition.client.hset(f"{TAG}load", mapping={"count": counted, "bytes": counted})
    await partition.recount()
    assert await load(partition) == before


async def test_a_request_that_was_evicted_counts_no_more(partition: Partition) -> None:
    await partition.submit("a")
    await partition.take()
    await partition.client.delete(f"{TAG}req:a", f"{TAG}running")
    await partition.recount()
    now = await partition.snapshot()
    assert await load(partition) == ("0", "0")
    assert now.get("tenant:t") is None
    assert now.get("tenants") is None
    assert now.keys["log:a"].expires
    assert now.keys["index:t"].expires


async def test_requests_are_counted_once_in_a_while(partition: Partition) -> None:
    assert await partition.recount(every_ms=60_000) == ("OK", 0, "0")
    assert await partition.recount(every_ms=60_000) == ("DUP", "")


async def test_more_requests_than_one_step_may_count_leave_the_counts_alone(
    partition: Partition,
) -> None:
    await fill(partition)
    before = await load(partition)
    assert await partition.recount(most=4) == ("TOO_LONG", "")
    assert await load(partition) == before
    assert (await partition.recount(most=5))[0] == "OK"
