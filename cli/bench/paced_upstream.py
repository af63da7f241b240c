"""An OpenAI-compatible upstream that paces its answers: `python -m ... HOST PORT`.

It answers nothing but the messages of `tickertape bench` (paced.py), and needs no key. Its first
line on stdout is its port.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

from tickertape.cli.bench.paced import MODEL, Pace, pace_of, token

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


async def listen(host: str, port: int) -> asyncio.Server:
    """A server that answers calls. Raises OSError for an address that is not free."""
    return await asyncio.start_server(_connected, host, port, limit=_MAX_HEAD_BYTES)


async def _serve(host: str, port: int) -> None:
    async with await listen(host, port) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                await _answer(reader, writer)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
        raise OSError("no usable Content-Length")
    body = await reader.readexactly(int(length))
    method, _, rest = line.partition(" ")
    path = rest.partition(" ")[0]
    if method == "GET" and path.endswith("/models"):
        models = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tickertape"}]
        _respond(writer, 200, {"object": "list", "data": models})
    elif method == "POST" and path.endswith("/chat/completions"):
        if (pace := _asked(body)) is None:
            _refuse(writer, 400, "This upstream answers only the messages of `tickertape bench`.")
        else:
            await _stream(writer, pace)
    else:
        _refuse(writer, 404, "There are /models and /chat/completions.")
    await writer.drain()


def _asked(body: bytes) -> Pace | None:
    try:
        return pace_of(json.loads(body)["messages"][-1]["content"])
    except (ValueError, TypeError, KeyError, IndexError):
        return None


async def _stream(writer: asyncio.StreamWriter, pace: Pace) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    started_s = time.monotonic()
    for number in range(pace.tokens):
        # Relative to the start, so that a late wake-up does not delay all later tokens.
        pause_s = started_s + number / pace.rate_per_s - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        writer.write(_chunk(_delta({"content": token(number, time.monotonic())})))
        await writer.drain()
    usage = {"prompt_tokens": 1, "completion_tokens": pace.tokens, "total_tokens": pace.tokens + 1}
    writer.write(_chunk(_delta({}, finish_reason="stop", usage=usage)))
    writer.write(_chunk(b"[DONE]") + b"0\r\n\r\n")


def _delta(delta: dict[str, str], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "bench", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
    return json.dumps({**chunk, "choices": [choice], **more}).encode()


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


def _refuse(writer: asyncio.StreamWriter, status: int, message: str) -> None:
    _respond(writer, status, {"error": {"message": message, "code": None}})


def _respond(writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
