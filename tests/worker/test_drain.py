"""How a consumer stops: what it finishes, what it gives back, and for what it does not wait."""

import asyncio
import contextlib
from collections.abc import Callable

from tests.support.script import Finish, Role, Text, Wait, answer
from tests.support.scripted import ScriptedAppender, ScriptedQueue, accepting, until
from tests.worker.consumers import IDS, consumer_of, endless, leases, running
from tickertape.broker.errors import Unavailable
from tickertape.broker.leases import Lease
from tickertape.worker.consumer import Consumer, ConsumerTiming


async def test_stops_at_once_while_redis_is_away(queue: ScriptedQueue) -> None:
    queue.will("claim", Unavailable())
    consumer = consumer_of(queue)
    async with running(consumer):
        await until(lambda: "claim" in queue.verbs)
        consumer.stop()
    assert len(queue.all("claim")) == 1


async def test_stops_at_once_while_it_waits(queue: ScriptedQueue) -> None:
    consumer = consumer_of(queue)
    async with running(consumer) as task:
        await until(lambda: consumer.is_idle)
        consumer.stop()
        await until(task.done)
    assert [call["take"] for call in queue.all("claim")] == [True, False]


async def test_a_worker_that_is_stopped_tells_redis_to_wake_it_no_more(
    queue: ScriptedQueue,
) -> None:
    consumer = consumer_of(queue, partitions=3)
    async with running(consumer) as task:
        await until(lambda: consumer.is_idle)
        consumer.stop()
        await until(task.done)
    assert [call["partition"] for call in queue.all("claim") if not call["take"]] == [0, 1, 2]


async def test_a_stop_does_not_wait_for_a_redis_that_hangs(queue: ScriptedQueue) -> None:
    consumer = consumer_of(queue, timing=ConsumerTiming(poll_s=0.005))
    async with running(consumer) as task:
        await until(lambda: consumer.is_idle)
        queue.will("claim", asyncio.Event().wait)
        consumer.stop()
        async with asyncio.timeout(5):
            await task


async def test_a_consumer_stopped_before_it_starts_claims_nothing(
    queue: ScriptedQueue,
) -> None:
    consumer = consumer_of(queue)
    consumer.stop()
    await consumer.run(30)
    assert queue.calls == []


async def test_a_claim_that_is_under_way_at_a_stop_is_not_thrown_away(
    queue: ScriptedQueue,
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def claim() -> Lease:
        reached.set()
        await gate.wait()
        return leases()[0]

    queue.will("claim", claim)
    consumer = consumer_of(queue, answer("a"))
    async with running(consumer) as task:
        await reached.wait()
        consumer.stop()
        gate.set()
        await until(task.done)
    assert [verb for verb in queue.verbs if verb != "claim"] == ["finish"]


async def test_within_the_grace_jobs_come_to_their_end(queue: ScriptedQueue) -> None:
    gate = asyncio.Event()
    queue.will("claim", leases()[0])
    consumer = consumer_of(queue, [Role(), Wait(gate), Text("a"), Finish()])
    async with running(consumer) as task:
        await until(lambda: consumer.running == 1 and consumer.is_idle)
        consumer.stop()
        await asyncio.sleep(0)
        gate.set()
        await until(task.done)
    assert "finish" in queue.verbs
    assert "release" not in queue.verbs


async def stopped_with_three(
    queue: ScriptedQueue,
    grace_s: float,
    *,
    then: Callable[[Consumer], None],
    timing: ConsumerTiming | None = None,
) -> list[str]:
    """Ids in the order in which they were given back."""
    queue.will("claim", *leases())
    consumer = consumer_of(queue, endless(), endless(), endless(), timing=timing)
    async with running(consumer, grace_s) as task:
        await until(lambda: consumer.is_idle and consumer.running == 3)
        consumer.stop()
        then(consumer)
        async with asyncio.timeout(5):
            await task
    assert consumer.running == 0
    return [call["lease"].request_id for call in queue.all("release")]


async def test_after_the_grace_the_last_claimed_requests_are_released_first(
    queue: ScriptedQueue,
) -> None:
    assert await stopped_with_three(queue, 0.01, then=lambda _: None) == IDS[::-1]


async def test_a_second_stop_ends_the_grace(queue: ScriptedQueue) -> None:
    assert await stopped_with_three(queue, 3600, then=lambda each: each.stop()) == IDS[::-1]


async def test_a_request_that_cannot_be_released_in_time_does_not_delay_the_drain(
    queue: ScriptedQueue,
) -> None:
    queue.will("release", asyncio.Event().wait)
    short = ConsumerTiming(release_limit_s=0.01)
    released = await stopped_with_three(queue, 0, then=lambda _: None, timing=short)
    assert released == IDS[::-1]


async def test_a_drain_does_not_wait_for_a_redis_that_is_gone(queue: ScriptedQueue) -> None:
    queue.will("claim", leases()[0])
    queue.will("release", asyncio.Event().wait)
    appender = ScriptedAppender(accepting)
    short = ConsumerTiming(check_every_s=0.001, away_limit_s=0.01)
    consumer = consumer_of(queue, endless(), appender=appender, timing=short)
    async with running(consumer, 3600) as task:
        await until(lambda: consumer.running == 1 and consumer.is_idle)
        consumer.stop()
        appender.is_away = True
        async with asyncio.timeout(5):
            await task


async def test_a_consumer_ends_after_its_jobs_which_may_still_use_a_connection(
    queue: ScriptedQueue,
) -> None:
    has_ended = False

    async def release_that_ends_slowly() -> None:
        nonlocal has_ended
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            has_ended = True

    queue.will("claim", leases()[0])
    queue.will("release", release_that_ends_slowly)
    timing = ConsumerTiming(release_limit_s=0.01, end_limit_s=30)
    consumer = consumer_of(queue, endless(), timing=timing)
    async with running(consumer, 0) as task:
        await until(lambda: consumer.running == 1 and consumer.is_idle)
        consumer.stop()
        async with asyncio.timeout(30):
            await task
    assert has_ended


async def test_a_consumer_does_not_wait_long_for_a_job_that_does_not_end(
    queue: ScriptedQueue,
) -> None:
    may_end = asyncio.Event()

    async def release_that_does_not_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    queue.will("claim", leases()[0])
    queue.will("release", release_that_does_not_end)
    timing = ConsumerTiming(release_limit_s=0.01, end_limit_s=0.01)
    consumer = consumer_of(queue, endless(), timing=timing)
    async with running(consumer, 0) as task:
        await until(lambda: consumer.running == 1 and consumer.is_idle)
        consumer.stop()
        async with asyncio.timeout(30):
            await task
        assert consumer.running == 1
        may_end.set()
        await until(lambda: consumer.running == 0)


async def test_a_job_that_begins_while_its_consumer_is_cancelled_ends_with_it(
    queue: ScriptedQueue,
) -> None:
    lease, *_ = leases()

    async def claim_whose_reply_is_there() -> Lease:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return lease

    queue.will("claim", claim_whose_reply_is_there)
    consumer = consumer_of(queue, endless(), timing=ConsumerTiming(end_limit_s=30))
    task = asyncio.create_task(consumer.run(30))
    await until(lambda: "claim" in queue.verbs)
    task.cancel()
    await asyncio.wait({task})
    assert consumer.running == 0
