"""What of an answer that broke off is tried again, continued or left."""

import hashlib
from typing import Any

import pytest

from tests.support.script import Cut, Finish, Role, Script, Text, Usage, answer
from tests.support.scripted import OfflineUpstream, ScriptedQueue, lease, tools
from tests.worker.jobs import FAILING, HALF, codes, said
from tickertape.broker.codec import Cursor, Entry, decode, encode_text
from tickertape.broker.errors import Unavailable
from tickertape.worker.job import Job
from tickertape.worker.upstream.errors import RateLimited


async def test_an_answer_starts_over_after_all_earlier_output_is_written(
    queue: ScriptedQueue,
) -> None:
    queue.will("reopen", lease(attempt=2000, n=2, opener="reset"))
    upstream = OfflineUpstream(HALF, answer("whole"))
    await Job(lease(), tools(upstream, queue)).run()
    assert queue.verbs == ["account", "reopen", "finish"]
    assert queue.all("account")[0]["usage"] == {"completion_tokens": 1, "estimated": True}
    assert queue.all("reopen")[0]["reason"] == "upstream_truncated"
    assert said(queue.all("finish")[0])[-1]["sha256"] == hashlib.sha256(b"whole").hexdigest()


async def test_an_answer_that_breaks_off_each_time_fails_after_three_tries(
    queue: ScriptedQueue,
) -> None:
    again = [lease(attempt=n * 1000, n=n, opener="reset") for n in (2, 3)]
    queue.will("reopen", *again)
    await Job(lease(), tools(OfflineUpstream(HALF, HALF, HALF), queue)).run()
    assert queue.verbs.count("reopen") == 2
    assert codes(queue) == [("failed", "upstream_truncated")]


async def test_a_rate_limit_puts_the_request_aside_for_as_long_as_was_asked(
    queue: ScriptedQueue,
) -> None:
    queue.will("retry", Unavailable(), None)
    upstream = OfflineUpstream(RateLimited(retry_after_s=1.5))
    await Job(lease(retries=1), tools(upstream, queue)).run()
    calls = queue.all("retry")
    assert len(calls) == 2  # Redis was away at first
    assert (calls[1]["delay_ms"], calls[1]["reason"]) == (1500, "upstream_rate_limited")
    assert calls[1]["usage"] is None
    assert "finish" not in queue.verbs


async def test_an_answer_that_may_not_be_redone_fails_with_what_it_said(
    queue: ScriptedQueue,
) -> None:
    script: Script = [Role(), Text("half"), Usage(3, 9), Cut()]
    await Job(lease(payload=FAILING), tools(OfflineUpstream(script), queue)).run()
    (call,) = queue.all("finish")
    assert said(call)[-1]["code"] == "upstream_truncated"
    assert call["usage"]["completion_tokens"] == 9


def kept(*texts: str) -> list[Entry]:
    return [decode(Cursor(1000, n + 1), encode_text("delta", text)) for n, text in enumerate(texts)]


async def test_a_continued_answer_counts_what_was_kept(queue: ScriptedQueue) -> None:
    resumed = lease(attempt=2000, n=2, opener="resumed")
    upstream = OfflineUpstream([Role(), Text(" and more"), Finish()], can_continue=True)
    await Job(resumed, tools(upstream, queue, kept=kept("so", " far"))).run()
    (call,) = queue.all("finish")
    assert said(call)[-1]["sha256"] == hashlib.sha256(b"so far and more").hexdigest()
    # The two kept deltas were counted for the attempt that said them.
    assert call["usage"] == {"completion_tokens": 1, "estimated": True}


async def test_an_answer_is_continued_if_the_policy_is_continue(queue: ScriptedQueue) -> None:
    queue.will("reopen", lease(attempt=2000, n=2, opener="resumed"))
    upstream = OfflineUpstream(HALF, [Role(), Text(" done"), Finish()], can_continue=True)
    job = Job(
        lease(payload={"on_interruption": "continue"}), tools(upstream, queue, kept=kept("half"))
    )
    await job.run()
    assert [call["can_continue"] for call in queue.all("reopen")] == [True]
    assert said(queue.all("finish")[0])[-1]["sha256"] == hashlib.sha256(b"half done").hexdigest()


@pytest.mark.parametrize("tools_", [[], [{}]])
async def test_an_answer_that_cannot_be_continued_fails_without_a_call(
    queue: ScriptedQueue, tools_: list[dict[str, Any]]
) -> None:
    upstream = OfflineUpstream(can_continue=bool(tools_))
    payload = {"on_interruption": "continue", "params": {"tools": tools_}}
    resumed = lease(opener="resumed", n=2, payload=payload)
    await Job(resumed, tools(upstream, queue, kept=kept("half"))).run()
    assert upstream.payloads == []
    assert codes(queue) == [("failed", "interrupted")]


async def test_a_kept_answer_that_is_more_than_text_is_not_continued(
    queue: ScriptedQueue,
) -> None:
    thinking = decode(Cursor(1000, 9), encode_text("reasoning", "hm"))
    upstream = OfflineUpstream(can_continue=True)
    resumed = lease(opener="resumed", n=2, payload={"on_interruption": "continue"})
    await Job(resumed, tools(upstream, queue, kept=[*kept("half"), thinking])).run()
    assert codes(queue) == [("failed", "interrupted")]


async def test_a_handed_over_answer_that_cannot_be_continued_starts_over_without_a_call(
    queue: ScriptedQueue,
) -> None:
    queue.will("reopen", lease(attempt=2000, n=3, opener="reset"))
    upstream = OfflineUpstream(answer("whole"), can_continue=True)
    thinking = decode(Cursor(1000, 9), encode_text("reasoning", "hm"))
    handed_over = lease(opener="resumed", n=2)
    await Job(handed_over, tools(upstream, queue, kept=[*kept("half"), thinking])).run()
    (call,) = queue.all("reopen")
    assert (call["reason"], call["can_continue"]) == ("worker_drained", False)
    assert len(upstream.payloads) == 1
    assert codes(queue) == [("completed", "")]
