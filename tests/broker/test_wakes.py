"""Wakes: one idle worker is woken for each request, and a look finds what no wake announced."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio.client import PubSub

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import Empty, Partition
from tests.support.rig import open_rig
from tickertape.broker.looks import Look, Looks


@asynccontextmanager
async def idle(partition: Partition, *workers: str) -> AsyncIterator[PubSub]:
    """Workers that found nothing and listen, the first one idle for the longest time."""
    pushes = partition.client.pubsub()
    partition.has_listeners = True
    for worker in workers:
        await pushes.ssubscribe(f"{TAG}push:worker:{worker}")
        await pushes.get_message(timeout=5)
        assert await partition.claim(worker) == Empty(-1)
    yield pushes
    await pushes.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py


async def woken(pushes: PubSub) -> list[str]:
    """The workers that were woken since the last call, in order."""
    await pushes.ping("end")
    names: list[str] = []
    while True:
        message = await pushes.get_message(timeout=5)
        assert message is not None
        if message["type"] == "pong":
            return names
        assert message["data"] == b"wake"
        names.append(message["channel"].decode().removeprefix(f"{TAG}push:worker:"))


async def listed(partition: Partition) -> list[str]:
    return [worker for worker, _ in (await partition.snapshot()).list("idle")]


async def test_a_request_wakes_the_one_worker_that_was_idle_for_the_longest_time(
    partition: Partition,
) -> None:
    async with idle(partition, "w1", "w2", "w3") as pushes:
        await partition.submit("a")
        assert await woken(pushes) == ["w1"]
        assert await partition.tokens() == 0
        await partition.take("w1")
        await partition.submit("b")
        assert await woken(pushes) == ["w2"]


async def test_a_worker_that_died_while_it_was_idle_is_passed_over(partition: Partition) -> None:
    for worker in ("dead1", "dead2"):
        await partition.claim(worker)
    async with idle(partition, "alive") as pushes:
        await partition.submit("a")
        assert await woken(pushes) == ["alive"]
        assert await listed(partition) == []


async def test_without_an_idle_worker_a_token_is_left_for_workers_of_version_0_1(
    partition: Partition,
) -> None:
    await partition.claim("dead")
    await partition.submit("a")
    assert await partition.tokens() == 1
    assert await listed(partition) == []


async def test_a_claim_that_leaves_work_behind_wakes_the_next_worker_and_not_its_own(
    partition: Partition,
) -> None:
    async with idle(partition, "w1", "w2", "w3") as pushes:
        await partition.claim("w1", take=False)
        await partition.submit("a")
        await partition.submit("b")
        assert await woken(pushes) == ["w2", "w3"]
        assert await partition.claim("w4") != Empty(-1)
        await partition.claim("w2")
        assert sorted(await listed(partition)) == ["w2"]
        await partition.submit("c")
        await partition.submit("d")
        assert await woken(pushes) == ["w2"]


async def test_a_full_worker_passes_its_wake_on_and_is_not_woken_again(
    partition: Partition,
) -> None:
    async with idle(partition, "full", "free") as pushes:
        await partition.submit("a")
        assert await woken(pushes) == ["full"]
        assert await partition.claim("full", take=False) == Empty(0)
        assert await woken(pushes) == ["free"]
        await partition.take("free")
        await partition.submit("b")
        assert await woken(pushes) == ["free"], "the last claim left nothing, so it is idle again"


async def test_a_worker_whose_last_slot_is_taken_is_not_listed_as_idle(
    partition: Partition,
) -> None:
    await partition.submit("a")
    assert isinstance(await partition.claim("w", stays_idle=False), Go)
    assert await listed(partition) == []


async def test_due_requests_wake_as_new_ones_do(partition: Partition) -> None:
    await partition.submit("a")
    await partition.retry(await partition.take("w0"))
    async with idle_with_due(partition) as pushes:
        assert await partition.claim("full", take=False) == Empty(0)
        assert await woken(pushes) == ["w1"]


@asynccontextmanager
async def idle_with_due(partition: Partition) -> AsyncIterator[PubSub]:
    """An idle worker, and a request whose delay is over since that worker asked."""
    pushes = partition.client.pubsub()
    partition.has_listeners = True
    await pushes.ssubscribe(f"{TAG}push:worker:w1")
    await pushes.get_message(timeout=5)
    await partition.claim("w1")
    await partition.make_due("a")
    yield pushes
    await pushes.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py


async def test_a_look_finds_work_and_when_more_is_due(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        looks = Looks(broker.connections)
        assert await looks.look(0) == Look()
        assert await looks.has_waiting(8) is False
        await broker.submit()
        assert await looks.look(0) == Look(has_waiting=True)
        assert await looks.has_waiting(8) is True
        lease = await broker.claim_lease()
        look = await looks.look(0)
        assert not look.has_waiting
        assert look.next_ms is not None
        assert 0 < look.next_ms <= broker.settings.lease_ms
        await broker.queue.retry(lease, 0, "later")
        assert (await looks.look(0)).next_ms == 0


async def test_a_worker_that_saw_redis_all_the_time_takes_over_without_a_grace_period(
    partition: Partition,
) -> None:
    """Nobody claimed from this partition for long, and nobody had to."""
    await partition.submit("a")
    await partition.end_lease(await partition.take())
    last_seen = int((await partition.snapshot()).hash("load")["seen"]) - 60_000
    await partition.client.hset(f"{TAG}load", "seen", str(last_seen))
    assert await partition.claim(lease_ms=5000, reachable_ms=50_000) != Empty(-1)
    assert await partition.state("a") == "running"
    now = (await partition.snapshot()).hash("load")
    assert int(now["grace"]) > int(now["seen"]), "the 10 s before may have been an outage"
    for name, value in (("grace", 0), ("late", 0), ("seen", last_seen)):
        await partition.client.hset(f"{TAG}load", name, str(value))
    got = await partition.claim(lease_ms=5000, reachable_ms=58_000)
    assert isinstance(got, Go)
    assert (got.id, got.n) == ("a", 2)
