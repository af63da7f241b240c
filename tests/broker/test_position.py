"""POSITION: what it promises is what then happens."""

import random

import pytest

from tests.broker.checked_partition import TAG
from tests.broker.partition import Partition


async def test_a_position_counts_the_own_line_and_the_turns_of_others(
    partition: Partition,
) -> None:
    for id_, tenant in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c")]:
        await partition.submit(id_, tenant)
    positions = {
        id_: await partition.position(id_, id_[0]) for id_ in ("a1", "a2", "a3", "b1", "c1")
    }
    assert positions == {"a1": 0, "b1": 1, "c1": 2, "a2": 3, "a3": 4}


@pytest.mark.parametrize("seed", range(3))
async def test_a_position_is_the_number_of_claims_before_it(
    partition: Partition, seed: int
) -> None:
    chance = random.Random(seed)
    waiting = {f"r{number}": chance.choice("abc") for number in range(9)}
    for id_, tenant in waiting.items():
        await partition.submit(id_, tenant)
    for _ in range(chance.randrange(4)):
        del waiting[(await partition.take()).id]
    promised = {id_: await partition.position(id_, tenant) for id_, tenant in waiting.items()}
    order = [(await partition.take()).id for _ in waiting]
    assert promised == {id_: order.index(id_) for id_ in waiting}


@pytest.mark.parametrize("state", ["held", "running", "delayed", "over", "missing", "foreign"])
async def test_a_request_that_does_not_wait_has_no_position(
    partition: Partition, state: str
) -> None:
    if state == "held":
        await partition.submit("z", conv="talk")
    if state != "missing":
        await partition.submit("a", conv="talk")
    if state in {"running", "delayed"}:
        go = await partition.take()
        if state == "delayed":
            await partition.retry(go)
    elif state == "over":
        await partition.cancel("a")
    assert await partition.position("a", "other" if state == "foreign" else "t") == -1


async def test_a_position_counts_at_most_the_allowed_tenants(partition: Partition) -> None:
    for number in range(5):
        await partition.submit(f"r{number}", f"t{number}")
    assert await partition.position("r4", "t4", looked_at=2) == 2
    assert (await partition.snapshot()).keys[f"wait:t{4}"].value == ["r4"]
    assert not await partition.client.exists(f"{TAG}position")
