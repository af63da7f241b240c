"""What is sent behind a stream, without waiting for its end, must not harm the stream.

A connection that was handed over reads nothing more. Any other one answers the next call after it.
"""

import json
from typing import Any

import pytest

from tests.support.raw import call, raw_connection
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.wait import wait_until
from tests.wires.claiming import claimed
from tests.wires.test_http_1_0 import ASKING

LEAVING = "X-Cancel-On-Disconnect: true"
BEHIND = {
    "a call": call("GET", "/healthz"),
    "a call with a body": call("POST", "/chat", body=b'{"message": 1}'),
    "half a call": b"GET /healthz HTTP/1.1\r\nX-Half: ",
    "garbage": b"\x00\x01 garbage\r\n\r\n",
    "many calls": call("GET", "/healthz") * 2000,
    "a long header": b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 500_000,
}


def asking(path: str, *headers: str) -> bytes:
    body: Any = ASKING[path]
    return call("POST", path, *headers, body=json.dumps(body).encode())


def last_chunk_of(answer: bytes) -> bytes:
    """What follows the last chunk of the first answer."""
    return answer.partition(b"\r\n0\r\n\r\n")[2]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("headers", [(), (LEAVING,)], ids=["handed over", "kept"])
@pytest.mark.parametrize("path", ASKING)
async def test_what_is_sent_behind_a_stream_does_not_harm_the_stream(
    api: RunningApi, worker: Rig, path: str, headers: tuple[str, ...], behind: str
) -> None:
    async with raw_connection(api.url, asking(path, *headers) + BEHIND[behind]) as reader:
        await claimed(worker)
        await worker.type("Hello")
        await reader.until(b"Hello")
        await reader.send(b"more of it")
        await worker.type(" world")
        await reader.until(b" world")
        await worker.finish()
        answer = await reader.until(b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.partition(b"\r\n0\r\n\r\n")[0].count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("query", ["", "?format=text"])
async def test_a_call_behind_the_stream_of_a_log_is_not_answered(
    api: RunningApi, worker: Rig, query: str
) -> None:
    request_id = await worker.begin()
    stream = call("GET", f"/chat/{request_id}/stream{query}")
    async with raw_connection(api.url, stream + BEHIND["a call"]) as reader:
        await worker.type("Hello")
        await reader.until(b"Hello")
        await worker.finish()
        answer = await reader.until_closed()
    assert answer.endswith(b"\r\n0\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_call_behind_a_stream_that_was_not_handed_over_is_answered_after_it(
    api: RunningApi, worker: Rig
) -> None:
    sent = asking("/v1/chat/completions", LEAVING) + BEHIND["a call"]
    async with raw_connection(api.url, sent) as reader:
        await claimed(worker)
        await worker.type("Hello")
        await worker.finish()
        answer = await reader.until(b'"ok"')
    assert last_chunk_of(answer).startswith(b"HTTP/1.1 200")


async def test_a_call_behind_the_stream_of_a_conversation_waits(
    api: RunningApi, worker: Rig
) -> None:
    await api.submit(conversation_id="c")
    stream = call("GET", "/conversations/c/stream")
    async with raw_connection(api.url, stream + BEHIND["a call"]) as reader:
        await claimed(worker)
        await worker.type("Hello")
        answer = await reader.until(b"Hello")
        await worker.finish()
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_that_leaves_is_noticed_although_it_sent_a_call_behind(
    api: RunningApi, worker: Rig
) -> None:
    sent = asking("/v1/chat/completions", LEAVING) + BEHIND["a call"]
    async with raw_connection(api.url, sent) as reader:
        await claimed(worker)
        await worker.type("Hello")
        await reader.until(b"Hello")
        assert worker.lease is not None
        request_id = worker.lease.request_id

    async def is_cancelled() -> bool:
        return (await worker.record(request_id)).state == "cancelled"

    await wait_until(is_cancelled, description="the request is cancelled")


async def test_calls_sent_at_once_are_answered_in_their_order(api: RunningApi) -> None:
    paths = ("/roles/none", "/healthz", "/nothing", "/healthz")
    last = call("GET", "/roles", "Connection: close")
    async with raw_connection(api.url, b"".join(call("GET", path) for path in paths) + last) as it:
        answer = await it.until_closed()
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404", b"200", b"404", b"200", b"200"]


async def test_of_too_many_calls_at_once_the_first_are_answered(api: RunningApi) -> None:
    async with raw_connection(api.url, call("GET", "/healthz") * 300) as caller:
        answer = await caller.until_closed()
    answers = answer.split(b"HTTP/1.1 ")[1:]
    assert 10 < len(answers) < 300
    assert {part[:3] for part in answers} == {b"200"}
    assert b"connection: close" in answers[-1].lower()
