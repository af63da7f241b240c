"""How a job lets go of its request: fenced, or given back on a drain."""

import asyncio

import pytest

from tests.support.script import answer
from tests.support.scripted import (
    WITHOUT_PAUSES,
    OfflineUpstream,
    ScriptedAppender,
    ScriptedQueue,
    lease,
    tools,
    until,
)
from tests.worker.jobs import HALF, codes, run_to_half, says_half
from tickertape.broker.errors import Fenced, Unavailable
from tickertape.broker.kinds import AppendOutcome
from tickertape.broker.leases import Lease
from tickertape.worker.job import Job
from tickertape.worker.outcome import Stop
from tickertape.worker.tools import JobTiming


async def test_a_request_that_its_policy_ends_is_left_as_it_is(queue: ScriptedQueue) -> None:
    queue.will("reopen", None)
    await Job(lease(), tools(OfflineUpstream(HALF), queue)).run()
    assert queue.verbs == ["account", "reopen"]


async def test_a_request_that_others_took_before_it_was_reopened_is_left_to_them(
    queue: ScriptedQueue,
) -> None:
    queue.will("reopen", Unavailable(), Fenced())
    await Job(lease(), tools(OfflineUpstream(HALF), queue)).run()
    first, second = queue.all("reopen")
    assert first["nonce"] == second["nonce"]
    assert "finish" not in queue.verbs


async def test_a_renewal_refused_while_reopening_does_not_stop_the_next_attempt(
    queue: ScriptedQueue,
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()
    again = lease(attempt=2000, n=2, opener="reset")

    async def reopen() -> Lease:
        reached.set()
        await gate.wait()
        return again

    queue.will("reopen", reopen)
    job = Job(lease(), tools(OfflineUpstream(HALF, answer("whole")), queue))
    running = asyncio.create_task(job.run())
    await reached.wait()
    old = job.lease
    job.fenced(old)
    gate.set()
    await until(lambda: job.lease is again)
    job.fenced(old)
    await running
    assert codes(queue) == [("completed", "")]


async def test_a_fenced_attempt_closes_the_upstream_and_writes_nothing(
    queue: ScriptedQueue,
) -> None:
    upstream = says_half()
    appender = ScriptedAppender()
    job = Job(lease(), tools(upstream, queue, appender))
    running = await run_to_half(job, appender)
    queue.will("account", Unavailable())
    job.fenced(job.lease)
    await running
    assert upstream.bodies[0].is_closed
    assert queue.verbs == ["account"]  # refused, and not worth more than a warning


async def test_an_append_that_is_refused_ends_the_attempt(queue: ScriptedQueue) -> None:
    upstream = says_half()
    appender = ScriptedAppender()
    running = await run_to_half(Job(lease(), tools(upstream, queue, appender)), appender)
    appender.calls[0].answer("FENCED")
    await running
    assert upstream.bodies[0].is_closed
    assert queue.verbs == ["account"]


async def test_a_refused_end_is_not_repeated(queue: ScriptedQueue) -> None:
    queue.will("finish", Fenced())
    await Job(lease(), tools(OfflineUpstream(answer("a")), queue)).run()
    assert queue.verbs == ["finish", "account"]


async def drained(
    queue: ScriptedQueue,
    appender: ScriptedAppender,
    *,
    answers: tuple[AppendOutcome, int] | None,
    timing: JobTiming = WITHOUT_PAUSES,
) -> None:
    """Run to the first piece, drain, and let Redis answer the append after that, or never."""
    upstream = says_half()
    job = Job(lease(), tools(upstream, queue, appender, timing=timing))
    running = await run_to_half(job, appender)
    job.stop(Stop.DRAINED)
    await until(lambda: upstream.bodies[0].is_closed)
    if answers is not None:
        assert "release" not in queue.verbs
        appender.calls[0].answer(*answers)
    await running
    assert "finish" not in queue.verbs


async def test_a_drained_request_is_released_after_its_output_is_written(
    queue: ScriptedQueue,
) -> None:
    await drained(queue, ScriptedAppender(), answers=("OK", 1))
    assert queue.verbs == ["account", "release"]


async def test_a_drain_does_not_wait_for_a_silent_redis(
    queue: ScriptedQueue,
) -> None:
    appender = ScriptedAppender()
    await drained(queue, appender, answers=None, timing=JobTiming(flush_on_drain_s=0.01))
    assert queue.verbs == ["account", "release"]
    appender.calls[0].answer("OK", 1)  # too late, and nobody minds
    assert len(appender.calls) == 1


@pytest.mark.parametrize("refusal", [Fenced(), Unavailable()])
async def test_a_request_that_cannot_be_released_is_left_to_its_lease(
    queue: ScriptedQueue, refusal: Exception
) -> None:
    queue.will("account", Unavailable())
    queue.will("release", refusal)
    await drained(queue, ScriptedAppender(), answers=("OK", 1))
    assert queue.verbs == ["account", "release"]


async def test_a_drain_before_the_first_output_accounts_nothing(queue: ScriptedQueue) -> None:
    upstream = OfflineUpstream()
    job = Job(lease(), tools(upstream, queue))
    job.stop(Stop.DRAINED)
    await job.run()
    assert upstream.payloads == []
    assert queue.verbs == ["release"]


async def test_a_drain_while_reopening_releases_the_new_attempt(queue: ScriptedQueue) -> None:
    again = lease(attempt=2000, n=2, opener="reset")
    job = Job(lease(), tools(OfflineUpstream(HALF), queue))

    async def reopen() -> Lease:
        job.stop(Stop.DRAINED)
        job.stop(Stop.FENCED)  # only the first reason counts
        return again

    queue.will("reopen", reopen)
    await job.run()
    assert queue.all("release") == [{"lease": again}]
