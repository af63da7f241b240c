"""The AI SDK's stream from a chunk on, as `WorkflowChatTransport` resumes it."""

import asyncio
from typing import Any

import httpx2
import pytest
from hypothesis import given

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires import folding
from tests.wires.claiming import claimed
from tests.wires.logs import logs
from tests.wires.pages import body, chunks, resume, send
from tests.wires.recorded import REQUEST_ID, rendered
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.ai_sdk import wire as ui_message
from tickertape.api.protocols.ai_sdk.chunk_index import AtChunk
from tickertape.broker.codec import Entry
from tickertape.broker.fold import fold

TAIL = "x-workflow-stream-tail-index"
FINISH = {"type": "finish"}


async def resume_at(
    api: RunningApi, chat_id: str, index: int | str, *, path: str = "/api/v7/chat", **headers: str
) -> httpx2.Response:
    url = f"{path}/{chat_id}/stream"
    return await api.client.get(url, params={"startIndex": index}, headers=headers)


def text_of(stream: list[dict[str, Any]]) -> str:
    return "".join(each["delta"] for each in stream if each["type"] == "text-delta")


@given(entries=logs(("resumed", "reset")))
def test_a_stream_resumes_at_every_chunk_and_takes_text_back(entries: list[Entry]) -> None:
    rendering = rendered(ui_message.dialect(REQUEST_ID, resets=True), entries)
    whole = b"".join(rendering.frames)
    heard = folding.ui_message(whole, resets=True)
    assert heard.text == "".join(fold(entries).text)
    assert heard.is_error == (entries[-1].kind == "failed")
    parts = [event + b"\n\n" for event in whole.split(b"\n\n")[:-1]]
    count = len(parts) - (parts[-1] == ui_message.DONE)
    tape = Tape(REQUEST_ID)
    for index in range(count + 1):
        start = AtChunk(index)(tape, rendering, is_current=True)
        assert start is not None
        if start.is_needless:
            assert index == count < len(parts)
            continue
        rest = rendering.frames.between(start.position, len(rendering.frames))
        assert start.first + rest == b"".join(parts[index:])
        assert start.headers == {TAIL: str(count - 1)}
    assert AtChunk(count + 1)(tape, rendering, is_current=False) is None
    with pytest.raises(Problem, match=f"has only {count} chunks"):
        AtChunk(count + 1)(tape, rendering, is_current=True)


async def test_a_chunk_has_its_index_at_each_process_across_a_takeover(
    api: RunningApi, worker: Rig, redis_url: str
) -> None:
    async with running_api(redis_url) as other:
        sending = asyncio.create_task(api.client.post("/api/v7/chat", json=body()))
        payload = await claimed(worker)
        assert payload["on_interruption"] == "restart"
        await worker.type("Wrong ", "half")
        assert worker.lease is not None
        run_id = worker.lease.request_id
        waiting = [
            asyncio.create_task(resume_at(each, run_id, 4)) for each in (api, other) for _ in "ab"
        ]
        await worker.reopen()
        await worker.type("Right ", "whole")
        await worker.finish()
        sent = await sending
        whole = chunks(sent)
        kinds = [each["type"] for each in whole[4:9]]
        assert kinds == ["text-delta", "reset-step", "text-start", "text-delta", "text-delta"]
        assert sent.headers["x-workflow-run-id"] == run_id
        for resumed in [await each for each in waiting]:
            assert chunks(resumed) == whole[4:]
        for index in range(len(whole)):
            resumed = await resume_at(other if index % 2 else api, run_id, index)
            assert chunks(resumed) == whole[index:]
            assert resumed.headers[TAIL] == str(len(whole) - 1)
            assert resumed.headers["x-workflow-run-id"] == run_id
    assert (await resume_at(api, run_id, len(whole))).status_code == 204
    beyond = await resume_at(api, run_id, len(whole) + 1)
    assert (beyond.status_code, beyond.text) == (
        *(400, f"startIndex: the answer has only {len(whole)} chunks"),
    )
    assert (await resume_at(api, run_id, "1.5")).status_code == 400


async def test_a_negative_index_starts_where_a_message_can_be_shown(
    api: RunningApi, worker: Rig
) -> None:
    sending = send(api)
    await claimed(worker)
    await worker.type("Hello")
    await worker.finish()
    whole = chunks(await sending)
    assert worker.lease is not None
    for index in (-3, -1000):
        resumed = await resume_at(api, worker.lease.request_id, index, path="/api/chat")
        assert chunks(resumed) == whole
        # The transport's reckoning of the index at which the stream began.
        assert max(0, int(resumed.headers[TAIL]) + 1 + index) == 0


