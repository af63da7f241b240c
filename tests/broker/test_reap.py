"""A dead worker's requests are taken over; one that kills its workers is given up; a pause of Redis
blames nobody.
"""

import json

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import LEASE_MS, RETENTION_S, Empty, Partition
from tests.support.wait import wait_until


async def crash(partition: Partition, go: Go) -> None:
    """The worker died: its lease runs out, and another worker's claim notices."""
    await partition.end_lease(go)
    await partition.claim(take=False)


async def test_a_lease_that_ran_out_is_taken_over_by_whoever_claims_next(
    partition: Partition,
) -> None:
    await partition.submit("a")
    first = await partition.claim("w1", lease_ms=20)
    assert isinstance(first, Go)

    async def taken_over() -> Go | None:
        got = await partition.claim("w2", lease_ms=LEASE_MS)
        return got if isinstance(got, Go) else None

    second = await wait_until(taken_over, description="the lease of 20 ms runs out")
    assert second is not None
    assert (second.id, second.n, second.opener, second.crashes) == ("a", 2, "started", 1)
    assert second.prev == f"{first.attempt}-0"
    assert await partition.append(first, 1, "x") == ("FENCED", "running")


async def test_a_lease_that_is_renewed_is_not_taken_over(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.end_lease(go)
    assert await partition.renew(go) == []
    assert isinstance(await partition.claim(), Empty)
    assert await partition.state("a") == "running"


async def test_an_answer_that_was_begun_is_reset_for_the_next_worker(partition: Partition) -> None:
    await partition.submit("a")
    first = await partition.take()
    await partition.append(first, 1, "x", "y")
    await crash(partition, first)
    second = await partition.take()
    assert (second.opener, second.prev) == ("reset", f"{first.attempt}-2")
    entries = (await partition.snapshot()).list("log:a")
    assert json.loads(entries[-1][1]["e"][1:])["reason"] == "worker_lost"
    await crash(partition, second)
    third = await partition.take()
    assert third.opener == "started"


async def test_requests_of_a_dead_worker_keep_their_order_and_go_first(
    partition: Partition,
) -> None:
    for id_ in ("a", "b", "c", "later"):
        await partition.submit(id_)
    await partition.end_lease(*[await partition.take() for _ in range(3)])
    assert [(await partition.take()).id for _ in range(4)] == ["a", "b", "c", "later"]


async def test_a_tenant_whose_request_was_reaped_has_the_next_turn(partition: Partition) -> None:
    await partition.submit("a", "first")
    go = await partition.take()
    await partition.submit("b", "second")
    await partition.submit("c", "third")
    await crash(partition, go)
    assert (await partition.take()).id == "a"


async def test_a_request_that_kills_every_worker_is_given_up(partition: Partition) -> None:
    await partition.submit("a", payload='{"p":1}', idem="k")
    await partition.submit("other")
    for n in (1, 2, 3):
        go = await partition.take()
        assert (go.id, go.n, go.crashes) == ("a", n, n - 1)
        await crash(partition, go)
    now = await partition.snapshot()
    assert now.hash("req:a")["state"] == "failed"
    assert now.hash("req:a")["payload"] == '{"p":1}'
    end = json.loads(now.list("log:a")[-1][1]["e"][1:])
    assert (end["code"], end["retryable"]) == ("poison", False)
    assert end["message"]
    assert [fields for _, fields in now.list("dead")] == [{"id": "a", "tenant": "t"}]
    ttl_s = await partition.client.ttl(f"{TAG}req:a")
    assert 10 * RETENTION_S - 60 < ttl_s <= 10 * RETENTION_S
    assert (await partition.take()).id == "other"


async def test_with_one_attempt_the_first_crash_ends_it(partition: Partition) -> None:
    partition.max_crashes = 1
    await partition.submit("a")
    await crash(partition, await partition.take())
    assert await partition.state("a") == "failed"


async def test_one_crash_short_of_the_end_a_request_is_suspect(partition: Partition) -> None:
    partition.max_crashes = 2
    for id_ in ("a", "b"):
        await partition.submit(id_)
    await partition.end_lease(await partition.take(), await partition.take())
    await partition.claim(take=False)
    assert (await partition.snapshot()).list("suspect") == ["a", "b"]
    await partition.submit("healthy")
    assert (await partition.take()).id == "a"
    got = await partition.claim(suspect_ok=False)
    assert isinstance(got, Go)
    assert got.id == "healthy"
    assert isinstance(await partition.claim(suspect_ok=False), Empty)
    assert (await partition.take()).id == "b"


async def test_a_suspect_left_for_others_keeps_its_token(partition: Partition) -> None:
    partition.max_crashes = 2
    await partition.submit("a")
    await crash(partition, await partition.take())
    assert await partition.tokens() >= 1
    await partition.claim(suspect_ok=False)
    assert await partition.tokens() >= 1


@pytest.mark.parametrize("how", ["release", "retry"])
async def test_a_suspect_that_comes_back_unharmed_is_still_one(
    partition: Partition, how: str
) -> None:
    partition.max_crashes = 2
    await partition.submit("a")
    await crash(partition, await partition.take())
    go = await partition.take()
    if how == "release":
        await partition.release(go)
    else:
        await partition.retry(go)
        await partition.make_due("a")
        await partition.claim(take=False)
    assert (await partition.snapshot()).list("suspect") == ["a"]
    assert isinstance(await partition.claim(suspect_ok=False), Empty)
    assert (await partition.take()).id == "a"


async def test_a_suspect_can_be_cancelled(partition: Partition) -> None:
    partition.max_crashes = 2
    await partition.submit("a")
    await crash(partition, await partition.take())
    assert await partition.cancel("a") == ("OK", "cancelled")
    assert await partition.claim() == Empty(-1)


async def test_after_a_pause_of_redis_every_worker_has_one_lease_to_renew(
    partition: Partition,
) -> None:
    lease_ms = 4000
    await partition.submit("a")
    go = await partition.claim(lease_ms=lease_ms)
    assert isinstance(go, Go)
    await partition.end_lease(go)
    last_seen = int((await partition.snapshot()).hash("load")["seen"]) - lease_ms
    await partition.client.hset(f"{TAG}load", "seen", str(last_seen))
    due = await partition.claim(lease_ms=lease_ms)
    assert await partition.state("a") == "running"
    assert isinstance(due, Empty)
    assert lease_ms - 1000 < due.due_ms <= lease_ms + 1, "or every idle worker asks without pause"
    assert isinstance(await partition.claim(lease_ms=lease_ms), Empty)
    await partition.client.hset(f"{TAG}load", "grace", "1")
    assert (await partition.take()).id == "a"


async def test_after_a_pause_of_redis_a_worker_with_a_longer_lease_has_that_lease_to_renew(
    partition: Partition,
) -> None:
    """Leases differ while a new setting is rolled out."""
    await partition.submit("a")
    long = await partition.claim(lease_ms=60_000)
    assert isinstance(long, Go)
    await partition.claim("other", lease_ms=1000)
    await partition.end_lease(long)
    await pause_redis(partition, 70_000)
    due = await partition.claim("other", lease_ms=1000)
    assert isinstance(due, Empty)
    assert 59_000 < due.due_ms <= 60_001
    assert await partition.state("a") == "running"


async def test_a_lease_that_no_worker_uses_any_more_does_not_count(partition: Partition) -> None:
    await partition.claim("long", lease_ms=60_000)
    await pause_redis(partition, 70_000)
    await partition.submit("a")
    short = await partition.claim(lease_ms=1000)
    assert isinstance(short, Go)
    await partition.client.hset(f"{TAG}load", mapping={"late": "0", "grace": "0"})
    await partition.end_lease(short)
    await pause_redis(partition, 10_000)
    due = await partition.claim(lease_ms=1000)
    assert isinstance(due, Empty)
    assert due.due_ms <= 1001


async def pause_redis(partition: Partition, pause_ms: int) -> None:
    """Let this time have passed in which Redis served nobody."""
    load = (await partition.snapshot()).hash("load")
    for name in ("seen", "lease_seen"):
        await partition.client.hset(f"{TAG}load", name, str(int(load[name]) - pause_ms))


async def test_slow_claims_put_a_takeover_off_only_once(partition: Partition) -> None:
    """Each comes so late after the one before that Redis might have been away, again and again."""
    await partition.submit("a")
    go = await partition.claim(lease_ms=1000)
    assert isinstance(go, Go)
    await partition.end_lease(go)

    async def claim_late() -> Go | Empty:
        """A claim that comes two seconds after the one before, with a lease of one second."""
        stored = (await partition.snapshot()).hash("load")
        for name in ("seen", "grace"):
            if name in stored:
                value = str(int(stored[name]) - 2000)
                await partition.client.hset(f"{TAG}load", name, value)
        return await partition.claim(lease_ms=1000)

    assert isinstance(await claim_late(), Empty)
    got = await claim_late()
    assert isinstance(got, Go)
    assert (got.id, got.n) == ("a", 2)


async def test_a_pause_no_longer_than_half_a_lease_changes_nothing(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.end_lease(go)
    last_seen = int((await partition.snapshot()).hash("load")["seen"]) - LEASE_MS // 2 + 60_000
    await partition.client.hset(f"{TAG}load", "seen", str(last_seen))
    assert (await partition.take()).n == 2


async def test_a_lease_without_a_running_request_is_dropped(partition: Partition) -> None:
    await partition.client.zadd(f"{TAG}running", {"lost": 1})
    await partition.client.zadd(f"{TAG}delayed", {"lost": 1})
    assert await partition.claim() == Empty(-1)
    now = await partition.snapshot()
    assert (now.list("running"), now.list("delayed")) == ([], [])
