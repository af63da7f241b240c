"""RETRY and RELEASE: put aside until later, and given back at once."""

import json

import pytest

from tests.broker.checked_partition import Go
from tests.broker.partition import Partition


async def test_a_retried_request_waits_until_it_is_due(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    assert await partition.retry(go, 60_000, usage='{"tokens":3}') == ("OK", "")
    now = await partition.snapshot()
    stored = now.hash("req:a")
    assert (stored["state"], stored["retries"], stored["crashes"]) == ("delayed", "1", "0")
    assert stored[f"usage:{go.attempt}"] == '{"tokens":3}'
    [(_, due_ms)] = now.list("delayed")
    assert json.loads(stored["waiting"]) == {"until": due_ms, "reason": "later"}
    assert 60_000 <= due_ms - go.attempt < 70_000
    assert not isinstance(await partition.claim(), Go)

    await partition.make_due("a")
    await partition.claim(take=False)
    assert await partition.field("a", "waiting") is None
    again = await partition.take()
    assert (again.n, again.opener, again.retries, again.crashes) == (2, "started", 1, 0)


async def test_due_requests_go_to_the_head_of_their_line_in_the_order_they_were_due(
    partition: Partition,
) -> None:
    for id_ in ("a", "b", "c", "later"):
        await partition.submit(id_)
    for _ in range(3):
        await partition.retry(await partition.take())
    await partition.make_due("b", "c", "a")
    assert [(await partition.take()).id for _ in range(4)] == ["b", "c", "a", "later"]


async def test_a_due_request_does_not_take_the_turn_of_other_tenants(partition: Partition) -> None:
    await partition.submit("a", "first")
    await partition.retry(await partition.take())
    await partition.submit("b", "second")
    await partition.make_due("a")
    assert [(await partition.take()).id for _ in range(2)] == ["b", "a"]


async def test_released_requests_are_next_again_in_their_order(partition: Partition) -> None:
    """A worker that drains releases in reverse order of claim."""
    for id_ in ("a", "b", "c"):
        await partition.submit(id_)
    await partition.submit("other", "other tenant")
    claimed = [await partition.take() for _ in range(3)]
    assert [go.id for go in claimed] == ["a", "other", "b"]
    for go in reversed(claimed):
        assert await partition.release(go) == ("OK", "")
    again = [(await partition.take()).id for _ in range(4)]
    assert [id_ for id_ in again if id_ != "other"] == ["a", "b", "c"]
    assert "other" in again[:2]


async def test_a_release_counts_nothing(partition: Partition) -> None:
    await partition.submit("a")
    for n in (1, 2, 3, 4):
        go = await partition.take()
        assert (go.n, go.crashes, go.retries) == (n, 0, 0)
        await partition.release(go)


@pytest.mark.parametrize("verb", ["retry", "release"])
async def test_a_repeat_changes_nothing(partition: Partition, verb: str) -> None:
    await partition.submit("a")
    go = await partition.take()
    call = getattr(partition, verb)
    assert await call(go) == ("OK", "")
    async with partition.unchanged():
        assert await call(go) == ("OK", "")
    assert (await partition.log("a"))[-1] == "started"


@pytest.mark.parametrize("verb", ["retry", "release"])
async def test_what_another_attempt_or_nobody_runs_is_fenced(
    partition: Partition, verb: str
) -> None:
    await partition.submit("a")
    old = await partition.take()
    await partition.release(old)
    new = await partition.take()
    call = getattr(partition, verb)
    async with partition.unchanged():
        assert await call(old) == ("FENCED", "running")
    await partition.finish(new, 1)
    async with partition.unchanged():
        assert await call(new) == ("FENCED", "completed")
    await partition.erase("a")
    async with partition.unchanged():
        assert await call(new) == ("FENCED", "missing")


async def test_a_retry_repeated_after_it_was_due_does_not_delay_it_again(
    partition: Partition,
) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.retry(go)
    await partition.make_due("a")
    await partition.claim(take=False)
    async with partition.unchanged():
        assert await partition.retry(go) == ("FENCED", "queued")


async def test_a_reason_to_wait_is_published_unchanged(partition: Partition) -> None:
    reason = 'it said "later"\\ \n é'
    await partition.submit("a")
    await partition.retry(await partition.take(), reason=reason)
    assert json.loads(await partition.field("a", "waiting") or "")["reason"] == reason
