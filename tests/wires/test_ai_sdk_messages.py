"""How the API uses the history that a page of the AI SDK sends."""

import asyncio
from typing import Any

import pytest

from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi
from tests.support.upstream import ScriptedUpstream
from tests.wires.claiming import claimed
from tests.wires.pages import HI, body, chunks, send
from tickertape.runtime.settings import Settings


async def test_a_page_that_sends_its_history_gets_no_memory_added(
    api: RunningApi, worker: Rig
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


async def test_what_a_user_added_to_an_answer_goes_to_the_model_and_unknown_parts_do_not(
    api: RunningApi, worker: Rig
) -> None:
    odd = [{"type": "custom", "kind": "a.b"}, {"type": "reasoning-file", "url": 1}, {"type": None}]
    steering = {"type": "steering-message", "id": "s-1"}
    answered = {
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "text", "text": "Red"},
            *odd,
            {**steering, "parts": [{"type": "text", "text": "Blue!"}, {"type": "new"}]},
            {**steering, "parts": "odd"},
            {"type": "text", "text": "Blue"},
        ],
    }
    sending = send(api, "chat-1", HI, answered, HI, steering="none", experimental=[1])
    payload = await claimed(worker)
    await worker.finish()
    await sending
    assert [message["content"] for message in payload["messages"]] == [
        *("hi", "Red", "Blue!", "Blue", "hi")
    ]
    assert payload["messages"][2]["role"] == "user"


async def test_what_was_written_after_a_tool_of_the_server_stays_behind_its_result(
    api: RunningApi, worker: Rig
) -> None:
    looked = {"type": "tool-look", "toolCallId": "t", "state": "output-available", "output": "3"}
    said = [{"type": "text", "text": text} for text in ("I look.", "It is 3.")]
    parts = [{"type": "step-start"}, said[0], {**looked, "providerExecuted": True}, said[1]]
    sending = send(api, "chat-1", HI, {"role": "assistant", "parts": parts}, HI)
    payload = await claimed(worker)
    await worker.finish()
    await sending
    assert [message["content"] for message in payload["messages"]] == [
        *("hi", "I look.", "3", "It is 3.", "hi")
    ]


async def test_a_page_that_sends_only_new_messages_uses_the_servers_memory(
    api: RunningApi, worker: Rig
) -> None:
    sending = asyncio.create_task(api.client.post("/api/chat", json={"id": "c", "message": HI}))
    payload = await claimed(worker)
    await worker.finish()
    await sending
    assert "memory" not in payload
    assert payload["messages"] == [{"role": "user", "content": "hi"}]


async def test_an_answer_that_continues_keeps_the_id_of_its_message(
    api: RunningApi, worker: Rig
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
                {**call, "id": "t-2", "function": {"name": "ask", "arguments": '{"input":"?"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "t-1", "content": '{"seen":3}'},
        {"role": "tool", "tool_call_id": "t-2", "content": "no"},
    ]


async def test_images_and_files_are_passed_on(api: RunningApi, worker: Rig) -> None:
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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"id": ""}, "id"),
        ({"id": ".."}, "id"),
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
        (
            {"messages": [{"role": "user", "parts": [{"type": "file", "mediaType": "image/x"}]}]},
            "url",
        ),
        ({"temperature": 9}, "temperature"),
    ],
)
async def test_a_wrong_call_is_refused_with_readable_text(
    api: RunningApi, wrong: dict[str, Any], said: str
) -> None:
    answer = await api.client.post("/api/chat", json=body() | wrong)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert said in answer.text


async def test_parts_of_unknown_types_are_left_out(api: RunningApi, worker: Rig) -> None:
    odd = [
        {"type": "hologram", "beam": 1},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "text", "text": {"a": 1}},
        {"type": ["text"], "text": "x"},
        {},
    ]
    sending = send(api, "c", {**HI, "parts": [*odd, *HI["parts"]], "metadata": {"a": 1}}, extra=1)
    payload = await claimed(worker)
    await worker.finish()
    assert chunks(await sending)
    assert payload["messages"] == [{"role": "user", "content": "hi"}]


async def test_a_model_sees_exactly_the_history_that_the_page_sends(
    api: RunningApi, redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        await send(api)
        # The page was edited: its history has lost the first message and its answer.
        await send(api, "chat-1", {**HI, "parts": [{"type": "text", "text": "edited"}]})
        only_new = {"id": "chat-1", "message": HI}
        assert (await api.client.post("/api/chat", json=only_new)).status_code == 200
    said = [[m["content"] for m in call.body["messages"]] for call in upstream.calls]
    assert said == [
        ["hi"],
        ["edited"],
        ["hi", "Hello, world.", "edited", "Hello, world.", "hi"],
    ]
