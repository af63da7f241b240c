"""How a request ends, for each reply of Redis."""

import asyncio
import hashlib

import pytest

from tests.support.script import Cut, Finish, Role, Script, Text, Wait, answer
from tests.support.scripted import (
    QUESTION,
    OfflineUpstream,
    ScriptedAppender,
    ScriptedQueue,
    lease,
    tools,
    until,
)
from tests.worker.jobs import FAILING, HALF, codes, run_to_half, said, says_half
from tickertape.broker.appender import REFUSED
from tickertape.broker.errors import TooLong, Unavailable
from tickertape.broker.queue import Gap
from tickertape.broker.turns import Turn
from tickertape.worker.job import _GAP_PAUSE_S, _MAX_GAPS, _MAX_LOST_LOGS, Job
from tickertape.worker.upstream.errors import Unreachable


async def test_what_is_not_acknowledged_rides_along_with_the_terminal(
    queue: ScriptedQueue,
) -> None:
    silent = ScriptedAppender()
    await Job(lease(), tools(OfflineUpstream(answer(["a", "b"])), queue, silent)).run()
    (call,) = queue.all("finish")
    assert (call["state"], call["first_seq"]) == ("completed", 1)
    assert said(call)[:2] == ["da", "db"]
    assert said(call)[2]["sha256"] == hashlib.sha256(b"ab").hexdigest()
    assert call["usage"]["completion_tokens"] == 5


async def test_a_completed_log_has_the_times_of_its_attempt(queue: ScriptedQueue) -> None:
    await Job(lease(), tools(OfflineUpstream(answer(["a", "b"])), queue)).run()
    timing = said(queue.all("finish")[0])[-1]["timing"]
    assert 0 <= timing["first_output_ms"] <= timing["total_ms"] < 60_000


async def test_only_a_completed_answer_of_a_conversation_is_remembered() -> None:
    for conversation, script, remembered in (
        ("c", answer("yes"), "yes"),
        ("", answer("yes"), None),
        ("c", HALF, None),
    ):
        queue = ScriptedQueue()
        job = Job(
            lease(conversation=conversation, payload=FAILING),
            tools(OfflineUpstream(script), queue),
        )
        await job.run()
        assert queue.all("finish")[0]["answered"] == remembered


async def test_an_upstream_gets_the_earlier_turns_of_the_conversation(queue: ScriptedQueue) -> None:
    turns = [Turn("r0_b", [{"role": "user", "content": "before"}], "then")]
    upstream = OfflineUpstream(answer("yes"))
    await Job(lease(conversation="c"), tools(upstream, queue, turns=turns)).run()
    sent_messages = upstream.payloads[0]["messages"]
    assert [message["content"] for message in sent_messages] == ["before", "then", "why?"]


async def test_a_log_that_is_ahead_at_the_end_gets_only_what_it_lacks(
    queue: ScriptedQueue,
) -> None:
    queue.will("finish", Gap(1), None)
    silent = ScriptedAppender()
    await Job(lease(), tools(OfflineUpstream(answer(["a", "b"])), queue, silent)).run()
    first, second = queue.all("finish")
    assert (first["first_seq"], second["first_seq"]) == (1, 2)
    assert second["values"] == first["values"][1:]


async def test_a_log_that_has_lost_entries_at_the_end_is_begun_again_under_new_ids(
    queue: ScriptedQueue,
) -> None:
    again = lease(attempt=2000, n=2, opener="reset")
    queue.will("finish", Gap(0))
    queue.will("reopen", again)
    gate = asyncio.Event()
    upstream = OfflineUpstream([Role(), Text("a"), Wait(gate), Finish()], answer("b"))
    job = Job(lease(), tools(upstream, queue))
    running = asyncio.create_task(job.run())
    await until(lambda: upstream.bodies)
    for _ in range(10):  # the piece is written and acknowledged
        await asyncio.sleep(0)
    gate.set()
    await running
    assert [call["reason"] for call in queue.all("reopen")] == ["log_lost"]
    assert [call["lease"].attempt for call in queue.all("finish")] == [1000, 2000]
    assert codes(queue)[-1] == ("completed", "")


