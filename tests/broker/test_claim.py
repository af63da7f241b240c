"""CLAIM: the next request under a lease, the same for the same nonce; no work without a token."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import LEASE_MS, Empty, Partition


async def test_a_claim_leases_the_oldest_request_and_opens_its_first_attempt(
    partition: Partition,
) -> None:
    await partition.submit("a", payload='{"m":1}')
    await partition.submit("b")
    before = (await partition.snapshot()).hash("req:a")
    go = await partition.take("w1")
    assert go == Go(
        "a", go.attempt, 1, "started", f"{before['attempt']}-0", '{"m":1}', 0, 0, "", "t"
    )
    assert go.attempt > int(before["attempt"])
    now = await partition.snapshot()
    assert now.hash("req:a")["state"] == "running"
    assert now.list("wait:t") == ["b"]
    [(_, lease_end_ms)] = now.list("running")
    assert LEASE_MS <= lease_end_ms - go.attempt < LEASE_MS + 10_000
    assert await partition.log("a") == ["queued", "started"]


async def test_the_same_nonce_gets_the_same_request_while_it_runs(partition: Partition) -> None:
    await partition.submit("a")
    await partition.submit("b")
    first = await partition.claim("w1", "n1")
    assert isinstance(first, Go)
    await partition.append(first, 1, "x")
    assert await partition.claim("w1", "n1") == first
    assert await partition.log("a") == ["queued", "started", "'x'"]
    await partition.finish(first, 2)
    following = await partition.claim("w1", "n1")
    assert isinstance(following, Go)
    assert following.id == "b"


async def test_a_repeated_claim_renews_the_lease(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.claim("w1", "n1", lease_ms=LEASE_MS // 2)
    assert await partition.claim("w1", "n1", lease_ms=LEASE_MS) == go
    [(_, lease_end_ms)] = (await partition.snapshot()).list("running")
    assert isinstance(go, Go)
    assert lease_end_ms >= go.attempt + LEASE_MS


async def test_the_nonce_of_another_worker_gets_nothing_of_it(partition: Partition) -> None:
    await partition.submit("a")
    await partition.claim("w1", "n1")
    assert isinstance(await partition.claim("w2", "n1"), Empty)


async def test_the_worker_that_takes_the_last_request_learns_when_more_is_due_and_nobody_is_woken(
    partition: Partition,
) -> None:
    for id_ in "abc":
        await partition.submit(id_)
    await partition.retry(await partition.take(), 5000)
    assert partition.next_ms == 0, "two more wait"
    await partition.take()
    assert partition.next_ms == 0, "one more waits"
    await partition.take()
    assert 0 < partition.next_ms <= 5001
    assert not (await partition.snapshot()).list("wake")


async def test_an_empty_queue_names_no_time(partition: Partition) -> None:
    assert await partition.claim() == Empty(-1)


async def test_an_empty_queue_names_the_time_until_something_is_due(partition: Partition) -> None:
    await partition.submit("a")
    await partition.submit("b")
    running, delayed = await partition.take(), await partition.take()
    due = await partition.claim()
    assert isinstance(due, Empty)
    assert LEASE_MS - 10_000 < due.due_ms <= LEASE_MS + 1
    await partition.retry(delayed, 5000)
    due = await partition.claim()
    assert isinstance(due, Empty)
    assert 0 < due.due_ms <= 5001
    await partition.finish(running, 1)
    await partition.cancel("b")
    assert await partition.claim() == Empty(-1)


async def test_a_full_worker_takes_nothing_and_still_wakes_the_others(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.retry(go, 60_000)
    await partition.make_due("a")
    await partition.drain_tokens()
    assert await partition.claim(take=False) == Empty(0)
    assert await partition.state("a") == "queued"
    assert await partition.tokens() == 1


async def test_a_claim_that_leaves_work_behind_passes_its_token_on(partition: Partition) -> None:
    await partition.submit("a")
    await partition.submit("b")
    await partition.drain_tokens()
    await partition.take()
    assert await partition.tokens() == 1


async def test_a_full_worker_that_took_the_last_token_puts_it_back(partition: Partition) -> None:
    await partition.submit("a")
    await partition.drain_tokens()
    assert await partition.claim(take=False) == Empty(0)
    assert await partition.tokens() == 1


async def test_a_claim_is_remembered_for_two_leases(partition: Partition) -> None:
    await partition.submit("a")
    await partition.claim("w1", "n1")
    left_ms = await partition.client.pttl(f"{TAG}claim:n1")
    assert 2 * LEASE_MS - 10_000 < left_ms <= 2 * LEASE_MS


async def test_tokens_of_work_that_is_gone_are_taken_away(partition: Partition) -> None:
    await partition.submit("a")
    await partition.cancel("a")
    assert await partition.tokens() == 1
    assert await partition.claim() == Empty(-1)
    assert await partition.tokens() == 0


async def test_what_stands_in_line_without_being_queued_is_skipped(partition: Partition) -> None:
    """Redis may have lost the hash and kept the line; the line must not stop for that."""
    await partition.submit("a")
    await partition.client.lpush(f"{TAG}wait:t", "lost")
    go = await partition.take()
    assert go.id == "a"


async def test_an_attempt_is_later_than_the_one_before_though_the_clock_went_back(
    partition: Partition,
) -> None:
    await partition.submit("a")
    later = 4_000_000_000_000
    await partition.client.delete(f"{TAG}log:a")
    await partition.client.xadd(f"{TAG}log:a", {"e": "Q{}"}, id=f"{later}-0")
    await partition.client.hset(f"{TAG}req:a", "attempt", str(later))
    go = await partition.take()
    assert (go.attempt, go.prev) == (later + 1, f"{later}-0")
    assert (await partition.reopen(go))[1] == str(later + 2)


@pytest.mark.parametrize("budget", [1, 2])
async def test_the_work_of_one_claim_is_bounded(partition: Partition, budget: int) -> None:
    for id_ in ("a", "b", "c"):
        await partition.submit(id_, policy="fail")
        await partition.append(await partition.take(), 1, "x")
    now = await partition.snapshot()
    gone = [Go(id_, 0, 0, "", "", "", 0, 0, "", "") for id_, _ in now.list("running")]
    await partition.end_lease(*gone)
    assert await partition.claim(take=False, budget=budget) == Empty(0)
    states = [await partition.state(id_) for id_ in ("a", "b", "c")]
    assert states == ["queued"] * budget + ["running"] * (3 - budget)
    assert await partition.claim(budget=budget) == Empty(0)
    states = [await partition.state(id_) for id_ in ("a", "b", "c")]
    assert states.count("failed") == budget
