"""Foreign entries: a writer that ignores the fence adds them to the log of a running request."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Partition

# Where the writer ends at seq 2: the next entry, one further on, one of an attempt to come.
PLACES = ["{attempt}-3", "{attempt}-50", "9{attempt}-0"]


@pytest.fixture(params=PLACES)
async def go(request: pytest.FixtureRequest, partition: Partition) -> Go:
    """A request with two deltas, and a foreign delta that its hash does not count."""
    await partition.submit("a")
    go = await partition.take()
    await partition.append(go, 1, "x", "y")
    strange = request.param.format(attempt=go.attempt)
    await partition.client.xadd(f"{TAG}log:a", {"e": "dz"}, id=strange)
    return go


OWN = ["queued", "started", "'x'", "'y'"]


async def test_an_append_writes_nothing_behind_them(partition: Partition, go: Go) -> None:
    async with partition.unchanged():
        with pytest.raises(Exception, match="equal or smaller"):
            await partition.append(go, 3, "w")


async def test_a_cancel_ends_the_request_where_its_own_log_ended(
    partition: Partition, go: Go
) -> None:
    assert await partition.cancel(go.id) == ("OK", "cancelled")
    assert await partition.log(go.id) == [*OWN, "cancelled"]


async def test_a_finish_ends_the_request_with_its_own_text_only(
    partition: Partition, go: Go
) -> None:
    assert await partition.finish(go, 2, "y", "w") == ("OK", 4)
    assert await partition.log(go.id) == [*OWN, "'w'", "completed"]


async def test_the_next_attempt_begins_where_their_own_one_ended(
    partition: Partition, go: Go
) -> None:
    word, attempt, _, opener, prev = await partition.reopen(go)
    assert (word, opener, prev) == ("GO", "reset", f"{go.attempt}-2")
    assert await partition.log(go.id) == [*OWN, "reset"]
    again = go._replace(attempt=int(attempt))
    assert await partition.append(again, 1, "w") == ("OK", 1)


async def test_a_dead_workers_request_is_taken_over_all_the_same(
    partition: Partition, go: Go
) -> None:
    await partition.end_lease(go)
    assert (await partition.take("w2")).prev == f"{go.attempt}-2"


async def test_a_poison_request_does_not_delay_another_one(partition: Partition, go: Go) -> None:
    partition.max_crashes = 1
    await partition.end_lease(go)
    await partition.claim(take=False)
    assert await partition.log(go.id) == [*OWN, "failed"]
    await partition.submit("other")
    assert (await partition.take()).id == "other"
