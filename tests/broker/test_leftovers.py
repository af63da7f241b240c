"""After all requests are over, every key expires, but for a few of bounded size."""

import random

import pytest

from tests.broker.checked_partition import Go
from tests.broker.invariants import keys_without_ttl, states
from tests.broker.partition import Partition
from tickertape.broker.kinds import TERMINALS


async def live(partition: Partition, chance: random.Random) -> None:
    """A life of many requests with every kind of end."""
    for number in range(9):
        await partition.submit(
            f"r{number}",
            chance.choice(["t", "u"]),
            conv=chance.choice(["", "talk"]),
            idem=f"k{number}",
            policy=chance.choice(["restart", "fail"]),
        )
        got = await partition.claim()
        if not isinstance(got, Go):
            continue
        await partition.append(got, 1, "x")
        match chance.randrange(5):
            case 0:
                await partition.finish(got, 2, answered='"yes"')
            case 1:
                await partition.end_lease(got)
            case 2:
                await partition.retry(got)
                await partition.make_due(got.id)
            case 3:
                await partition.release(got)
            case 4:
                await partition.reopen(got)


async def end_all(partition: Partition) -> None:
    for tenant in ("t", "u"):
        for id_, state in states(await partition.snapshot()).items():
            if state not in TERMINALS:
                await partition.cancel(id_, tenant)


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_stays_for_ever_when_all_is_over(partition: Partition, seed: int) -> None:
    partition.max_crashes = 2
    await live(partition, random.Random(seed))
    await end_all(partition)
    await partition.claim()
    now = await partition.snapshot()
    assert keys_without_ttl(now) == set()
    assert "wake" not in now.keys
    assert now.hash("load")["count"] == "0"


async def test_a_key_that_would_stay_for_ever_is_found(partition: Partition) -> None:
    """The check itself can fail."""
    await partition.submit("a")
    assert keys_without_ttl(await partition.snapshot()) == {
        "req:a",
        "log:a",
        "ring",
        "wait:t",
        "tenant:t",
        "tenants",
        "owed",
        "index:t",
    }
