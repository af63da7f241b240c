"""A waiting list of another type: the scripts fail, and no request leaves the queue."""

import pytest
from redis.exceptions import ResponseError

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Partition

WAITING = f"{TAG}wait:t"


async def replace_list(partition: Partition) -> bytes | None:
    kept = await partition.client.dump(WAITING)
    await partition.client.set(WAITING, "text")
    assert kept is None or isinstance(kept, bytes)
    return kept


async def bring_back(partition: Partition, kept: bytes | None) -> None:
    await partition.client.delete(WAITING)
    if kept is not None:
        await partition.client.restore(WAITING, 0, kept)


async def test_a_tenant_whose_list_no_claim_can_read_keeps_its_turn(partition: Partition) -> None:
    await partition.submit("a")
    await partition.submit("b", "other")
    kept = await replace_list(partition)
    with pytest.raises(ResponseError):
        await partition.claim()
    await bring_back(partition, kept)
    assert [(await partition.take()).id for _ in range(2)] == ["b", "a"]


async def test_a_request_that_no_claim_can_queue_again_is_queued_later(
    partition: Partition,
) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.end_lease(go)
    kept = await replace_list(partition)
    for _ in range(partition.max_crashes):
        with pytest.raises(ResponseError):
            await partition.claim("w2")
    await bring_back(partition, kept)
    again = await partition.take("w2")
    assert (again.id, again.crashes) == ("a", 1)


async def test_a_delayed_request_that_no_claim_can_queue_is_queued_later(
    partition: Partition,
) -> None:
    await partition.submit("a")
    await partition.retry(await partition.take(), 0)
    kept = await replace_list(partition)
    with pytest.raises(ResponseError):
        await partition.claim()
    await bring_back(partition, kept)
    assert (await partition.take()).id == "a"


async def test_a_request_that_its_worker_cannot_give_back_stays_with_it(
    partition: Partition,
) -> None:
    await partition.submit("a")
    go = await partition.take()
    kept = await replace_list(partition)
    with pytest.raises(ResponseError):
        await partition.release(go)
    await bring_back(partition, kept)
    assert (await partition.append(go, 1, "x"))[0] == "OK"
    assert (await partition.release(go))[0] == "OK"
    assert isinstance(await partition.claim("w2"), Go)
