"""The AI SDK's calls: send, resume, stop."""

import asyncio
from urllib.parse import quote

import httpx2
import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires.claiming import claimed
from tests.wires.pages import body, chunks, resume, send
from tickertape.broker.codec import encode_data, encode_text


async def test_an_answer_is_one_message_with_a_stable_id(api: RunningApi, worker: Rig) -> None:
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


async def test_tool_calls_have_their_input(api: RunningApi, worker: Rig) -> None:
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
    api: RunningApi, worker: Rig
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
async def test_an_unknown_chat_has_no_stream_to_resume(api: RunningApi, path: str) -> None:
    answer = await api.client.get(f"/api/chat/{path}/stream")
    assert answer.status_code == 204
    assert answer.content == b""


async def test_a_chat_id_may_hold_slashes(api: RunningApi, worker: Rig) -> None:
    sending = send(api, "team/a/stream")
    await claimed(worker)
    await worker.type("a")
    resumed = await resume(api, "team/a/stream")
    await worker.finish()
    assert await resumed.aread() == (await sending).content


@pytest.mark.parametrize("chat_id", ["team/a", "a%2Fb", "日本 ?#", "x" * 512])
async def test_a_chat_is_remembered_under_its_id(
    api: RunningApi, worker: Rig, chat_id: str
) -> None:
    sending = send(api, chat_id)
    await claimed(worker)
    await worker.type("a")
    await worker.finish(answered="a")
    await sending
    conversation = await api.client.get(f"/conversations/{quote(chat_id, safe='')}")
    assert [turn["answered"] for turn in conversation.json()["turns"]] == ["a"]
    listed = await api.client.get("/chat", params={"conversation_id": chat_id})
    assert len(listed.json()["requests"]) == 1
    gone = await api.client.delete(f"/conversations/{quote(chat_id, safe='')}")
    assert gone.status_code == 204


async def test_a_stop_ends_the_answer_and_may_be_repeated(api: RunningApi, worker: Rig) -> None:
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


async def test_a_new_message_replaces_the_running_answer(api: RunningApi, worker: Rig) -> None:
    first = send(api)
    await claimed(worker)
    await worker.type("one")
    second = send(api)
    assert chunks(await first)[-1] == {"type": "abort"}
    await claimed(worker)
    await worker.type("two")
    await worker.finish()
    assert "two" in (await second).text


async def test_a_failure_is_an_error_chunk(api: RunningApi, worker: Rig) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("half")
    await worker.fail("upstream_error", "The upstream failed.")
    assert chunks(await sending)[-1] == {"type": "error", "errorText": "The upstream failed."}


async def test_an_answer_that_cannot_be_continued_is_an_error_chunk(
    api: RunningApi, worker: Rig
) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("half")
    await worker.reopen()
    assert chunks(await sending)[-1]["type"] == "error"


async def test_a_shutdown_aborts_the_stream_so_that_the_page_resumes(
    redis_url: str, worker: Rig
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


async def test_a_chat_whose_active_request_came_over_another_protocol_has_no_stream_to_resume(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit(conversation_id="chat-1")
    assert (await api.client.get("/api/chat/chat-1/stream")).status_code == 204
    await api.client.post("/api/chat/chat-1/stop")
    assert (await api.read(request_id))["status"] == "queued"


async def test_a_tenant_cannot_find_another_tenants_chat(redis_url: str, worker: Rig) -> None:
    async with running_api(redis_url, api_keys="a:long-enough-key-a,b:long-enough-key-b") as api:
        a, b = ({"Authorization": f"Bearer long-enough-key-{name}"} for name in "ab")
        sending = asyncio.create_task(api.client.post("/api/chat", json=body(), headers=a))
        await claimed(worker)
        await worker.type("secret")
        assert (await api.client.get("/api/chat/chat-1/stream", headers=b)).status_code == 204
        await api.client.post("/api/chat/chat-1/stop", headers=b)
        await worker.finish()
        assert chunks(await sending)[-1]["type"] == "finish"
