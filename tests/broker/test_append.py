"""APPEND and RENEW: only the current attempt, each entry once, all of a call or nothing."""

from typing import Literal

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Partition, deltas
from tickertape.broker.kinds import RequestState
from tickertape.broker.lua import source


async def running(partition: Partition, id_: str = "a") -> Go:
    await partition.submit(id_)
    return await partition.take()


async def test_entries_are_numbered_from_the_opener_on(partition: Partition) -> None:
    go = await running(partition)
    assert await partition.append(go, 1, "a") == ("OK", 1)
    assert await partition.append(go, 2, "b", "c", "d") == ("OK", 4)
    ids = [entry_id for entry_id, _ in (await partition.snapshot()).list("log:a")]
    assert ids[1:] == [f"{go.attempt}-{seq}" for seq in range(5)]
    assert await partition.log("a") == ["queued", "started", "'a'", "'b'", "'c'", "'d'"]


async def test_a_repeated_append_writes_nothing(partition: Partition) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a", "b", "c")
    async with partition.unchanged():
        assert await partition.append(go, 1, "a", "b", "c") == ("DUP", 3)
        assert await partition.append(go, 1, "a") == ("DUP", 3)
        assert await partition.append(go, 3, "c") == ("DUP", 3)


async def test_an_append_that_overlaps_writes_only_the_missing_entries(
    partition: Partition,
) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a", "b")
    assert await partition.append(go, 1, "a", "b", "c", "d") == ("OK", 4)
    assert await partition.log("a") == ["queued", "started", "'a'", "'b'", "'c'", "'d'"]
    assert await partition.field("a", "output_bytes") == "8"


async def test_an_append_that_would_leave_a_hole_is_refused(partition: Partition) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a")
    async with partition.unchanged():
        assert await partition.append(go, 3, "c") == ("GAP", 1)
        assert await partition.append(go, 99, "c") == ("GAP", 1)


async def test_a_log_at_its_bound_takes_nothing_more(partition: Partition) -> None:
    go = await running(partition)
    assert await partition.append(go, 1, "a", "b", max_seq=2, max_bytes=4) == ("OK", 2)
    async with partition.unchanged():
        assert await partition.append(go, 3, "c", max_seq=2) == ("TOO_LONG", 2)
        assert await partition.append(go, 3, "c", max_bytes=5) == ("TOO_LONG", 2)
        assert await partition.append(go, 2, "b", "c", max_seq=2) == ("TOO_LONG", 2)
        assert await partition.append(go, 2, "b", max_seq=1, max_bytes=1) == ("DUP", 2)
    assert await partition.append(go, 3, "c", max_seq=3, max_bytes=6) == ("OK", 3)


async def test_bytes_are_counted_over_again_when_the_answer_is(partition: Partition) -> None:
    go = await running(partition)
    await partition.append(go, 1, "abc")
    attempt = (await partition.reopen(go))[1]
    assert await partition.field("a", "output_bytes") == "0"
    again = go._replace(attempt=int(attempt))
    assert await partition.append(again, 1, "abc", max_bytes=4) == ("OK", 1)


async def test_bytes_that_are_kept_stay_counted(partition: Partition) -> None:
    await partition.submit("a", policy="continue")
    go = await partition.take()
    await partition.append(go, 1, "abc")
    attempt = (await partition.reopen(go, can_continue=True))[1]
    again = go._replace(attempt=int(attempt))
    assert await partition.append(again, 1, "d", max_bytes=5) == ("TOO_LONG", 0)
    assert await partition.append(again, 1, "d", max_bytes=6) == ("OK", 1)


@pytest.mark.parametrize(
    "state", ["queued", "delayed", "completed", "failed", "cancelled", "missing"]
)
async def test_a_request_that_does_not_run_is_neither_written_nor_renewed(
    partition: Partition, state: RequestState | Literal["missing"]
) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a")
    match state:
        case "queued":
            await partition.release(go)
        case "delayed":
            await partition.retry(go)
        case "cancelled":
            await partition.cancel("a")
        case "missing":
            await partition.cancel("a")
            await partition.erase("a")
        case "completed" | "failed":
            await partition.finish(go, 2, state=state)
    async with partition.unchanged():
        assert await partition.append(go, 2, "b") == ("FENCED", state)
        assert await partition.append(go, 1, "a") == ("FENCED", state)
        assert await partition.renew(go) == [0]


async def test_one_call_for_several_requests_judges_each_of_them_alone(
    partition: Partition,
) -> None:
    writes, ended, strange, repeats = [await running(partition, id_) for id_ in "abcd"]
    await partition.cancel("b")
    await partition.append(repeats, 1, "x")
    await partition.client.xadd(f"{TAG}log:c", {"e": "dz"}, id=f"{strange.attempt}-5")
    keys: list[str] = []
    values: list[str | int | bytes] = []
    for go in (writes, ended, strange, repeats):
        keys += [f"{TAG}req:{go.id}", f"{TAG}log:{go.id}"]
        values += [go.attempt, 1, f"{TAG}push:{go.id}", 2, *deltas("x", "y")]
    reply = await partition.client.eval(source("append"), len(keys), *keys, 1000, 100_000, *values)
    assert reply[:4] == [b"OK", 2, b"FENCED", b"cancelled"]
    assert (reply[4], reply[6:]) == (b"REFUSED", [b"OK", 2])
    assert await partition.log("a") == ["queued", "started", "'x'", "'y'"]
    assert await partition.log("d") == ["queued", "started", "'x'", "'y'"]
    assert await partition.field("c", "seq") == "0"


async def test_an_older_attempt_writes_and_renews_nothing(partition: Partition) -> None:
    old = await running(partition)
    await partition.append(old, 1, "a")
    await partition.end_lease(old)
    new = await partition.take()
    async with partition.unchanged():
        assert await partition.append(old, 1, "z") == ("FENCED", "running")
        assert await partition.append(old, 2, "z") == ("FENCED", "running")
        assert await partition.renew(old) == [0]
        assert await partition.finish(old, 2, "z") == ("FENCED", "running")
        assert await partition.retry(old) == ("FENCED", "running")
        assert await partition.release(old) == ("FENCED", "running")
        assert await partition.reopen(old) == ("FENCED", "running")
    assert await partition.append(new, 1, "b") == ("OK", 1)


async def test_redis_itself_refuses_an_entry_of_an_older_attempt(partition: Partition) -> None:
    """The last line of defence: it holds even for a writer that uses no script."""
    old = await running(partition)
    await partition.end_lease(old)
    await partition.take()
    with pytest.raises(Exception, match="equal or smaller"):
        await partition.client.xadd(f"{TAG}log:a", {"e": "dz"}, id=f"{old.attempt}-1")


async def test_a_renewed_lease_ends_later(partition: Partition) -> None:
    go = await running(partition)
    [(_, before_ms)] = (await partition.snapshot()).list("running")
    assert await partition.renew(go, lease_ms=2 * 600_000) == []
    [(_, after_ms)] = (await partition.snapshot()).list("running")
    assert after_ms - before_ms >= 600_000
