"""The usage of an answer that its upstream keeps is counted once, whoever reads it."""

import json

import pytest

from tests.broker.checked_partition import Go
from tests.broker.partition import Empty, Partition

KEPT = '{"upstream":"a","id":"1"}'


async def left(partition: Partition, *texts: str, policy: str = "restart") -> Go:
    """An attempt whose answer its upstream keeps, and whose worker has died."""
    await partition.submit("a", policy=policy)
    go = await partition.take()
    await partition.mark(go, "", attached=KEPT)
    await partition.append(go, 1, *texts)
    await partition.end_lease(go)
    return go


async def usage(partition: Partition) -> dict[str, object]:
    """What is recorded, by the attempt."""
    fields = (await partition.snapshot()).hash("req:a")
    return {
        name.removeprefix("usage:"): json.loads(value)
        for name, value in fields.items()
        if name.startswith("usage:")
    }


def estimated(tokens: int) -> dict[str, object]:
    return {"completion_tokens": tokens, "estimated": True}


async def read_on(partition: Partition) -> Go:
    go = await partition.claim(keeps="a")
    assert isinstance(go, Go)
    assert go.opener == "resumed"
    return go


async def test_only_the_attempt_that_reads_the_end_has_a_usage(partition: Partition) -> None:
    await left(partition, "x", "y")
    second = await read_on(partition)
    assert await usage(partition) == {}
    await partition.finish(second, 1, "z", usage='{"completion_tokens":3}')
    assert await usage(partition) == {str(second.attempt): {"completion_tokens": 3}}


async def test_what_nobody_reads_to_its_end_is_estimated_for_its_last_attempt(
    partition: Partition,
) -> None:
    await left(partition, "x", "y")
    second = await read_on(partition)
    await partition.append(second, 1, "z")
    await partition.end_lease(second)
    third = await partition.take()
    assert third.opener == "reset"
    assert await usage(partition) == {str(second.attempt): estimated(3)}


@pytest.mark.parametrize("end", ["cancelled", "poison", "interrupted"])
async def test_the_end_of_a_request_counts_the_answer_that_nobody_reads(
    partition: Partition, end: str
) -> None:
    first = await left(partition, "x", "y", policy="fail" if end == "interrupted" else "restart")
    if end == "cancelled":
        await partition.claim(take=False)
        await partition.cancel("a")
    else:
        partition.max_crashes = 1 if end == "poison" else 3
        assert isinstance(await partition.claim(), Empty)
    assert await usage(partition) == {str(first.attempt): estimated(2)}
