"""The claim loop: when it claims, and when it waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import structlog

from tests.support.script import Finish, Role, Text, Wait, answer
from tests.support.scripted import OfflineUpstream, ScriptedQueue, lease, tools, until
from tests.support.wait import wait_until
from tests.worker.consumers import (
    CROWD,
    IDS,
    SUSPECT_CRASHES,
    consumer_of,
    endless,
    leases,
    running,
)
from tickertape.broker.errors import Unavailable
from tickertape.broker.queue import Lease, Nothing
from tickertape.worker.consumer import Consumer, ConsumerTiming

SHORT_POLLS = ConsumerTiming(poll_s=0.005)
WITHOUT_PAUSES = ConsumerTiming(unavailable_pause_s=0)


async def test_claims_until_nothing_is_there_and_waits_then(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, answer("a"), answer("b"))
    async with running(consumer):
        await until(lambda: queue.verbs.count("finish") == 2 and "wait" in queue.verbs)
    assert len({call["nonce"] for call in queue.all("claim")}) == 3
    assert {call["lease"].request_id for call in queue.all("finish")} == set(IDS[:2])


@pytest.mark.parametrize("can_continue", [False, True])
async def test_a_claim_says_whether_this_upstream_can_continue_an_answer(
    queue: ScriptedQueue, *, can_continue: bool
) -> None:
    parts = tools(OfflineUpstream(can_continue=can_continue), queue)
    consumer = Consumer(parts, slots=1, partitions=1, lease_s=60, suspect_crashes=SUSPECT_CRASHES)
    async with running(consumer):
        await until(lambda: "wait" in queue.verbs)
    assert [call["can_continue"] for call in queue.all("claim")] == [can_continue]


async def test_a_long_queue_is_claimed_faster_and_never_beyond_the_slots(
    queue: ScriptedQueue,
) -> None:
    under_way = 0
    at_once: list[int] = []

    def claimed(number: int) -> Callable[[], Awaitable[Lease]]:
        async def claim() -> Lease:
            nonlocal under_way
            under_way += 1
            await asyncio.sleep(0)
            at_once.append(under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return lease(request_id=CROWD[number], attempt=1000 - number)

        return claim

    queue.will("claim", *map(claimed, range(9)))
    consumer = consumer_of(queue, *[endless()] * 9, slots=9)
    async with running(consumer) as task:
        await until(lambda: consumer.running == 9)
        consumer.stop()
        consumer.stop()
        await task
    assert at_once == [1, 2, 2, 4, 4, 4, 4, 2, 2]
    # Of several claims one may bring a suspect.
    oks = [call["suspect_ok"] for call in queue.all("claim")]
    assert oks == [True, True, False, True, False, False, False, True, False]
    given_back = [CROWD.index(call["lease"].request_id) for call in queue.all("release")]
    assert given_back == [7, 8, 3, 4, 5, 6, 1, 2, 0], "the last in line first"


async def test_a_look_that_was_cut_short_is_followed_by_another(queue: ScriptedQueue) -> None:
    queue.will("claim", Nothing(0))
    async with running(consumer_of(queue)):
        await until(lambda: "wait" in queue.verbs)
    assert queue.verbs[:2] == ["claim", "claim"]


async def test_with_nothing_left_it_claims_one_at_a_time_again(queue: ScriptedQueue) -> None:
    queue.will("wait", None, asyncio.Event().wait)
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, endless(), endless())
    async with running(consumer):
        await until(lambda: queue.verbs.count("wait") == 2)
    # One lease, a second with nothing beside it, then a wait that ended in vain.
    assert queue.verbs.count("claim") == 4


@pytest.mark.parametrize(("next_ms", "limit_s"), [(None, 1.0), (250, 0.25), (60_000, 1.0)])
async def test_waits_no_longer_than_until_something_is_due(
    queue: ScriptedQueue, next_ms: int | None, limit_s: float
) -> None:
    # The last in line says so itself, and nobody has to ask once more.
    queue.will("claim", replace(leases()[0], next_ms=next_ms))
    async with running(consumer_of(queue, endless())):
        await until(lambda: "wait" in queue.verbs)
    assert queue.verbs[:2] == ["claim", "wait"]
    assert queue.all("wait")[0]["limit_s"] == limit_s


async def test_with_all_slots_busy_due_requests_are_queued_for_other_workers(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", leases()[0], Unavailable())  # the one that only reaps finds no Redis
    consumer = consumer_of(queue, endless(), slots=1, timing=SHORT_POLLS)
    async with running(consumer):
        await wait_until(lambda: len(queue.all("claim")) >= 4, description="it looks again")
        assert consumer.running == 1
    assert [call["take"] for call in queue.all("claim")][:4] == [True, False, False, False]


async def test_a_slot_that_is_free_again_is_used(queue: ScriptedQueue) -> None:
    gate = asyncio.Event()
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, [Role(), Wait(gate), Text("a"), Finish()], answer("b"), slots=1)
    async with running(consumer):
        await until(lambda: consumer.running == 1)
        assert len(queue.all("claim")) == 1
        gate.set()
        await until(lambda: queue.verbs.count("finish") == 2)


async def test_a_claim_whose_answer_was_lost_is_repeated_with_its_nonce(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", Unavailable(), Unavailable(), leases()[0])
    async with running(consumer_of(queue, answer("a"), timing=WITHOUT_PAUSES)):
        await wait_until(lambda: "finish" in queue.verbs, description="the request is run")
    nonces = [call["nonce"] for call in queue.all("claim")]
    assert nonces[0] == nonces[1] == nonces[2] != nonces[3]


async def test_a_claim_that_redis_refuses_is_logged_and_followed_by_a_new_one(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", RuntimeError("WRONGTYPE"), leases()[0])
    with structlog.testing.capture_logs() as logged:
        async with running(consumer_of(queue, answer("a"), slots=1, timing=WITHOUT_PAUSES)):
            await wait_until(lambda: "finish" in queue.verbs, description="the request is run")
    errors = [(line["event"], line["error"]) for line in logged if line["log_level"] == "error"]
    assert errors == [("claim broke", "WRONGTYPE")]
    nonces = [call["nonce"] for call in queue.all("claim")]
    assert nonces[0] != nonces[1]


async def test_a_reaping_that_redis_calls_wrong_leaves_the_jobs_alone(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", leases()[0], RuntimeError("WRONGTYPE"))
    consumer = consumer_of(queue, endless(), slots=1, timing=SHORT_POLLS)
    with structlog.testing.capture_logs() as logged:
        async with running(consumer):
            await wait_until(lambda: len(queue.all("claim")) >= 4, description="it looks again")
            assert consumer.running == 1
    errors = [(line["event"], line["error"]) for line in logged if line["log_level"] == "error"]
    assert errors == [("claim broke", "WRONGTYPE")]


async def test_a_wait_that_broke_off_is_followed_by_a_claim(queue: ScriptedQueue) -> None:
    queue.will("wait", Unavailable())
    async with running(consumer_of(queue, timing=WITHOUT_PAUSES)):
        await wait_until(lambda: queue.verbs.count("wait") == 2, description="it waits again")
    assert queue.verbs[:3] == ["claim", "wait", "claim"]


@pytest.mark.parametrize("crashes", [SUSPECT_CRASHES - 1, SUSPECT_CRASHES])
async def test_a_worker_with_a_suspect_claims_no_other_suspect(
    queue: ScriptedQueue, crashes: int
) -> None:
    queue.will("claim", *leases(crashes=crashes)[:1])
    async with running(consumer_of(queue, endless())):
        await until(lambda: len(queue.all("claim")) == 3)
    holds_suspect = crashes == SUSPECT_CRASHES
    assert [call["suspect_ok"] for call in queue.all("claim")] == [True, not holds_suspect, False]


async def test_a_request_that_someone_ended_is_left_at_once(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    upstream = OfflineUpstream(endless(), endless())
    consumer = Consumer(
        tools(upstream, queue), slots=8, partitions=1, lease_s=60, suspect_crashes=2
    )
    async with running(consumer):
        await until(lambda: consumer.running == 2 and len(upstream.bodies) == 2)
        consumer.cancelled("r0_unknown")
        consumer.cancelled(IDS[0])
        await until(lambda: consumer.running == 1)
        assert [body.is_closed for body in upstream.bodies] == [True, False]
        assert "finish" not in queue.verbs


async def test_a_job_that_breaks_frees_its_slot(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    queue.will("finish", RuntimeError("no such script"))
    consumer = consumer_of(queue, answer("a"), answer("b"), slots=1)
    async with running(consumer):
        await until(lambda: queue.verbs.count("finish") == 2)
        await until(lambda: consumer.running == 0)


async def test_cancelling_a_consumer_cancels_its_jobs(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases())
    upstream = OfflineUpstream(endless(), endless(), endless())
    consumer = Consumer(
        tools(upstream, queue), slots=8, partitions=1, lease_s=60, suspect_crashes=2
    )
    task = asyncio.create_task(consumer.run(30))
    await until(lambda: len(upstream.bodies) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: consumer.running == 0)
    assert all(body.is_closed for body in upstream.bodies)
    assert "release" not in queue.verbs