async def test_a_log_with_repeated_gaps_is_left_for_a_new_attempt(
    queue: ScriptedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(delay_s: float) -> None:
        pauses.append(delay_s)

    monkeypatch.setattr("tickertape.worker.job.asyncio.sleep", sleep)
    queue.will("finish", *[Gap(0)] * _MAX_GAPS)
    queue.will("reopen", lease(attempt=2000, n=2, opener="reset"))
    silent = ScriptedAppender()
    await Job(lease(), tools(OfflineUpstream(answer("a"), answer("b")), queue, silent)).run()
    assert [call["lease"].attempt for call in queue.all("finish")] == [1000] * _MAX_GAPS + [2000]
    assert pauses == [_GAP_PAUSE_S] * _MAX_GAPS


async def test_a_log_that_has_lost_entries_half_way_is_begun_again_at_once(
    queue: ScriptedQueue,
) -> None:
    upstream = OfflineUpstream([Role(), Text("a"), Wait(asyncio.Event())], answer("b"))
    appender = ScriptedAppender()
    queue.will("reopen", lease(attempt=2000, n=2, opener="reset"))
    job = Job(lease(), tools(upstream, queue, appender))
    running = await run_to_half(job, appender)
    appender.calls[0].answer("GAP", -1)
    await running
    assert upstream.bodies[0].is_closed
    assert [call["reason"] for call in queue.all("reopen")] == ["log_lost"]
    assert codes(queue) == [("completed", "")]


async def test_a_log_that_is_lost_each_time_fails_the_request(
    queue: ScriptedQueue,
) -> None:
    attempts = _MAX_LOST_LOGS + 1
    half: Script = [Role(), Text("a"), Wait(asyncio.Event())]
    again = [lease(attempt=2000 + n, n=2 + n, opener="reset") for n in range(_MAX_LOST_LOGS)]
    queue.will("reopen", *again)
    refusing = ScriptedAppender(lambda first_seq, values: REFUSED)
    upstream = OfflineUpstream(*[half] * attempts)
    await Job(lease(), tools(upstream, queue, refusing)).run()
    assert len(upstream.bodies) == attempts
    assert codes(queue) == [("failed", "internal")]


async def test_a_log_without_room_half_way_ends_the_request(queue: ScriptedQueue) -> None:
    upstream = says_half()
    appender = ScriptedAppender()
    job = Job(lease(), tools(upstream, queue, appender))
    running = await run_to_half(job, appender)
    appender.calls[0].answer("TOO_LONG", 0)
    await running
    assert upstream.bodies[0].is_closed
    assert codes(queue) == [("failed", "too_long")]
    assert said(queue.all("finish")[0])[:-1] == []


@pytest.mark.parametrize(
    ("script", "first"), [(answer("a"), "completed"), ([Role(), Text("a"), Cut()], "failed")]
)
async def test_a_log_without_room_for_the_last_pieces_fails_without_them(
    queue: ScriptedQueue, script: Script, first: str
) -> None:
    queue.will("finish", TooLong())
    job = Job(lease(payload=FAILING), tools(OfflineUpstream(script), queue, ScriptedAppender()))
    await job.run()
    assert [call["state"] for call in queue.all("finish")] == [first, "failed"]
    assert codes(queue)[-1] == ("failed", "too_long")
    assert len(queue.all("finish")[-1]["values"]) == 1


async def test_a_log_that_turns_out_full_before_a_restart_ends_the_request(
    queue: ScriptedQueue,
) -> None:
    appender = ScriptedAppender()
    upstream = OfflineUpstream(HALF)
    running = asyncio.create_task(Job(lease(), tools(upstream, queue, appender)).run())
    await until(lambda: upstream.bodies and upstream.bodies[0].is_closed)
    for _ in range(10):  # on to where it waits for the pieces to be written
        await asyncio.sleep(0)
    appender.calls[0].answer("TOO_LONG", 0)
    await running
    assert codes(queue) == [("failed", "too_long")]
    assert "reopen" not in queue.verbs


async def test_a_terminal_is_repeated_until_redis_accepts_it(queue: ScriptedQueue) -> None:
    queue.will("finish", Unavailable(), Unavailable(), None)
    await Job(lease(), tools(OfflineUpstream(answer("a")), queue)).run()
    calls = queue.all("finish")
    assert [said(call)[-1] for call in calls] == [said(calls[0])[-1]] * 3
    assert said(calls[0])[-1]["finish_reason"] == "stop"


async def test_an_unexpected_failure_ends_the_request_and_shows_only_its_type(
    queue: ScriptedQueue,
) -> None:
    upstream = OfflineUpstream(KeyError("a secret prompt"))
    await Job(lease(), tools(upstream, queue)).run()
    assert codes(queue) == [("failed", "internal")]
    assert said(queue.all("finish")[0])[-1]["message"] == "The worker failed (KeyError)."


async def test_the_question_is_passed_on_as_it_is(queue: ScriptedQueue) -> None:
    upstream = OfflineUpstream(answer("a"))
    job = Job(lease(payload={"params": {"top_k": 3}}), tools(upstream, queue))
    await job.run()
    assert upstream.payloads == [{"top_k": 3, "messages": [QUESTION]}]


async def test_an_upstream_out_of_reach_is_a_problem_until_an_answer_is_complete() -> None:
    kit = tools(OfflineUpstream(Unreachable(), answer(["a"])))
    await Job(lease(), kit).run()
    assert kit.counters.upstream_problem == "The upstream cannot be reached."
    assert kit.counters.retries == {"upstream_unreachable": 1}
    await Job(lease(), kit).run()
    assert kit.counters.upstream_problem is None