@pytest.mark.parametrize("path", ["/api/chat", "/api/v7/chat"])
async def test_a_stopped_answer_ends_for_a_transport_that_waits_for_a_finish(
    api: RunningApi, worker: Rig, path: str
) -> None:
    sending = asyncio.create_task(api.client.post(path, json=body()))
    await claimed(worker)
    await worker.type("half")
    await api.client.post(f"{path}/chat-1/stop")
    whole = chunks(await sending)
    aborted = whole.index({"type": "abort"}) + 1
    assert worker.lease is not None
    assert chunks(await resume_at(api, worker.lease.request_id, aborted, path=path)) == [FINISH]


async def test_a_failed_answer_ends_for_a_transport_that_waits_for_a_finish(
    api: RunningApi, worker: Rig
) -> None:
    sending = asyncio.create_task(api.client.post("/api/v7/chat", json=body()))
    await claimed(worker)
    await worker.type("half")
    await worker.fail()
    whole = chunks(await sending)
    assert whole[-1]["type"] == "error"
    assert worker.lease is not None
    assert (await resume_at(api, worker.lease.request_id, len(whole))).status_code == 204


@pytest.mark.parametrize("index", [0, -10])
async def test_a_chat_without_an_active_answer_has_nothing_but_a_finish(
    api: RunningApi, worker: Rig, index: int
) -> None:
    assert chunks(await resume_at(api, "never-was", index)) == [FINISH]
    other = await api.submit(conversation_id="chat-1")
    assert chunks(await resume_at(api, "chat-1", index)) == [FINISH]
    assert chunks(await resume_at(api, other, index)) == [FINISH]


async def test_a_page_that_names_only_its_chat_gets_the_newest_answer_again(
    api: RunningApi, worker: Rig
) -> None:
    first = send(api)
    await claimed(worker)
    await worker.type("one ", "and ", "more")
    await worker.finish()
    count = len(chunks(await first))
    second = send(api)
    await claimed(worker)
    await worker.type("two")
    assert (await resume_at(api, "chat-1", 4, path="/api/chat")).status_code == 400
    held = asyncio.create_task(resume_at(api, "chat-1", count))
    await worker.finish()
    answer = chunks(await second)
    assert chunks(await held) == [answer[0], {"type": "reset-step"}, *answer[1:]]
    same = chunks(await resume_at(api, "chat-1", 4))
    assert same == [answer[0], {"type": "reset-step"}, *answer[2:]]
    assert chunks(await resume_at(api, "chat-1", 0)) == [FINISH]
    assert (await resume_at(api, "never-was", 4)).status_code == 404


async def test_an_answer_is_found_by_nobody_else(redis_url: str, worker: Rig) -> None:
    async with running_api(redis_url, api_keys="a:long-enough-key-a,b:long-enough-key-b") as api:
        a, b = ({"Authorization": f"Bearer long-enough-key-{name}"} for name in "ab")
        sending = asyncio.create_task(api.client.post("/api/v7/chat", json=body(), headers=a))
        await claimed(worker)
        await worker.type("secret")
        await worker.finish()
        assert text_of(chunks(await sending)) == "secret"
        assert worker.lease is not None
        run_id = worker.lease.request_id
        assert (await resume_at(api, run_id, 2, **b)).status_code == 404
        assert chunks(await resume_at(api, run_id, 0, **b)) == [FINISH]
        assert text_of(chunks(await resume_at(api, run_id, 2, **a))) == "secret"


async def test_pages_of_both_paths_read_one_chat(api: RunningApi, worker: Rig) -> None:
    sending = asyncio.create_task(api.client.post("/api/v7/chat", json=body()))
    await claimed(worker)
    await worker.type("half")
    older, newer = await resume(api), await resume(api, path="/api/v7/chat")
    await worker.reopen()
    await worker.type("whole")
    await worker.finish()
    whole = chunks(await sending)
    assert {"type": "reset-step"} in whole
    await newer.aread()
    assert chunks(newer) == whole
    await older.aread()
    *same, error = chunks(older)
    assert error["type"] == "error"
    assert same == whole[: len(same)]
