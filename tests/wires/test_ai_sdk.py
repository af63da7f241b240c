"""The AI SDK's calls: send, resume, stop, and what becomes of the history a page sends."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from broker.codec import encode_data, encode_text
from broker.settings import Settings
from tests.api.running import RunningApi, running_api
from tests.support.desk import working
from tests.support.typist import Typist
from tests.support.upstream import ScriptedUpstream
from tests.wires.claiming import claimed

HI = {"id": "u-1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


def body(chat_id: str = "chat-1", *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": chat_id, "messages": list(messages) or [HI], "trigger": "submit-message"} | fields


def send(api: RunningApi, *args: Any, **fields: Any) -> asyncio.Task[httpx2.Response]:
    return asyncio.create_task(api.client.post("/api/chat", json=body(*args, **fields)))


async def resume(api: RunningApi, chat_id: str = "chat-1") -> httpx2.Response:
    """An answer that another client reads, too: open, of which only the head was read."""
    request = api.client.build_request("GET", f"/api/chat/{quote(chat_id, safe='')}/stream")
    answer = await api.client.send(request, stream=True)
    assert answer.status_code == 200
    return answer


def chunks(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that ended in order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    frames = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
    assert frames.pop() == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


async def test_an_answer_is_one_message_with_a_stable_id(api: RunningApi, worker: Typist) -> None:
    sending = send(api)
    payload = await claimed(worker)
    await worker.append(encode_text("reasoning", "Hm."))
    await worker.type("Hello, ", "世界")
    await worker.finish()
    assert worker.lease is not None
    request_id = worker.lease.request_id
    assert chunks(await sending) == [
        {"type": "start", "messageId": f"msg_{request_id}"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-0"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "Hm."},
        {"type": "reasoning-end", "id": "reasoning-0"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hello, "},
        {"type": "text-delta", "id": "text-1", "delta": "世界"},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]
    assert payload["messages"] == [{"role": "user", "content": "hi"}]
    assert payload["on_interruption"] == "continue"
    assert (await api.read(request_id))["wire"] == "ui_message"


async def test_calls_of_tools_come_with_their_input(api: RunningApi, worker: Typist) -> None:
    sending = send(api, tools=[{"type": "function", "function": {"name": "look"}}])
    payload = await claimed(worker)
    pieces = [
        {"index": 0, "id": "a", "name": "look", "arguments": ""},
        {"index": 0, "arguments": '{"at":'},
        {"index": 0, "arguments": ' "x"}'},
        {"index": 1, "id": "b"},
        {"index": 1, "name": "look", "arguments": "{"},
        {"index": 2, "id": "c", "name": "look", "arguments": '{"a":{"__proto__":1}}'},
        {"index": 3, "id": "d", "name": "look"},
    ]
    await worker.append(*[encode_data("tool_call", piece) for piece in pieces])
    await worker.end("completed", {"finish_reason": "tool_calls"})
    got = chunks(await sending)
    look = {"toolName": "look"}
    assert got[2:5] == [
        {"type": "tool-input-start", "toolCallId": "a", **look},
        {"type": "tool-input-delta", "toolCallId": "a", "inputTextDelta": '{"at":'},
        {"type": "tool-input-delta", "toolCallId": "a", "inputTextDelta": ' "x"}'},
    ]
    ends = {
        chunk["toolCallId"]: (chunk["type"], chunk["input"])
        for chunk in got
        if chunk["type"] in {"tool-input-available", "tool-input-error"}
    }
    assert ends == {
        "a": ("tool-input-available", {"at": "x"}),
        "b": ("tool-input-error", "{"),
        "c": ("tool-input-error", '{"a":{"__proto__":1}}'),
        "d": ("tool-input-available", {}),
    }
    assert got[-1] == {"type": "finish", "finishReason": "tool-calls"}
    assert payload["params"]["tools"] == [{"type": "function", "function": {"name": "look"}}]


async def test_a_reload_gets_the_active_answer_from_its_beginning(
    api: RunningApi, worker: Typist
) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("Hel")
    resumed = await resume(api)
    await worker.type("lo")
    await worker.finish()
    assert await resumed.aread() == (await sending).content
    assert (await api.client.get("/api/chat/chat-1/stream")).status_code == 204


@pytest.mark.parametrize("path", ["nothing", "a%2Fb", "..%2F..%2Fetc", "%F0%9F%98%80", "%00"])
async def test_an_unknown_chat_has_nothing_to_resume(api: RunningApi, path: str) -> None:
    answer = await api.client.get(f"/api/chat/{path}/stream")
    assert answer.status_code == 204
    assert answer.content == b""


async def test_a_chat_id_may_hold_slashes(api: RunningApi, worker: Typist) -> None:
    sending = send(api, "team/a/stream")
    await claimed(worker)
    await worker.type("a")
    resumed = await resume(api, "team/a/stream")
    await worker.finish()
    assert await resumed.aread() == (await sending).content


async def test_stopping_ends_the_answer_and_repeats_in_peace(
    api: RunningApi, worker: Typist
) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("half")
    assert worker.lease is not None
    stale = await api.client.post("/api/chat/chat-1/stop", json={"activeStreamId": "r0_other"})
    assert stale.json() == {"success": True}
    assert (await api.read(worker.lease.request_id))["status"] == "running"
    for _ in range(2):
        stopped = await api.client.post("/api/chat/chat-1/stop")
        assert stopped.json() == {"success": True}
    got = chunks(await sending)
    assert got[-2:] == [{"type": "text-end", "id": "text-0"}, {"type": "abort"}]
    assert (await api.read(worker.lease.request_id))["text"] == "half"
    assert (await api.client.get("/api/chat/chat-1/stream")).status_code == 204


async def test_a_new_question_replaces_the_answer_under_way(
    api: RunningApi, worker: Typist
) -> None:
    first = send(api)
    await claimed(worker)
    await worker.type("one")
    second = send(api)
    assert chunks(await first)[-1] == {"type": "abort"}
    await claimed(worker)
    await worker.type("two")
    await worker.finish()
    assert "two" in (await second).text


async def test_a_failure_is_an_error_chunk(api: RunningApi, worker: Typist) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("half")
    await worker.fail("upstream_error", "The upstream failed.")
    assert chunks(await sending)[-1] == {"type": "error", "errorText": "The upstream failed."}


async def test_an_answer_that_cannot_be_continued_is_an_error_chunk(
    api: RunningApi, worker: Typist
) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("half")
    await worker.reopen()
    assert chunks(await sending)[-1]["type"] == "error"


async def test_a_shutdown_breaks_the_stream_off_so_that_the_page_resumes(
    redis_url: str, worker: Typist
) -> None:
    async with running_api(redis_url) as api:
        sending = send(api)
        await claimed(worker)
        await worker.type("half")
        resumed = await resume(api)
        api.services.streams.drain()
        with pytest.raises(httpx2.RemoteProtocolError):
            await sending
        with pytest.raises(httpx2.RemoteProtocolError):
            await resumed.aread()
        refused = await api.client.post("/api/chat", json=body())
        assert refused.status_code == 503
        assert refused.headers["content-type"].startswith("text/plain")


async def test_the_page_brings_the_history_and_the_server_adds_none(
    api: RunningApi, worker: Typist
) -> None:
    first = send(api)
    await claimed(worker)
    await worker.type("hello")
    await worker.finish("hello")
    await first
    answered = {
        "id": "a-1",
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "Hm.", "state": "done"},
            {"type": "text", "text": "hello", "state": "done"},
        ],
    }
    again = {"id": "u-2", "role": "user", "parts": [{"type": "text", "text": "again"}]}
    second = send(api, "chat-1", HI, answered, again)
    assert worker.lease is not None
    payload = await claimed(worker)
    await worker.finish("again")
    await second
    assert payload["memory"] is False
    assert payload["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "again"},
    ]
    kept = (await api.client.get("/conversations/chat-1")).json()["turns"]
    assert [turn["asked"] for turn in kept] == [
        [{"role": "user", "content": "hi"}],
        [{"role": "user", "content": "again"}],
    ]


async def test_a_page_that_sends_only_what_is_new_relies_on_the_servers_memory(
    api: RunningApi, worker: Typist
) -> None:
    sending = asyncio.create_task(api.client.post("/api/chat", json={"id": "c", "message": HI}))
    payload = await claimed(worker)
    await worker.finish()
    await sending
    assert "memory" not in payload
    assert payload["messages"] == [{"role": "user", "content": "hi"}]


async def test_an_answer_that_goes_on_keeps_the_id_of_its_message(
    api: RunningApi, worker: Typist
) -> None:
    called = {
        "id": "a-7",
        "role": "assistant",
        "parts": [
            {"type": "text", "text": "Let me look."},
            {
                "type": "tool-look",
                "toolCallId": "t-1",
                "state": "output-available",
                "input": {"at": "x"},
                "output": {"seen": 3},
            },
            {
                "type": "dynamic-tool",
                "toolName": "ask",
                "toolCallId": "t-2",
                "state": "output-error",
                "input": "?",
                "errorText": "no",
            },
            {"type": "tool-late", "toolCallId": "t-3", "state": "input-available", "input": {}},
            {"type": "data-weather", "data": {}},
        ],
    }
    sending = send(api, "chat-1", HI, called)
    payload = await claimed(worker)
    await worker.type("3")
    await worker.finish()
    assert chunks(await sending)[0] == {"type": "start", "messageId": "a-7"}
    call = {"id": "t-1", "type": "function"}
    assert payload["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {**call, "function": {"name": "look", "arguments": '{"at":"x"}'}},
                {**call, "id": "t-2", "function": {"name": "ask", "arguments": "?"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t-1", "content": '{"seen":3}'},
        {"role": "tool", "tool_call_id": "t-2", "content": "no"},
    ]


async def test_images_and_files_are_passed_on(api: RunningApi, worker: Typist) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"},
        {
            "type": "file",
            "mediaType": "application/pdf",
            "url": "data:application/pdf;base64,AA==",
            "filename": "a.pdf",
        },
    ]
    sending = send(api, "chat-1", {**HI, "parts": parts})
    payload = await claimed(worker)
    await worker.finish()
    await sending
    assert payload["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        },
    ]


async def test_a_chat_whose_active_request_came_in_elsewhere_has_nothing_to_resume(
    api: RunningApi, worker: Typist
) -> None:
    request_id = await api.submit(conversation_id="chat-1")
    assert (await api.client.get("/api/chat/chat-1/stream")).status_code == 204
    await api.client.post("/api/chat/chat-1/stop")
    assert (await api.read(request_id))["status"] == "queued"


async def test_chats_of_other_tenants_do_not_exist(redis_url: str, worker: Typist) -> None:
    async with running_api(redis_url, api_keys="a:key-a,b:key-b") as api:
        a, b = ({"Authorization": f"Bearer key-{name}"} for name in "ab")
        sending = asyncio.create_task(api.client.post("/api/chat", json=body(), headers=a))
        await claimed(worker)
        await worker.type("secret")
        assert (await api.client.get("/api/chat/chat-1/stream", headers=b)).status_code == 204
        await api.client.post("/api/chat/chat-1/stop", headers=b)
        await worker.finish()
        assert chunks(await sending)[-1]["type"] == "finish"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"id": ""}, "id"),
        ({"messages": [{"id": "x", "role": "tool", "parts": []}]}, "messages[0].role"),
        ({"messages": [{"id": "x", "role": "user", "parts": []}]}, "nothing to answer"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "parts": [{"type": "file", "mediaType": "a/b", "url": "http://x"}],
                    }
                ]
            },
            "data: URL",
        ),
        ({"temperature": 9}, "temperature"),
    ],
)
async def test_a_wrong_call_is_told_in_plain_words(
    api: RunningApi, wrong: dict[str, Any], said: str
) -> None:
    answer = await api.client.post("/api/chat", json=body() | wrong)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert said in answer.text


async def test_parts_of_unknown_types_are_left_out(api: RunningApi, worker: Typist) -> None:
    odd = {"type": "hologram", "beam": 1}
    sending = send(api, "c", {**HI, "parts": [odd, *HI["parts"]], "metadata": {"a": 1}}, extra=1)
    payload = await claimed(worker)
    await worker.finish()
    assert chunks(await sending)
    assert payload["messages"] == [{"role": "user", "content": "hi"}]


async def test_a_model_sees_what_the_page_says_was_said_and_nothing_else(
    api: RunningApi, redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        await send(api)
        # The page was edited: of the first question and its answer it knows nothing any more.
        await send(api, "chat-1", {**HI, "parts": [{"type": "text", "text": "edited"}]})
        only_new = {"id": "chat-1", "message": HI}
        assert (await api.client.post("/api/chat", json=only_new)).status_code == 200
    said = [[m["content"] for m in call.body["messages"]] for call in upstream.calls]
    assert said == [
        ["hi"],
        ["edited"],
        ["hi", "Hello, world.", "edited", "Hello, world.", "hi"],
    ]
