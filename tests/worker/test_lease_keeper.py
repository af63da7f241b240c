"""Renewals, and which jobs a refused one stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.support.script import Role, Script, Text, Wait
from tests.support.scripted import OfflineUpstream, ScriptedQueue, lease, tools, until
from tests.support.wait import wait_until
from tickertape.broker.errors import Unavailable
from tickertape.broker.leases import Lease
from tickertape.broker.queue import MOST_RENEWALS
from tickertape.worker.job import Job
from tickertape.worker.lease_keeper import _TURNS, LeaseKeeper

LEASE_S = 0.006


class ListeningJob(Job):
    """Records the calls of a job."""

    def __init__(self, of: Lease, queue: ScriptedQueue) -> None:
        script: Script = [Role(), Text("x"), Wait(asyncio.Event())]
        super().__init__(of, tools(OfflineUpstream(script), queue))
        self.refused_leases: list[Lease] = []

    def fenced(self, lease: Lease) -> None:
        self.refused_leases.append(lease)
        super().fenced(lease)


def renewed_by(queue: ScriptedQueue) -> list[Lease]:
    """The leases of all calls, in order."""
    return [lease for call in queue.all("renew") for lease in call["leases"]]


@contextlib.asynccontextmanager
async def keeping(queue: ScriptedQueue, *jobs: Job) -> AsyncIterator[LeaseKeeper]:
    keeper = LeaseKeeper(queue, LEASE_S)
    for job in jobs:
        keeper.add(job)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_all_jobs_are_renewed_again_and_again() -> None:
    queue = ScriptedQueue()
    leases = [lease(), lease(attempt=2000)]
    async with keeping(queue, *(ListeningJob(each, queue) for each in leases)):
        await wait_until(lambda: len(queue.all("renew")) >= 6, description="three rounds")
    renewed = renewed_by(queue)
    assert [renewed.count(each) >= 3 for each in leases] == [True, True]


async def test_renewals_of_many_leases_are_spread_over_the_time_between_two_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = ScriptedQueue()
    letters = "abcdefghijklmnopqrstuvwxyz"
    leases = [lease(request_id=f"r0_{a}{b * 25}") for a in letters for b in letters[:4]]
    pauses: list[float] = []
    renewed_by_turn: list[int] = []
    sleep = asyncio.sleep

    async def counting(delay_s: float) -> None:
        if delay_s:  # and not a test that gives others their turn
            pauses.append(delay_s)
            renewed_by_turn.append(len(renewed_by(queue)))
            await sleep(0)
        await sleep(0)

    monkeypatch.setattr("tickertape.worker.lease_keeper.asyncio.sleep", counting)
    async with keeping(queue, *(ListeningJob(each, queue) for each in leases)):
        await until(lambda: len(pauses) > 2 * _TURNS)
    assert sum(pauses[:_TURNS]) == pytest.approx(LEASE_S / 3)
    in_a_round = renewed_by_turn[_TURNS + 1] - renewed_by_turn[1]
    assert in_a_round == len(leases), "each once"
    in_a_turn = [b - a for a, b in pairwise(renewed_by_turn)]
    assert max(in_a_turn) < len(leases) / 2
    assert len(queue.all("renew")) <= len(pauses), "one call a turn"


async def test_a_call_renews_leases_of_one_partition_and_not_too_many() -> None:
    queue = ScriptedQueue()
    leases = [lease(request_id=f"r{n % 2}_{'a' * 26}", attempt=n) for n in range(900)]
    async with keeping(queue, *(ListeningJob(each, queue) for each in leases)):
        await wait_until(lambda: len(renewed_by(queue)) >= 900, description="a round")
    calls = [call["leases"] for call in queue.all("renew")]
    assert max(map(len, calls)) == MOST_RENEWALS
    assert all(len({each.request_id for each in held}) == 1 for held in calls)


async def test_a_refused_renewal_ends_the_job_and_only_this_one() -> None:
    queue = ScriptedQueue()
    refused = ListeningJob(lease(), queue)
    queue.will("renew", [refused.lease])
    async with keeping(queue, refused) as keeper:
        async with asyncio.timeout(5):
            await refused.run()
        keeper.discard(refused)
        other = ListeningJob(lease(attempt=2000), queue)
        keeper.add(other)
        await wait_until(
            lambda: renewed_by(queue)[-1] is other.lease, description="the other's turn"
        )
    assert refused.refused_leases[0] is refused.lease
    assert other.refused_leases == []
    assert "finish" not in queue.verbs


async def test_a_job_is_not_stopped_while_redis_is_away() -> None:
    queue = ScriptedQueue()
    queue.will("renew", Unavailable(), Unavailable())
    job = ListeningJob(lease(), queue)
    async with keeping(queue, job):
        await wait_until(lambda: len(queue.all("renew")) >= 3, description="it is tried again")
    assert job.refused_leases == []


async def test_a_renewal_that_redis_rejects_ends_neither_the_job_nor_the_renewals() -> None:
    queue = ScriptedQueue()
    queue.will("renew", RuntimeError("WRONGTYPE"), RuntimeError("WRONGTYPE"))
    job = ListeningJob(lease(), queue)
    async with keeping(queue, job):
        await wait_until(lambda: len(queue.all("renew")) >= 3, description="it is tried again")
    assert job.refused_leases == []


async def test_a_lease_is_renewed_from_the_next_round_until_its_job_ends() -> None:
    queue = ScriptedQueue()
    job = ListeningJob(lease(), queue)
    async with keeping(queue) as keeper:
        keeper.add(job)
        await wait_until(lambda: queue.all("renew"), description="a first renewal")
        keeper.discard(job)
        renewals = len(renewed_by(queue))
        keeper.add(other := ListeningJob(lease(attempt=2000), queue))
        await wait_until(
            lambda: renewed_by(queue)[-1] is other.lease, description="the other's turn"
        )
    assert renewed_by(queue).count(job.lease) == renewals
