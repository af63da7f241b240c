"""Streams to clients of HTTP/1.0, which read the size of a chunk as text (uvicorn#1360).

By default nginx is such a client of the server behind it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.wait import wait_until
from tests.wires.chats import HI
from tests.wires.claiming import claimed

ASKING: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [HI], "stream": True},
    "/v1/responses": {"input": "hi", "stream": True},
    "/api/chat": {
        "id": "c-1",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}],
    },
    "/api/gpt/get": {"message": "hi"},
}


@contextlib.asynccontextmanager
async def asked(
    api: RunningApi, path: str, body: object = None, headers: str = "", version: str = "1.0"
) -> AsyncIterator[asyncio.StreamReader]:
    """What comes over a connection on which a call was sent."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    data = b"" if body is None else json.dumps(body).encode()
    entity_headers = (
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
    )
    method = "POST" if data else "GET"
    start = f"{method} {address.path}{path} HTTP/{version}"
    head = f"{start}\r\nHost: localhost\r\n{entity_headers}{headers}\r\n"
    writer.write(head.encode() + data)
    try:
        yield reader
    finally:
        writer.close()


async def ask(
    api: RunningApi, path: str, body: object = None, headers: str = "", version: str = "1.0"
) -> tuple[str, bytes]:
    """The head and the body up to the close; raises ConnectionResetError."""
    async with asked(api, path, body, headers, version) as reader:
        answer = await reader.read()
    response_head, _, rest = answer.partition(b"\r\n\r\n")
    return response_head.decode().lower(), rest


def unframed(chunked: bytes) -> bytes:
    """The body that a client of HTTP/1.1 decodes."""
    body = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        body += rest[: int(size, 16)]
        chunked = rest[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize("query", ["", "?format=text", "?snapshot=1"])
async def test_an_http_1_0_client_that_follows_a_log_gets_no_chunk_sizes_in_its_body(
    api: RunningApi, worker: Rig, query: str
) -> None:
    request_id = await worker.begin()
    await worker.type("Hel", "lo")
    await worker.finish()
    path = f"/chat/{request_id}/stream{query}"
    head, body = await ask(api, path)
    assert head.startswith("http/1.1 200")
    assert "connection: close" in head
    assert "transfer-encoding" not in head
    assert body == unframed((await ask(api, path, version="1.1"))[1])
    assert b"lo" in body


@pytest.mark.parametrize("headers", ["", "X-Cancel-On-Disconnect: true\r\n"])
@pytest.mark.parametrize("path", ASKING)
async def test_an_http_1_0_client_that_submits_gets_no_chunk_sizes_on_any_wire(
    api: RunningApi, worker: Rig, path: str, headers: str
) -> None:
    asking = asyncio.create_task(ask(api, path, ASKING[path], headers))
    await claimed(worker)
    await worker.type("Hello")
    await worker.finish()
    head, body = await asking
    assert "transfer-encoding" not in head
    assert b"Hello" in body
    whole = {"/api/gpt/get": b"Hello"}.get(path, b"\n\n")
    assert body.startswith((b"data: ", b"event: ", b"Hello"))
    assert body.endswith(whole)


@pytest.mark.parametrize("path", ASKING)
async def test_an_http_1_0_client_can_distinguish_a_cut_answer_from_a_complete_one(
    api: RunningApi, worker: Rig, path: str
) -> None:
    """HTTP/1.0 has no last chunk, and an orderly close would mean a complete body."""
    async with asked(api, path, ASKING[path]) as reader:
        await claimed(worker)
        await worker.type("half")
        # Before its head was sent, an answer that is cut is an error with a status.
        await reader.readuntil(b"half")
        api.services.streams.drain()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_request_sent_behind_another_does_not_end_the_answer_to_the_first(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    path = f"/chat/{request_id}/stream"
    behind = "\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    asking = asyncio.create_task(ask(api, path, headers=behind, version="1.1"))
    streams = api.services.streams
    await wait_until(lambda: streams.open_streams, description="the answer is being read")
    await worker.type("Hello")
    await worker.finish()
    head, body = await asking
    # The response announces the close, so that the client repeats its second request.
    assert "connection: close" in head
    assert b"Hello" in unframed(body)
    assert body.endswith(b"\r\n0\r\n\r\n")
