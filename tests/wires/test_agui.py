"""AG-UI's calls: run, come back, join, stop."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

import tickertape
from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.wires.claiming import claimed
from tests.wires.runs import HI, Sent, body, events, kinds, run, sent
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.fleet import Fleet, WorkerReport


def request_id_of(worker: Rig) -> str:
    assert worker.lease is not None
    return worker.lease.request_id


async def test_a_run_is_text_between_its_begin_and_its_end(api: RunningApi, worker: Rig) -> None:
    running = run(api, parentRunId="run-0")
    payload = await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("Hello, ", "世界")
    await worker.finish(usage={"prompt_tokens": 3, "completion_tokens": 2})
    request_id = request_id_of(worker)
    ids = {"threadId": "thread", "runId": "run-1"}
    thought, message = f"reasoning_{request_id}_0", f"msg_{request_id}_1"
    metadata = {"tickertape": {"finish_reason": "stop"}, "tanstack": {"finishReason": "stop"}}
    assert events(await running) == [
        {"type": "RUN_STARTED", **ids, "parentRunId": "run-0", "protocolVersion": "1.0"},
        {"type": "REASONING_START", "messageId": thought},
        {"type": "REASONING_MESSAGE_START", "messageId": thought, "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": thought, "delta": "Hm."},
        {"type": "REASONING_MESSAGE_END", "messageId": thought},
        {"type": "REASONING_END", "messageId": thought},
        {"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": "Hello, "},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": "世界"},
        {"type": "TEXT_MESSAGE_END", "messageId": message},
        {
            "type": "RUN_FINISHED",
            **ids,
            "outcome": {"type": "success"},
            "metadata": metadata,
            "usage": [{"inputTokens": 3, "outputTokens": 2, "model": "a-model"}],
        },
    ]
    assert payload["messages"] == [{"role": "user", "content": "hi"}]
    assert payload["on_interruption"] == "restart"
    assert (await api.read(request_id))["wire"] == "agui"


async def test_a_client_resumes_after_each_event_that_has_an_id(
    api: RunningApi, worker: Rig
) -> None:
    running = run(api)
    await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("a", "b")
    await worker.reopen()
    await worker.append(encode_data("tool_call", {"index": 0, "name": "look", "arguments": "{}"}))
    await worker.finish()
    whole = sent(await running)
    for number, each in enumerate(whole):
        if each.cursor is None:
            continue
        headers = {"Last-Event-ID": each.cursor}
        resumed = await api.client.post("/agui", json=body(), headers=headers)
        joined = await api.client.get("/agui?runId=run-1&offset=-1", headers=headers)
        # Behind its end, the end comes again: see api/protocols/agui/after_event.py.
        rest = whole[number + 1 :] or [Sent(None, whole[-1].event)]
        assert sent(resumed) == sent(joined) == rest


async def test_text_is_taken_back_and_the_next_attempt_has_other_messages(
    api: RunningApi, worker: Rig
) -> None:
    earlier = {"id": "a-0", "role": "assistant", "content": "Yes?", "metadata": {"x": 1}}
    running = run(api, {**HI, "id": "u-0"}, earlier, HI)
    await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("WRONG")
    await worker.reopen()
    await worker.type("RIGHT")
    await worker.finish()
    found = events(await running)
    request_id = request_id_of(worker)
    at = kinds(found).index("MESSAGES_SNAPSHOT")
    assert found[at]["messages"] == [
        *({**HI, "id": "u-0"}, earlier, HI),
        {"id": f"reasoning_{request_id}_0", "role": "reasoning", "content": ""},
    ]
    assert found[at - 1] == {"type": "TEXT_MESSAGE_END", "messageId": f"msg_{request_id}_1"}
    assert found[at + 1]["messageId"] == f"msg_{request_id}_2"


async def test_a_call_sent_again_joins_its_run_and_restates_the_messages(
    api: RunningApi, worker: Rig
) -> None:
    first = run(api)
    await claimed(worker)
    await worker.type("Hel")
    half = {"id": f"msg_{request_id_of(worker)}_0", "role": "assistant", "content": "Hel"}
    again = run(api, HI, half)
    joined = asyncio.create_task(api.client.get("/agui?runId=run-1&offset=-1"))
    await worker.type("lo")
    await worker.finish()
    begin, *rest = events(await first)
    restated = {"type": "MESSAGES_SNAPSHOT", "messages": [HI]}
    assert events(await again) == [begin, restated, *rest]
    assert events(await joined) == [begin, restated, *rest]
    assert len((await api.client.get("/chat")).json()["requests"]) == 1


async def test_a_client_whose_cursor_was_lost_gets_the_run_anew(
    api: RunningApi, worker: Rig
) -> None:
    running = run(api)
    await claimed(worker)
    await worker.type("a")
    await worker.finish()
    _, *rest = sent(await running)
    headers = {"Last-Event-ID": "1767225600123-7"}
    anew = await api.client.post("/agui", json=body(), headers=headers)
    first, *following = sent(anew)
    assert anew.content.startswith(b"id: \n")
    assert first.event == {"type": "MESSAGES_SNAPSHOT", "messages": [HI]}
    assert following == rest


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"Last-Event-ID": "1767225600123-7"}, 404),
        ("POST", {"Last-Event-ID": "x"}, 400),
        ("GET", {}, 404),
    ],
)
async def test_a_client_that_comes_back_never_starts_another_run(
    api: RunningApi, method: str, headers: dict[str, str], status: int
) -> None:
    path = "/agui" if method == "POST" else "/agui?runId=nothing"
    content = body() if method == "POST" else None
    answer = await api.client.request(method, path, json=content, headers=headers)
    assert answer.status_code == status
    assert (await api.client.get("/chat")).json()["requests"] == []


async def test_the_run_of_another_thread_is_a_conflict(api: RunningApi, worker: Rig) -> None:
    running = run(api)
    await claimed(worker)
    answer = await run(api, threadId="another")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    await worker.finish()
    await running


async def test_a_stopping_api_breaks_off_a_client_that_comes_back(
    api: RunningApi, worker: Rig
) -> None:
    running = run(api)
    await claimed(worker)
    await worker.type("a")
    headers = {"Last-Event-ID": "1-0"}
    api.services.streams.part()
    with pytest.raises(httpx2.RemoteProtocolError):
        await api.client.post("/agui", json=body(), headers=headers)
    refused = await run(api, runId="run-2")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    await worker.finish()
    assert kinds(events(await running))[-1] == "RUN_FINISHED"


@pytest.mark.parametrize("named", [{}, {"runId": "run-1"}])
async def test_a_run_is_stopped_and_keeps_its_text(
    api: RunningApi, worker: Rig, named: dict[str, str]
) -> None:
    running = run(api)
    await claimed(worker)
    await worker.type("half")
    for stopped in ({"runId": "another"}, named, named):
        answer = await api.client.post("/agui/stop", json={"threadId": "thread", **stopped})
        assert answer.json() == {"success": True}
    *before, end = events(await running)
    assert kinds(before)[-1] == "TEXT_MESSAGE_END"
    assert end["outcome"] == {"type": "cancelled"}


async def test_a_failure_is_an_error_of_the_run(api: RunningApi, worker: Rig) -> None:
    running = run(api)
    await claimed(worker)
    await worker.type("half")
    await worker.end("failed", {"code": "upstream_stalled", "message": "No token came."})
    error = {"type": "RUN_ERROR", "message": "No token came.", "code": "upstream_stalled"}
    assert events(await running)[-1] == error


async def test_a_new_run_of_a_thread_replaces_the_active_one(api: RunningApi, worker: Rig) -> None:
    first = run(api)
    await claimed(worker)
    await worker.type("a")
    half = {"id": f"msg_{request_id_of(worker)}_0", "role": "assistant", "content": "a"}
    second = run(api, HI, half, {**HI, "id": "u-2", "content": "and?"}, runId="run-2")
    assert events(await first)[-1]["outcome"] == {"type": "cancelled"}
    payload = await claimed(worker)
    await worker.type("b")
    await worker.finish(answered="b")
    await second
    assert [m["content"] for m in payload["messages"]] == ["hi", "a", "and?"]
    turns = (await api.client.get("/conversations/thread")).json()["turns"]
    assert [turn["parent_id"] for turn in turns] == [None, turns[0]["request_id"]]


async def test_an_edited_question_is_another_branch(api: RunningApi, worker: Rig) -> None:
    for number in (1, 2):
        running = run(api, {**HI, "content": f"{number}"}, runId=f"run-{number}")
        await claimed(worker)
        await worker.type("a")
        await worker.finish(answered="a")
        await running
    turns = (await api.client.get("/conversations/thread")).json()["turns"]
    assert [turn["parent_id"] for turn in turns] == [None, None]


async def test_results_of_tools_data_and_state_of_a_function(api: RunningApi, worker: Rig) -> None:
    running = run(api, state={"step": 0}, runId="run-2")
    await claimed(worker)
    await worker.append(
        encode_data("data", {"name": "state", "value": {"step": 1}}),
        encode_data("data", {"name": "chart", "value": [1], "id": "c"}),
        encode_data("tool_call", {"index": 0, "id": "a", "name": "look", "arguments": "{}"}),
        encode_data("tool_result", {"index": 0, "id": "a", "result": {"n": 1}}),
    )
    await worker.type("One.")
    await worker.reopen()
    await worker.finish()
    found = events(await running)
    state, chart, start, _, end, result, *_ = found[1:]
    request_id = request_id_of(worker)
    assert state == {"type": "STATE_SNAPSHOT", "snapshot": {"step": 1}}
    assert chart["metadata"] == {"tickertape": {"id": "c"}}
    assert (chart["name"], chart["value"]) == ("chart", [1])
    assert start["parentMessageId"] == f"msg_{request_id}_0"
    assert end["type"] == "TOOL_CALL_END"
    ids = {"messageId": f"result_{request_id}_1", "toolCallId": "a"}
    assert result == {"type": "TOOL_CALL_RESULT", **ids, "content": '{"n":1}', "role": "tool"}
    assert found[-3:-1] == [
        {"type": "STATE_SNAPSHOT", "snapshot": {"step": 0}},
        {"type": "MESSAGES_SNAPSHOT", "messages": [HI]},
    ]


async def test_a_piece_of_a_call_behind_its_result_is_left_out(
    api: RunningApi, worker: Rig
) -> None:
    running = run(api)
    await claimed(worker)
    await worker.append(
        encode_data("tool_call", {"index": 0, "id": "a", "name": "look", "arguments": "{"}),
        encode_data("tool_result", {"index": 0, "id": "a", "result": 1}),
        encode_data("tool_call", {"index": 0, "arguments": "}"}),
    )
    await worker.finish()
    assert kinds(events(await running)) == [
        "RUN_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "RUN_FINISHED",
    ]


async def test_calls_without_a_result_are_for_the_client(api: RunningApi, worker: Rig) -> None:
    running = run(api, tools=[{"name": "look", "description": "Looks."}])
    await claimed(worker)
    call = {"index": 0, "id": "a", "name": "look", "arguments": '{"at":1}'}
    await worker.append(encode_data("tool_call", call))
    await worker.end("completed", {"finish_reason": "tool_calls"})
    *_, for_tanstack, end = events(await running)
    value = {"toolCallId": "a", "toolName": "look", "input": {"at": 1}}
    assert for_tanstack == {"type": "CUSTOM", "name": "tool-input-available", "value": value}
    assert end["outcome"] == {"type": "success", "pendingToolCallIds": ["a"]}


async def test_the_address_may_name_the_model_and_what_an_interruption_means(
    api: RunningApi, worker: Rig
) -> None:
    query = "/agui?model=of-address&on_interruption=continue"
    for props, model in (({}, "of-address"), ({"model": "of-page"}, "of-page")):
        content = body(runId=model, forwardedProps=props)
        running = asyncio.create_task(api.client.post(query, json=content))
        payload = await claimed(worker)
        assert payload["params"]["model"] == model
        assert payload["on_interruption"] == "continue"
        await worker.finish()
        await running


async def test_a_ticket_of_a_conversation_runs_in_its_thread_only(
    redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url, api_keys="ada:a-long-key-of-ada", headers=_key("ada")) as api:
        await api.submit(conversation_id="thread")
        elsewhere = run(api, threadId="another", runId="run-2")
        for _ in range(2):
            await claimed(worker)
            await worker.finish()
        await elsewhere
        right = await api.client.post("/conversations/thread/ticket", json={"rights": "write"})
        headers = {"Authorization": f"Ticket {right.json()['ticket']}"}
        running = asyncio.create_task(api.client.post("/agui", json=body(), headers=headers))
        await claimed(worker)
        await worker.finish()
        begin = sent(await running)[0]
        behind = {**headers, "Last-Event-ID": str(begin.cursor)}
        assert (await api.client.post("/agui", json=body(), headers=behind)).status_code == 200
        for outside in (headers, behind):
            another = body(threadId="another", runId="run-2")
            answer = await api.client.post("/agui", json=another, headers=outside)
            assert answer.json()["error"]["code"] == "ticket_mismatch"


async def test_another_tenant_has_no_such_run(redis_url: str, worker: Rig) -> None:
    keys = "ada:a-long-key-of-ada, bob:a-long-key-of-bob"
    async with running_api(redis_url, api_keys=keys, headers=_key("ada")) as api:
        running = run(api)
        await claimed(worker)
        await worker.type("a")
        for path in ("/agui?runId=run-1", "/agui?runId=run-1&offset=-1"):
            assert (await api.client.get(path, headers=_key("bob"))).status_code == 404
        stopped = await api.client.post(
            "/agui/stop", json={"threadId": "thread"}, headers=_key("bob")
        )
        assert stopped.json() == {"success": True}
        await worker.finish()
        assert kinds(events(await running))[-1] == "RUN_FINISHED"


def _key(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer a-long-key-of-{tenant}"}


async def test_a_function_gets_the_state_and_the_properties_of_a_page_and_no_upstream_does(
    api: RunningApi, worker: Rig, redis_url: str
) -> None:
    given: list[tickertape.Request] = []

    @tickertape.function("agent")
    async def agent(request: tickertape.Request) -> AsyncIterator[str]:
        given.append(request)
        yield "ok"

    sent_by_page: dict[str, Any] = {
        "state": {"count": 3},
        "forwardedProps": {"theme": {"dark": True}},
    }
    running = run(api, runId="run-0", **sent_by_page)
    assert "for_functions" not in await claimed(worker)
    await worker.finish()
    await running
    await Fleet(worker.connections).report("w", WorkerReport(8, 0, functions=("agent",)))
    await api.services.fleet.learn()
    async with working(redis_url, GivenSettings(), functions=[agent]):
        sent_by_page["forwardedProps"]["model"] = "agent"
        assert kinds(events(await run(api, **sent_by_page)))[-1] == "RUN_FINISHED"
    (request,) = given
    assert request.state == {"count": 3}
    assert request.forwarded_props == {"theme": {"dark": True}, "model": "agent"}
