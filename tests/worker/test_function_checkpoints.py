"""What a function's attempt records, and how the next attempt goes on from that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

import tickertape
from tests.support.scripted import (
    OfflineUpstream,
    ScriptedAppender,
    ScriptedMarks,
    ScriptedQueue,
    accepting,
    lease,
    tools,
    until,
)
from tests.worker.jobs import codes, said
from tests.worker.test_functions import QUEUED
from tickertape.broker.appender import Appended
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.errors import Fenced, LogLost
from tickertape.broker.marks import Checkpoint
from tickertape.worker.job import Job

SECOND: dict[str, Any] = {"attempt": 2000, "n": 2}
BEFORE = [
    QUEUED,
    Entry(Cursor(1000, 0), "started", data={"n": 1}),
    Entry(Cursor(1000, 1), "reasoning", "hm"),
    Entry(Cursor(1000, 2), "delta", "one "),
    Entry(
        Cursor(1000, 3), "tool_call", data={"index": 0, "id": "c", "name": "f", "arguments": "1"}
    ),
    Entry(Cursor(1000, 4), "delta", "lost "),
]


def job_of(
    function: tickertape.Function,
    queue: ScriptedQueue,
    marks: ScriptedMarks,
    *,
    appender: ScriptedAppender | None = None,
    kept: list[Entry] | None = None,
    **changes: Any,
) -> Job:
    asked = {"params": {"model": function.name}, **changes.pop("payload", {})}
    log = [QUEUED] if kept is None else kept
    kit = tools(OfflineUpstream(), queue, appender, kept=log, marks=marks, functions=[function])
    return Job(lease(payload=asked, **changes), kit)


@pytest.mark.parametrize(
    ("on_interruption", "marked"),
    [
        (None, [("fail", 0, b""), ("continue", 2, b'{"step":1}')]),
        ("restart", [("continue", 2, b'{"step":1}')]),
        ("fail", [("fail", 0, b""), ("fail", 2, b'{"step":1}')]),
    ],
)
async def test_a_tool_and_a_checkpoint_are_recorded_before_the_function_goes_on(
    on_interruption: Any, marked: list[tuple[str, int, bytes]]
) -> None:
    seen: list[int] = []
    marks = ScriptedMarks()

    @tickertape.function("f", on_interruption=on_interruption)
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[Any]:
        yield "a"
        yield tickertape.ToolCall("pay")
        seen.append(len(marks.marked))
        await context.checkpoint({"step": 1})
        seen.append(len(marks.marked))

    queue = ScriptedQueue()
    await job_of(work, queue, marks, payload={"on_interruption": "continue"}).run()
    assert codes(queue) == [("completed", "")]
    assert marks.marked == marked
    assert seen == [len(marked) - 1, len(marked)]


async def test_a_checkpoint_waits_until_what_was_yielded_before_is_written() -> None:
    marks, silent = ScriptedMarks(), ScriptedAppender()

    @tickertape.function("f")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[str]:
        yield "a"
        await context.checkpoint(1)

    queue = ScriptedQueue()
    running = asyncio.create_task(job_of(work, queue, marks, appender=silent).run())
    await until(lambda: silent.calls)
    for _ in range(20):
        await asyncio.sleep(0)
    assert marks.marked == []
    silent.calls[0].answer("OK", 1)
    await running
    assert marks.marked == [("restart", 1, b"1")]


async def test_a_function_resumes_from_a_checkpoint_at_the_end_of_the_log() -> None:
    seen: list[Any] = []

    @tickertape.function("f")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[Any]:
        seen.extend([context.attempt, context.state, context.text])
        yield tickertape.ToolCall("g", id="c")
        yield "two"

    queue, marks = ScriptedQueue(), ScriptedMarks(Checkpoint(Cursor(2000, 0), b'{"step":1}'))
    log = [*BEFORE[:-1], Entry(Cursor(2000, 0), "resumed", data={"n": 2})]
    await job_of(
        work, queue, marks, appender=ScriptedAppender(), kept=log, opener="resumed", **SECOND
    ).run()
    assert seen == [2, {"step": 1}, "one "]
    (call,) = queue.all("finish")
    repeated, text, end = said(call)
    assert '"index":1,"id":"call_r0_' in repeated
    assert text == "dtwo"
    assert call["answered"] is None
    assert end["finish_reason"] == "tool_calls"


async def test_a_result_of_a_call_before_the_checkpoint_belongs_to_that_call() -> None:
    @tickertape.function("f")
    async def work(_: tickertape.Request) -> AsyncIterator[Any]:
        yield tickertape.ToolResult("paid", id="c")

    result = Entry(Cursor(1000, 4), "tool_result", data={"index": 0, "id": "c", "result": 1})
    opener = Entry(Cursor(2000, 0), "resumed", data={"n": 2})
    ends = []
    for log in ([*BEFORE[:-1], opener], [*BEFORE[:-1], result, opener]):
        queue, marks = ScriptedQueue(), ScriptedMarks(Checkpoint(Cursor(2000, 0), b"1"))
        with capture_logs():
            await job_of(work, queue, marks, kept=log, opener="resumed", **SECOND).run()
        ends += codes(queue)
    assert ends == [("completed", ""), ("failed", "function_failed")]


async def test_readers_get_the_output_up_to_the_checkpoint_again_after_a_reset() -> None:
    seen: list[Any] = []

    @tickertape.function("f")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[str]:
        seen.extend([context.state, context.text])
        yield "two"

    queue, marks = ScriptedQueue(), ScriptedMarks(Checkpoint(Cursor(1000, 3), b"[1]"))
    log = [*BEFORE, Entry(Cursor(2000, 0), "reset", data={"n": 2})]
    await job_of(
        work, queue, marks, appender=ScriptedAppender(), kept=log, opener="reset", **SECOND
    ).run()
    assert seen == [[1], "one "]
    (call,) = queue.all("finish")
    assert said(call)[:-1] == [
        "rhm", "done ", 't{"index":0,"id":"c","name":"f","arguments":"1"}', "dtwo"
    ]  # fmt: skip


async def test_a_handed_over_answer_behind_its_checkpoint_starts_over_from_there() -> None:
    @tickertape.function("f")
    async def work(_: tickertape.Request) -> AsyncIterator[str]:
        yield "never"

    queue, marks = ScriptedQueue(), ScriptedMarks(Checkpoint(Cursor(1000, 3), b"1"))
    log = [*BEFORE, Entry(Cursor(2000, 0), "resumed", data={"n": 2})]
    await job_of(work, queue, marks, kept=log, opener="resumed", **SECOND).run()
    (reopened,) = queue.all("reopen")
    assert (reopened["reason"], reopened["can_continue"]) == ("worker_drained", False)


@pytest.mark.parametrize("state", ["x" * 300_000, {"a": object()}, float("nan")])
async def test_a_checkpoint_that_cannot_be_kept_fails_the_request_and_is_named(state: Any) -> None:
    @tickertape.function("f")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[str]:
        yield "a"
        await context.checkpoint(state)

    queue, marks = ScriptedQueue(), ScriptedMarks()
    with capture_logs() as logs:
        await job_of(work, queue, marks).run()
    assert codes(queue) == [("failed", "function_failed")]
    assert marks.marked == []
    (record,) = [each for each in logs if each["event"] == "function failed"]
    assert record["problem"].startswith("its checkpoint ")


@pytest.mark.parametrize("is_asked_before_the_end", [False, True])
async def test_a_task_that_a_function_leaves_behind_gets_an_error_for_its_checkpoint(
    is_asked_before_the_end: bool,
) -> None:
    tasks: list[asyncio.Task[None]] = []
    asked, rest = asyncio.Event(), asyncio.Event()

    class Ended(ScriptedMarks):
        async def mark(self, *_: Any, **__: Any) -> None:
            asked.set()
            await rest.wait()
            raise Fenced

    async def keep_later(context: tickertape.Context) -> None:
        if not is_asked_before_the_end:
            await rest.wait()
        await context.checkpoint(1)

    @tickertape.function("f")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[Any]:
        tasks.append(asyncio.create_task(keep_later(context)))
        if is_asked_before_the_end:
            await asked.wait()
        yield "whole"

    await job_of(work, ScriptedQueue(), Ended()).run()
    rest.set()
    with pytest.raises(RuntimeError, match="the answer has ended for this function"):
        await asyncio.wait_for(tasks[0], 5)


async def test_a_fenced_attempt_runs_no_tool() -> None:
    ran: list[str] = []

    class Refusing(ScriptedMarks):
        async def mark(self, *_: Any, **__: Any) -> None:
            raise Fenced

    @tickertape.function("f")
    async def work(_: tickertape.Request) -> AsyncIterator[Any]:
        yield tickertape.ToolCall("pay")
        ran.append("pay")

    queue = ScriptedQueue()
    await job_of(work, queue, Refusing(), appender=ScriptedAppender(accepting)).run()
    assert (ran, queue.all("finish")) == ([], [])


async def test_a_checkpoint_whose_output_a_fail_over_lost_begins_the_answer_again() -> None:
    class Refusing(ScriptedMarks):
        async def mark(self, *_: Any, **__: Any) -> None:
            raise LogLost

    @tickertape.function("f", on_interruption="restart")
    async def work(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[Any]:
        yield "a"
        await context.checkpoint(1)
        yield "b"

    queue = ScriptedQueue()
    await job_of(work, queue, Refusing(), appender=ScriptedAppender(accepting)).run()
    assert [call["reason"] for call in queue.all("reopen")] == ["log_lost"]
    assert queue.all("finish") == []


async def test_of_a_request_whose_log_was_lost_the_first_write_ends_the_attempt() -> None:
    @tickertape.function("f")
    async def work(_: tickertape.Request) -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    queue, refusing = ScriptedQueue(), ScriptedAppender(lambda *_: Appended("FENCED", -1))
    with capture_logs() as logs:
        await job_of(work, queue, ScriptedMarks(), appender=refusing, kept=[]).run()
    assert len(refusing.calls) == 1
    assert queue.all("finish") == []
    assert [each for each in logs if each["log_level"] == "error"] == []


async def test_a_function_is_tested_with_a_context_of_its_own() -> None:
    context = tickertape.Context(state={"step": 1}, text="one ")
    await context.checkpoint({"step": 2})
    assert (context.state, context.text) == ({"step": 2}, "one ")
