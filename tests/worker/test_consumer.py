"""The claim loop: when it claims, and when it waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from tests.support.script import Finish, Role, Script, Text, Wait, answer
from tests.support.scripted import (
    OfflineUpstream,
    ScriptedLooks,
    ScriptedQueue,
    lease,
    tools,
    until,
)
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
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.looks import Look
from tickertape.worker.consumer import Consumer, ConsumerTiming

SHORT_POLLS = ConsumerTiming(poll_s=0.005)
WITHOUT_PAUSES = ConsumerTiming(unavailable_pause_s=0)


async def test_claims_until_nothing_is_there_and_waits_then(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, answer("a"), answer("b"))
    async with running(consumer):
        await until(lambda: queue.verbs.count("finish") == 2 and consumer.is_idle)
    assert len({call["nonce"] for call in queue.all("claim")}) == 3
    assert {call["lease"].request_id for call in queue.all("finish")} == set(IDS[:2])


@pytest.mark.parametrize("can_continue", [False, True])
async def test_a_claim_says_whether_this_upstream_can_continue_an_answer(
    queue: ScriptedQueue, *, can_continue: bool
) -> None:
    parts = tools(OfflineUpstream(can_continue=can_continue), queue)
    consumer = Consumer(parts, slots=1, partitions=1, lease_s=60, suspect_crashes=SUSPECT_CRASHES)
    async with running(consumer):
        await until(lambda: consumer.is_idle)
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
    consumer = consumer_of(queue)
    async with running(consumer):
        await until(lambda: consumer.is_idle)
    assert queue.verbs[:2] == ["claim", "claim"]


async def test_with_nothing_left_it_claims_one_at_a_time_again(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, endless(), endless())
    async with running(consumer):
        await until(lambda: consumer.is_idle)
        # One lease, then a second with nothing beside it.
        assert queue.verbs.count("claim") == 3
        consumer.wake(0)
        await until(lambda: queue.verbs.count("claim") == 4 and consumer.is_idle)


async def test_the_last_request_in_line_needs_no_other_claim(queue: ScriptedQueue) -> None:
    queue.will("claim", replace(leases()[0], next_ms=None))
    consumer = consumer_of(queue, endless())
    async with running(consumer):
        await until(lambda: consumer.running == 1 and consumer.is_idle)
    assert queue.verbs.count("claim") == 1 + 1, "and one at the stop, to be woken no more"
    assert [call["take"] for call in queue.all("claim")] == [True, False]


async def test_with_all_slots_busy_due_requests_are_queued_for_other_workers(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", leases()[0], Unavailable())  # the one that only reaps finds no Redis
    looks = ScriptedLooks(*[Look(next_ms=0)] * 3)
    consumer = consumer_of(queue, endless(), slots=1, timing=SHORT_POLLS, looks=looks)
    async with running(consumer):
        await wait_until(lambda: len(queue.all("claim")) >= 4, description="it looks again")
        assert consumer.running == 1
    assert [call["take"] for call in queue.all("claim")][:4] == [True, False, False, False]


async def test_a_full_worker_passes_a_wake_on_and_claims_when_a_slot_is_free(
    queue: ScriptedQueue,
) -> None:
    gate = asyncio.Event()
    queue.will("claim", leases()[0], None, leases()[1])
    script: Script = [Role(), Wait(gate), Text("a"), Finish()]
    consumer = consumer_of(queue, script, endless(), slots=1)
    async with running(consumer):
        await until(lambda: consumer.running == 1)
        consumer.wake(0)
        await until(lambda: len(queue.all("claim")) == 2)
        gate.set()
        await until(lambda: len(queue.all("claim")) == 3 and consumer.running == 1)
    calls = [(call["take"], call["stays_idle"]) for call in queue.all("claim")]
    assert calls[:3] == [(True, False), (False, True), (True, False)]


async def test_a_wake_during_a_claim_is_followed_by_another_claim(queue: ScriptedQueue) -> None:
    claimed, gate = asyncio.Event(), asyncio.Event()

    async def claim() -> None:
        claimed.set()
        await gate.wait()

    queue.will("claim", claim)
    consumer = consumer_of(queue)
    async with running(consumer):
        await claimed.wait()
        consumer.wake(0)
        gate.set()
        await until(lambda: len(queue.all("claim")) == 2 and consumer.is_idle)


async def test_a_look_finds_what_no_wake_announced(queue: ScriptedQueue) -> None:
    looks = ScriptedLooks(Unavailable(), Look(), Look(has_waiting=True))
    consumer = consumer_of(queue, timing=SHORT_POLLS, looks=looks)
    async with running(consumer):
        await wait_until(lambda: len(queue.all("claim")) == 2, description="it claims again")
        await wait_until(lambda: len(looks.looked_at) > 5, description="it finds nothing more")
        assert len(queue.all("claim")) == 2


async def test_a_worker_looks_at_all_of_many_partitions_when_one_of_them_has_work(
    queue: ScriptedQueue,
) -> None:
    looks = ScriptedLooks()
    consumer = consumer_of(queue, timing=SHORT_POLLS, looks=looks, partitions=400)
    async with running(consumer):
        await until(lambda: consumer.is_idle, turns=2000)
        looks.is_any_waiting = True
        await wait_until(lambda: len(set(looks.looked_at)) == 400, description="all are looked at")


async def test_partitions_are_claimed_from_in_turn(queue: ScriptedQueue) -> None:
    ids = [f"r{n % 3}_{letter * 26}" for n, letter in enumerate("abcdefghi")]
    queue.will("claim", *(lease(request_id=request_id) for request_id in ids))
    consumer = consumer_of(queue, *[answer("a") for _ in ids], slots=1, partitions=3)
    async with running(consumer):
        await until(lambda: queue.verbs.count("finish") == len(ids), turns=2000)
    claimed_from = [call["partition"] for call in queue.all("claim")]
    assert claimed_from[: len(ids)] == [0, 1, 2] * 3


async def test_a_partition_whose_server_is_away_holds_no_slot_of_other_servers(
    queue: ScriptedQueue,
) -> None:
    class TwoServers(ScriptedLooks):
        def node_of(self, partition: int) -> str:
            return "away" if partition % 2 else "up"

    away = asyncio.Event()
    ids = [f"r0_{letter * 26}" for letter in "abcd"]
    leases_of_0 = iter([lease(request_id=request_id) for request_id in ids])

    class HalfQueue(ScriptedQueue):
        async def claim(self, partition: int, nonce: str, **options: Any) -> Lease | Nothing:
            await super().claim(partition, nonce, **options)
            if partition % 2:
                away.set()
                raise Unavailable
            return next(leases_of_0, Nothing(None))

    half = HalfQueue()
    consumer = consumer_of(
        half, *[answer("a") for _ in ids], slots=2, partitions=8, looks=TwoServers()
    )
    async with running(consumer):
        await wait_until(lambda: half.verbs.count("finish") == len(ids), description="all end")
    assert away.is_set()


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
        await wait_until(lambda: len(queue.all("claim")) > 3, description="a claim of another")
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
    looks = ScriptedLooks(RuntimeError("WRONGTYPE"), Look(next_ms=0), Look(next_ms=0))
    consumer = consumer_of(queue, endless(), slots=1, timing=SHORT_POLLS, looks=looks)
    with structlog.testing.capture_logs() as logged:
        async with running(consumer):
            await wait_until(lambda: len(queue.all("claim")) >= 3, description="it looks again")
            assert consumer.running == 1
    errors = [(line["event"], line["error"]) for line in logged if line["log_level"] == "error"]
    assert errors == [("look broke", "WRONGTYPE"), ("claim broke", "WRONGTYPE")]


@pytest.mark.parametrize("crashes", [SUSPECT_CRASHES - 1, SUSPECT_CRASHES])
async def test_a_worker_with_a_suspect_claims_no_other_suspect(
    queue: ScriptedQueue, crashes: int
) -> None:
    queue.will("claim", *leases(crashes=crashes)[:1])
    consumer = consumer_of(queue, endless())
    async with running(consumer):
        await until(lambda: consumer.running == 1 and consumer.is_idle)
    holds_suspect = crashes == SUSPECT_CRASHES
    oks = [call["suspect_ok"] for call in queue.all("claim") if call["take"]]
    assert oks == [True, not holds_suspect, False]


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
