"""After a fail-over that may have lost entries, a terminal never gets the id of a lost entry."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Partition

_FORMER = "0" * 40


async def lose_writes(partition: Partition) -> None:
    """As if the server were a replica that was promoted while the request ran."""
    assert await partition.field("a", "replid") is not None
    await partition.client.hset(f"{TAG}req:a", "replid", _FORMER)


async def end(partition: Partition, go: Go, how: str) -> None:
    match how:
        case "cancel":
            await partition.cancel("a")
        case "replace":
            await partition.submit("b", conv="c", on_busy="replace")
        case "poison":
            await partition.end_lease(go)
            await partition.claim(take=False)
        case "interrupted":
            await partition.reopen(go)
        case "interrupted in the queue":
            await partition.end_lease(go)
            await partition.claim()


def policy_of(how: str) -> str:
    return "fail" if how.startswith("interrupted") else "restart"


@pytest.mark.parametrize(
    "how", ["cancel", "replace", "poison", "interrupted", "interrupted in the queue"]
)
async def test_a_terminal_after_lost_writes_is_in_an_attempt_of_its_own(
    partition: Partition, how: str
) -> None:
    partition.max_crashes = 1 if how == "poison" else 3
    await partition.submit("a", conv="c", policy=policy_of(how))
    go = await partition.take()
    await partition.append(go, 1, "x")
    await lose_writes(partition)
    await end(partition, go, how)
    log = await partition.log("a")
    assert log[:4] == ["queued", "started", "'x'", "resumed"]
    assert log[4:] in (["cancelled"], ["failed"])
    assert await partition.field("a", "prev") == f"{go.attempt}-1"
    assert await partition.field("a", "n") == "2"
    assert int(await partition.field("a", "attempt") or 0) > go.attempt
    assert await partition.append(go, 2, "y") == ("FENCED", await partition.state("a"))


async def test_a_conversation_remembers_the_text_before_lost_writes(partition: Partition) -> None:
    await partition.submit("a", conv="c")
    go = await partition.take()
    await partition.append(go, 1, "x", "y")
    await lose_writes(partition)
    await partition.cancel("a")
    rows = (await partition.snapshot()).list("conv:c:turns")
    assert rows[-1][1]["answered"] == '"xy"'


async def test_a_worker_that_counts_its_own_entries_ends_the_request_as_ever(
    partition: Partition,
) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.append(go, 1, "x")
    await lose_writes(partition)
    assert await partition.finish(go, 2) == ("OK", 2)
    assert await partition.log("a") == ["queued", "started", "'x'", "completed"]


async def test_a_request_of_a_process_that_notes_no_replication_id_ends_as_ever(
    partition: Partition,
) -> None:
    await partition.submit("a")
    await partition.take()
    await partition.client.hdel(f"{TAG}req:a", "replid")
    await partition.cancel("a")
    assert await partition.log("a") == ["queued", "started", "cancelled"]
