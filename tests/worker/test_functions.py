"""A function as the work of a job, for each thing that it may do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

import tickertape
from tests.support.scripted import (
    QUESTION,
    REQUEST_ID,
    OfflineUpstream,
    ScriptedAppender,
    ScriptedQueue,
    lease,
    tools,
    until,
)
from tests.worker.jobs import codes, said
from tickertape.broker.codec import START, Entry
from tickertape.broker.turns import Turn
from tickertape.worker.functions.values import Value
from tickertape.worker.job import Job
from tickertape.worker.outcome import Stop
from tickertape.worker.upstream.answer_stream import Limits

QUEUED = Entry(START, "queued", data={"metadata": {"plan": "pro"}, "conversation_id": "c1"})


def job_of(
    function: tickertape.Function,
    queue: ScriptedQueue | None = None,
    appender: ScriptedAppender | None = None,
    *,
    limits: Limits | None = None,
    turns: list[Turn] | None = None,
    **changes: Any,
) -> Job:
    """A job whose request names the function; nothing asks an upstream."""
    changes["payload"] = {"params": {"model": function.name}, **changes.pop("payload", {})}
    kit = tools(
        OfflineUpstream(), queue, appender, kept=[QUEUED], turns=turns, limits=limits,
        functions=[function],
    )  # fmt: skip
    return Job(lease(**changes), kit)


def terminal(queue: ScriptedQueue) -> dict[str, Any]:
    (call,) = queue.all("finish")
    data: dict[str, Any] = said(call)[-1]
    return data


def nested(levels: int) -> Any:
    """A list in a list in a list, with brackets in texts and many lists side by side."""
    value: Any = ["[[["] * 200
    for _ in range(levels - 1):
        value = [value, []]
    return value


async def ended(function: tickertape.Function, **options: Any) -> ScriptedQueue:
    """The queue after the job of the function has ended."""
    queue = ScriptedQueue()
    async with asyncio.timeout(30):
        await job_of(function, queue, **options).run()
    return queue


async def test_each_value_becomes_one_entry_of_its_kind_in_order() -> None:
    silent = ScriptedAppender()

    @tickertape.function("f")
    async def all_kinds(_: tickertape.Request) -> AsyncIterator[Value]:
        yield tickertape.Reasoning("hm")
        yield "Hé"
        yield tickertape.Text("llo")
        yield ""
        yield tickertape.Refusal("no")
        yield tickertape.ToolCall("look", {"at": "x"}, id="c9")
        yield tickertape.ToolCall("look", '{"at":1}', id="c9")
        yield tickertape.Usage(prompt_tokens=3, completion_tokens=2, reasoning_tokens=1)
        yield tickertape.Usage(prompt_tokens=4)

    queue = ScriptedQueue()
    await job_of(all_kinds, queue, silent).run()
    (call,) = queue.all("finish")
    assert said(call)[:-1] == [
        "rhm", "dHé", "dllo", "uno",
        't{"index":0,"id":"c9","name":"look","arguments":"{\\"at\\":\\"x\\"}"}',
        f't{{"index":1,"id":"call_{REQUEST_ID}_1","name":"look","arguments":"{{\\"at\\":1}}"}}',
    ]  # fmt: skip
    assert terminal(queue)["finish_reason"] == "tool_calls"
    assert call["usage"] == {
        "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip


async def test_results_of_tools_and_data_are_entries_and_a_function_with_all_results_stops() -> (
    None
):
    @tickertape.function("f")
    async def agent(_: tickertape.Request) -> AsyncIterator[Value]:
        yield tickertape.ToolCall("look", id="same")
        yield tickertape.ToolCall("look", id="same")
        yield tickertape.ToolCall("pay")
        yield tickertape.ToolResult({"at": "\ud83d\ude00"})
        yield tickertape.ToolResult("no", id="same", is_error=True)
        yield tickertape.Data("chart", [1.5, None], id="1")
        yield tickertape.Data("note", "\ud800")
        yield "Done."

    queue = ScriptedQueue()
    silent = ScriptedAppender()
    await job_of(agent, queue, silent, conversation="k").run()
    (call,) = queue.all("finish")
    assert said(call)[3:-1] == [
        f'o{{"index":2,"id":"call_{REQUEST_ID}_2","result":{{"at":"😀"}}}}',
        f'o{{"index":1,"id":"call_{REQUEST_ID}_1","result":"no","is_error":true}}',
        'a{"name":"chart","id":"1","value":[1.5,null]}',
        'a{"name":"note","value":"\ufffd"}',
        "dDone.",
    ]
    assert terminal(queue)["finish_reason"] == "tool_calls"  # the first call has no result

    @tickertape.function("f")
    async def whole(_: tickertape.Request) -> AsyncIterator[Value]:
        yield tickertape.ToolCall("look")
        yield tickertape.ToolResult(None)

    queue = await ended(whole, conversation="k")
    (call,) = queue.all("finish")
    assert (terminal(queue)["finish_reason"], call["called"]) == ("stop", None)


async def test_tools_that_the_function_ran_are_no_matter_of_the_client() -> None:
    @tickertape.function("f")
    async def agent(_: tickertape.Request) -> AsyncIterator[Value]:
        yield tickertape.ToolCall("look")
        yield "Found."
        yield tickertape.Finish("stop")

    queue = await ended(agent, conversation="k")
    (call,) = queue.all("finish")
    assert (terminal(queue)["finish_reason"], call["called"]) == ("stop", None)
    assert call["answered"] == "Found."


async def test_a_function_gets_the_request_and_its_attempt() -> None:
    seen: list[Any] = []

    @tickertape.function("f")
    async def keep(request: tickertape.Request, context: tickertape.Context) -> AsyncIterator[str]:
        seen.extend([request, context])
        yield "ok"

    turn = Turn(REQUEST_ID, [QUESTION], answered="Because.")
    role = {"role": "system", "content": "Be brief."}
    payload = {"role_messages": [role], "params": {"model": "f", "top_p": 1}}
    await ended(
        keep, turns=[turn], conversation="k", tenant="acme~1f", n=2, payload=payload
    )  # fmt: skip
    request, context = seen
    assert request.messages == [*request.messages[:1], *request.history, *request.input]
    assert (request.messages[0]["content"], request.input) == ("Be brief.", [QUESTION])
    assert (request.text, request.id, request.model) == ("why?", REQUEST_ID, "f")
    assert (request.tenant, request.user) == ("acme", "1f")
    assert (request.metadata, request.conversation_id) == ({"plan": "pro"}, "c1")
    assert request.params == {"model": "f", "top_p": 1}
    assert (context.request_id, context.attempt, context.cancelled) == (REQUEST_ID, 2, False)
    assert 1700 < context.remaining_s <= 1800


async def test_an_error_of_the_function_shows_its_type_and_keeps_its_text() -> None:
    @tickertape.function("f")
    async def fail(_: tickertape.Request) -> AsyncIterator[str]:
        yield "half"
        raise KeyError("a secret prompt")

    with capture_logs() as logs:
        queue = await ended(fail)
    shown = terminal(queue)
    (record,) = [each for each in logs if each["event"] == "function failed"]
    assert shown["code"] == "function_failed"
    assert shown["message"] == f"The function failed (KeyError, error {record['error_id']})."
    assert isinstance(record["exc_info"], KeyError)
    assert (record["function"], record["request_id"]) == ("f", REQUEST_ID)
    assert "retry" not in queue.verbs


async def test_a_failure_that_the_function_raises_for_its_caller_has_its_words() -> None:
    @tickertape.function("f")
    async def refuse(_: tickertape.Request) -> AsyncIterator[str]:
        yield ""
        raise tickertape.FunctionFailed("No such order.", retryable=False)

    assert terminal(await ended(refuse)) == {
        "code": "function_failed", "message": "No such order.", "retryable": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("half \ud83d", "half \ufffd"),
        (b"bytes", "The function failed (bytes)."),
        (object(), "The function failed (object)."),
        ("x" * 100_000, "x" * 2000 + "…"),
    ],
    ids=["half a character", "bytes", "object", "endless"],
)
async def test_words_for_a_caller_that_no_caller_can_read_end_the_request_as_well(
    message: Any, shown: str
) -> None:
    @tickertape.function("f")
    async def refuse(_: tickertape.Request) -> AsyncIterator[str]:
        yield ""
        raise tickertape.FunctionFailed(message)

    assert terminal(await ended(refuse))["message"] == shown


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "it yielded a value of type NoneType"),
        (b"text", "it yielded a value of type bytes"),
        (tickertape.Text(3), "its delta has a text of type int"),  # type: ignore[arg-type]
        (
            tickertape.ToolCall("f", {"at": object()}),
            "JSON cannot hold the arguments of its ToolCall",
        ),
        (tickertape.ToolCall(""), "the name of ToolCall is not a text of 1 to 256 characters"),
        (tickertape.ToolResult(1), "its ToolResult belongs to no ToolCall that still has no"),
        (tickertape.ToolResult(1, id="x"), "its ToolResult belongs to no ToolCall that still has"),
        (tickertape.Data("a b", 1), "the name of Data is not 1 to 64 letters, digits"),
        (tickertape.Data("a", object()), "JSON cannot hold the value of its Data (TypeError)"),
        (tickertape.Data("a", nested(129)), "the value of its Data has more than 128 levels"),
        (tickertape.Data("a", nested(9999)), "JSON cannot hold the value of its Data (Recursion"),
        (tickertape.Usage(prompt_tokens=-1), "its Usage has prompt_tokens that is not a whole"),
    ],
)
async def test_a_wrong_value_fails_the_request_and_the_log_names_its_type(
    value: Any, problem: str
) -> None:
    @tickertape.function("f")
    async def wrong(_: tickertape.Request) -> AsyncIterator[Any]:
        yield value

    with capture_logs() as logs:
        queue = await ended(wrong)
    assert codes(queue) == [("failed", "function_failed")]
    assert terminal(queue)["message"].startswith("The function failed (WrongValue, error ")
    (record,) = [each for each in logs if each["event"] == "function failed"]
    assert record["problem"].startswith(problem)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
async def test_no_exception_of_a_function_leaves_its_request(error: BaseException) -> None:
    @tickertape.function("f")
    async def escape(_: tickertape.Request) -> AsyncIterator[str]:
        yield "half"
        raise error

    with capture_logs():  # a traceback for the terminal takes a quarter of a second
        queue = await ended(escape)
    assert codes(queue) == [("failed", "function_failed")]
    assert f"({type(error).__name__}," in terminal(queue)["message"]


async def test_a_function_that_yields_nothing_for_too_long_ends_at_the_limit_of_silence() -> None:
    closed = asyncio.Event()

    @tickertape.function("f")
    async def hang(_: tickertape.Request) -> AsyncIterator[str]:
        yield "half"
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    queue = await ended(hang, limits=Limits(first_byte_s=0.02))
    assert terminal(queue)["code"] == "deadline"
    assert terminal(queue)["message"] == "The function yielded nothing for 0.02 s."
    assert closed.is_set()


async def test_a_function_that_never_ends_and_never_waits_ends_at_its_deadline() -> None:
    @tickertape.function("f")
    async def flood(_: tickertape.Request) -> AsyncIterator[str]:
        while True:
            yield ""

    queue = await ended(flood, limits=Limits(deadline_s=0.02))
    assert terminal(queue)["message"] == "The function took too long."


async def test_a_value_larger_than_an_answer_may_be_ends_as_too_long() -> None:
    @tickertape.function("f")
    async def huge(_: tickertape.Request) -> AsyncIterator[str]:
        yield "x" * 11

    assert codes(await ended(huge, limits=Limits(document_bytes=10))) == [("failed", "too_long")]


@pytest.mark.parametrize("reason", [Stop.FENCED, Stop.DRAINED])
async def test_a_stopped_job_cancels_its_function_where_it_waits(reason: Stop) -> None:
    contexts: list[tickertape.Context] = []
    closed: list[bool] = []

    @tickertape.function("f")
    async def wait(_: tickertape.Request, context: tickertape.Context) -> AsyncIterator[str]:
        contexts.append(context)
        try:
            yield "half"
            await asyncio.Event().wait()
        finally:
            closed.append(context.cancelled)

    queue = ScriptedQueue()
    job = job_of(wait, queue)
    running = asyncio.create_task(job.run())
    await until(lambda: job.deltas == 1)
    job.stop(reason)
    await running
    assert closed == [True]
    assert queue.verbs.count("release") == (reason is Stop.DRAINED)
    assert not queue.all("finish")


async def test_a_function_that_ignores_its_cancellation_holds_up_nothing() -> None:
    end = asyncio.Event()

    @tickertape.function("f")
    async def stubborn(_: tickertape.Request) -> AsyncIterator[str]:
        yield "half"
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    appender = ScriptedAppender()
    job = job_of(stubborn, appender=appender)
    running = asyncio.create_task(job.run())
    await until(lambda: job.deltas == 1)
    written = len(appender.calls)
    with capture_logs() as logs:
        job.stop(Stop.FENCED)
        async with asyncio.timeout(30):
            await running
    assert [each["function"] for each in logs if each["event"] == "function ignores its end"] == [
        "f"
    ]
    end.set()
    await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name() == "function f"])
    assert len(appender.calls) == written


async def test_a_request_for_another_model_goes_to_the_upstream() -> None:
    @tickertape.function("f")
    async def never(_: tickertape.Request) -> AsyncIterator[str]:
        yield "wrong"

    upstream = OfflineUpstream(KeyError())
    asked = lease(payload={"params": {"model": "g"}})
    await Job(asked, tools(upstream, functions=[never])).run()
    assert upstream.payloads == [{"model": "g", "messages": [QUESTION]}]


async def test_a_function_says_nothing_about_the_upstream() -> None:
    @tickertape.function("f")
    async def fine(_: tickertape.Request) -> AsyncIterator[str]:
        yield "ok"

    job = job_of(fine)
    job._counters.upstream_problem = "The upstream cannot be reached."
    await job.run()
    assert job._counters.upstream_problem == "The upstream cannot be reached."
