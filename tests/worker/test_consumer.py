"""The claim loop: when it claims, when it waits, and how it stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from broker.errors import Unavailable
from broker.queue import Lease, Nothing
from tests.support.script import Finish, Role, Script, Text, Wait, answer
from tests.support.scripted import (
    OfflineUpstream,
    ScriptedAppender,
    ScriptedQueue,
    accepting,
    lease,
    tools,
    until,
)
from tests.support.wait import wait_until
from worker.consumer import Consumer

CROWD = [f"r0_{letter * 26}" for letter in "abcdefghi"]
IDS = CROWD[:3]
SUSPECT_CRASHES = 2


def leases(*, crashes: int = 0) -> list[Lease]:
    return [lease(request_id=request_id, crashes=crashes) for request_id in IDS]


def endless() -> Script:
    return [Role(), Text("x"), Wait(asyncio.Event())]


def consumer_of(
    queue: ScriptedQueue,
    *scripts: Script | Exception,
    slots: int = 8,
    appender: ScriptedAppender | None = None,
) -> Consumer:
    return Consumer(
        tools(OfflineUpstream(*scripts), queue, appender),
        slots=slots,
        partitions=1,
        lease_s=60,
        suspect_crashes=SUSPECT_CRASHES,
    )


@contextlib.asynccontextmanager
async def running(consumer: Consumer, grace_s: float = 30) -> AsyncIterator[asyncio.Task[None]]:
    """It is told to stop twice at the end, if it runs then, and has to."""
    task = asyncio.create_task(consumer.run(grace_s))
    try:
        yield task
        consumer.stop()
        consumer.stop()
        async with asyncio.timeout(5):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.consumer.POLL_S", 0.005)


async def test_claims_until_nothing_is_there_and_waits_then(queue: ScriptedQueue) -> None:
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, answer("a"), answer("b"))
    async with running(consumer):
        await until(lambda: queue.verbs.count("finish") == 2 and "wait" in queue.verbs)
    assert len({call["nonce"] for call in queue.all("claim")}) == 3
    assert {call["lease"].request_id for call in queue.all("finish")} == set(IDS[:2])


async def test_a_crowd_is_claimed_by_more_and_more_at_once_and_never_beyond_the_slots(
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


@pytest.mark.usefixtures("short_polls")
async def test_with_all_slots_taken_what_is_due_is_put_in_line_for_others(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", leases()[0], Unavailable())  # the one that only reaps finds no Redis
    consumer = consumer_of(queue, endless(), slots=1)
    async with running(consumer):
        await wait_until(lambda: len(queue.all("claim")) >= 4, description="it looks again")
        assert consumer.running == 1
    assert [call["take"] for call in queue.all("claim")][:4] == [True, False, False, False]


async def test_a_slot_that_is_free_again_is_used(queue: ScriptedQueue) -> None:
    gate = asyncio.Event()
    queue.will("claim", *leases()[:2])
    consumer = consumer_of(queue, [Role(), Wait(gate), Finish()], answer("b"), slots=1)
    async with running(consumer):
        await until(lambda: consumer.running == 1)
        assert len(queue.all("claim")) == 1
        gate.set()
        await until(lambda: queue.verbs.count("finish") == 2)


@pytest.mark.usefixtures("without_pauses")
async def test_a_claim_whose_answer_was_lost_is_repeated_with_its_nonce(
    queue: ScriptedQueue,
) -> None:
    queue.will("claim", Unavailable(), Unavailable(), leases()[0])
    async with running(consumer_of(queue, answer("a"))):
        await wait_until(lambda: "finish" in queue.verbs, description="the request is run")
    nonces = [call["nonce"] for call in queue.all("claim")]
    assert nonces[0] == nonces[1] == nonces[2] != nonces[3]


async def test_stops_at_once_while_redis_is_away(queue: ScriptedQueue) -> None:
    queue.will("claim", Unavailable())
    consumer = consumer_of(queue)
    async with running(consumer):
        await until(lambda: "claim" in queue.verbs)
        consumer.stop()
    assert len(queue.all("claim")) == 1


@pytest.mark.usefixtures("without_pauses")
async def test_a_wait_that_broke_off_is_followed_by_a_claim(queue: ScriptedQueue) -> None:
    queue.will("wait", Unavailable())
    async with running(consumer_of(queue)):
        await wait_until(lambda: queue.verbs.count("wait") == 2, description="it waits again")
    assert queue.verbs[:3] == ["claim", "wait", "claim"]


async def test_stops_at_once_while_it_waits(queue: ScriptedQueue) -> None:
    consumer = consumer_of(queue)
    async with running(consumer) as task:
        await until(lambda: "wait" in queue.verbs)
        consumer.stop()
        await until(task.done)
    assert queue.verbs == ["claim", "wait"]


async def test_claims_nothing_when_it_is_told_to_stop_before_it_starts(
    queue: ScriptedQueue,
) -> None:
    consumer = consumer_of(queue)
    consumer.stop()
    await consumer.run(30)
    assert queue.said == []


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
    assert queue.verbs == ["claim", "finish"]


async def test_within_the_grace_jobs_come_to_their_end(queue: ScriptedQueue) -> None:
    gate = asyncio.Event()
    queue.will("claim", leases()[0])
    consumer = consumer_of(queue, [Role(), Wait(gate), Text("a"), Finish()])
    async with running(consumer) as task:
        await until(lambda: "wait" in queue.verbs)
        consumer.stop()
        await asyncio.sleep(0)
        gate.set()
        await until(task.done)
    assert "finish" in queue.verbs
    assert "release" not in queue.verbs


async def stopped_with_three(
    queue: ScriptedQueue, grace_s: float, *, then: Callable[[Consumer], None]
) -> list[str]:
    """Ids in the order in which they were given back."""
    queue.will("claim", *leases())
    consumer = consumer_of(queue, endless(), endless(), endless())
    async with running(consumer, grace_s) as task:
        await until(lambda: "wait" in queue.verbs and consumer.running == 3)
        consumer.stop()
        then(consumer)
        async with asyncio.timeout(5):
            await task
    assert consumer.running == 0
    return [call["lease"].request_id for call in queue.all("release")]


async def test_after_the_grace_the_last_claimed_are_given_back_first(
    queue: ScriptedQueue,
) -> None:
    assert await stopped_with_three(queue, 0.01, then=lambda _: None) == IDS[::-1]


async def test_a_second_stop_ends_the_grace(queue: ScriptedQueue) -> None:
    assert await stopped_with_three(queue, 3600, then=lambda each: each.stop()) == IDS[::-1]


async def test_a_request_that_cannot_be_given_back_in_time_does_not_hold_the_drain_up(
    queue: ScriptedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consumer._RELEASE_LIMIT_S", 0.01)
    queue.will("release", asyncio.Event().wait)
    assert await stopped_with_three(queue, 0, then=lambda _: None) == IDS[::-1]


async def test_a_drain_does_not_wait_for_a_redis_that_is_gone(
    queue: ScriptedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consumer._LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("worker.consumer._AWAY_LIMIT_S", 0.01)
    queue.will("claim", leases()[0])
    queue.will("release", asyncio.Event().wait)
    appender = ScriptedAppender(accepting)
    consumer = consumer_of(queue, endless(), appender=appender)
    async with running(consumer, 3600) as task:
        await until(lambda: "wait" in queue.verbs)
        consumer.stop()
        appender.is_away = True
        async with asyncio.timeout(5):
            await task


@pytest.mark.parametrize("crashes", [SUSPECT_CRASHES - 1, SUSPECT_CRASHES])
async def test_who_holds_a_suspect_takes_no_other(queue: ScriptedQueue, crashes: int) -> None:
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


async def test_a_consumer_that_is_cancelled_takes_its_jobs_with_it(queue: ScriptedQueue) -> None:
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
