"""GPT Terminal's call: the response is raw text, and errors are readable text."""

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.broker.codec import encode_data

URL = "/api/gpt/get"


async def claimed(worker: Rig) -> dict[str, Any]:
    """The payload of the next request."""

    async def claim() -> bool:
        with contextlib.suppress(AssertionError):
            await worker.claim()
            return True
        return False

    await wait_until(claim, description="a request is there")
    assert worker.lease is not None
    return worker.lease.payload


async def test_gpt_terminal_gets_only_the_answers_text(api: RunningApi, worker: Rig) -> None:
    asking = asyncio.create_task(api.client.post(URL, json={"message": "hi", "role": "default"}))
    payload = await claimed(worker)
    await worker.type("unde", "fined ", "", "世界\n\n")
    await worker.finish()
    answer = await asking
    assert answer.content == "undefined 世界\n\n".encode()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert worker.lease is not None
    assert answer.headers["X-Request-Id"] == worker.lease.request_id
    assert payload["role_messages"] == []
    assert payload["messages"] == [{"role": "user", "content": "hi"}]
    assert payload["params"] == {}


async def test_the_text_arrives_while_it_is_written(api: RunningApi, worker: Rig) -> None:
    async with aiohttp.ClientSession(api.url) as session:
        opening = asyncio.create_task(session.post(URL, json={"message": "hi"}))
        await claimed(worker)
        async with await opening as answer:
            for text in ("a", "b"):
                await worker.type(text)
                assert await answer.content.readany() == text.encode()
            await worker.finish()
            assert await answer.content.read() == b""


async def test_a_gpt_terminal_body_with_role_and_settings_is_accepted(
    api: RunningApi, worker: Rig
) -> None:
    talk = [
        {"role": "user", "content": "hi", "time": 1},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "go on"},
    ]
    body = {"message": talk, "role": "sql", "temperature": "0.5", "model": "", "extra": True}
    asking = asyncio.create_task(api.client.post(URL, json=body))
    payload = await claimed(worker)
    await worker.finish()
    assert (await asking).status_code == 200
    assert [message["content"] for message in payload["messages"]] == ["hi", "", "go on"]
    assert all(set(message) == {"role", "content"} for message in payload["messages"])
    assert payload["role_messages"]
    assert payload["params"]["temperature"] == 0.5


async def test_a_client_can_always_distinguish_a_failed_answer_from_a_complete_one(
    api: RunningApi, worker: Rig
) -> None:
    async with aiohttp.ClientSession(api.url) as session:
        opening = asyncio.create_task(session.post(URL, json={"message": "hi"}))
        await claimed(worker)
        async with await opening as answer:
            await worker.type("half an answer")
            assert await answer.content.readany() == b"half an answer"
            assert worker.lease is not None
            failed = encode_data("failed", {"code": "x", "message": "x", "retryable": True})
            await worker.queue.finish(worker.lease, "failed", 2, [failed])
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()


async def test_the_stream_of_an_answer_that_starts_over_after_output_is_aborted(
    api: RunningApi, worker: Rig
) -> None:
    async with aiohttp.ClientSession(api.url) as session:
        opening = asyncio.create_task(session.post(URL, json={"message": "hi"}))
        await claimed(worker)
        async with await opening as answer:
            await worker.type("half an answer")
            assert await answer.content.readany() == b"half an answer"
            # The request asks for `continue`, and this worker's upstream cannot continue.
            await worker.reopen()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()
    assert worker.lease is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"message": ""}, "message"),
        ({"message": []}, "message"),
        ({}, "message"),
        ({"message": [{"role": "god", "content": "x"}]}, "message[0].role"),
        ({"message": "hi", "temperature": 3}, "temperature"),
        ({"message": "a\0"}, "NUL"),
    ],
)
async def test_a_wrong_call_is_refused_with_readable_text(
    api: RunningApi, body: dict[str, Any], reason: str
) -> None:
    answer = await api.client.post(URL, json=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert reason in answer.text
    assert "{" not in answer.text


async def test_an_unknown_role_is_refused_with_readable_text(api: RunningApi) -> None:
    answer = await api.client.post(URL, json={"message": "hi", "role": "ninja"})
    assert answer.status_code == 404
    assert answer.text.startswith("no role is named 'ninja'")


async def test_a_conversation_of_five_megabytes_is_accepted(api: RunningApi, worker: Rig) -> None:
    talk = [{"role": "user", "content": "x" * 500_000}] * 9
    asking = asyncio.create_task(api.client.post(URL, json={"message": talk}))
    payload = await claimed(worker)
    await worker.finish()
    assert (await asking).status_code == 200
    assert len(payload["messages"]) == 9
    refused = await api.client.post(
        URL,
        content=json.dumps({"message": "x" * 6_000_000}),
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code == 413
    assert refused.text == "The body is larger than 5242880 bytes."


async def test_a_page_at_an_allowed_origin_may_call(redis_url: str, worker: Rig) -> None:
    origin = "http://localhost:3000"
    async with running_api(redis_url, cors_origins=origin) as api:
        preflight = await api.client.options(
            URL,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        )
        assert preflight.status_code == 200
        asking = asyncio.create_task(
            api.client.post(URL, json={"message": "hi"}, headers={"Origin": origin})
        )
        await claimed(worker)
        await worker.finish()
        answer = await asking
    for headers in (preflight.headers, answer.headers):
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Access-Control-Allow-Credentials"] == "true"
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Request-Id", "x-workflow-run-id", "x-workflow-stream-tail-index"} <= {*exposed}
