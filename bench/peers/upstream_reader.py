"""Reads streams of the compiled upstream in a separate process, and prints the CPU time it used.

`python -m bench.peers.upstream_reader WHO URL STREAMS "plan ..."` prints the us of CPU per chunk of
the worker's hot path (`ours`), of the openai SDK as its documentation shows it (`stock`), of the
hot path of release 0.1.0 (`released`, whose tree RELEASE has to name), or of a reader that is only
httptools and the worker's decoder, with a new connection for each answer (`bare`).
"""

import asyncio
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop
from openai import AsyncOpenAI

from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.body_decoder import BodyDecoder
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

_DELTA = re.compile(r"(\d+)@\d+ ")

Read = Callable[[str], Awaitable[list[str]]]


def _body(plan: str) -> dict[str, Any]:
    return {"model": "bench", "messages": [{"role": "user", "content": plan}]}


async def _measure(read: Read, streams: int, plan: str) -> float:
    """CPU time of this process per delta, in us. Raises AssertionError if one is missing."""
    deltas = int(plan.split()[1])
    await read("plan 10 0 1")  # a warm-up, so that imports do not count
    began_s = time.process_time()
    answers = await asyncio.gather(*(read(plan) for _ in range(streams)))
    took_s = time.process_time() - began_s
    for texts in answers:
        numbers = [int(number) for number in _DELTA.findall("".join(texts))]
        assert numbers == list(range(deltas)), "a delta was lost, repeated or out of order"
    return took_s / streams / deltas * 1e6


async def _ours(url: str, streams: int, plan: str) -> float:
    async with Upstream(url, "key") as upstream:

        async def read(asked: str) -> list[str]:
            texts: list[str] = []

            def take(pieces: list[Piece]) -> bool:
                texts.extend(piece.text for piece in pieces)
                return True

            async with upstream.stream(_body(asked), Tally(), Limits()) as stream:
                await stream.deliver(take, _has_room)
            return texts

        return await _measure(read, streams, plan)


async def _has_room() -> None:
    """Return, because this process keeps all pieces."""


async def _released(url: str, streams: int, plan: str) -> float:
    sys.path.insert(0, os.environ["RELEASE"])
    client = importlib.import_module("worker.upstream").Upstream
    tally = importlib.import_module("worker.chunks").Tally
    async with client(url, "key") as upstream:

        async def read(asked: str) -> list[str]:
            texts = []
            async with upstream.stream(_body(asked), tally()) as stream:
                async for pieces in stream:
                    texts += [piece.text for piece in pieces]
            return texts

        return await _measure(read, streams, plan)


class _Bare(asyncio.Protocol):
    """One call on a new connection, whose texts `done` gets."""

    def __init__(self, body: bytes, done: "asyncio.Future[list[str]]") -> None:
        self._body, self._done = body, done
        self._parser = httptools.HttpResponseParser(self)
        self._decoder, self._reader = BodyDecoder(2**20), ChunkReader(Tally())
        self._texts: list[str] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self._body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + self._body)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, segment: bytes) -> None:
        for data in self._decoder.feed(segment):
            self._texts += [piece.text for piece in self._reader.read(data)]

    def on_message_complete(self) -> None:
        self._transport.close()
        self._done.set_result(self._texts)


async def _bare(url: str, streams: int, plan: str) -> float:
    loop = asyncio.get_running_loop()
    address = urlsplit(url)

    async def read(asked: str) -> list[str]:
        body = json.dumps(_body(asked) | {"stream": True}).encode()
        done: asyncio.Future[list[str]] = loop.create_future()
        await loop.create_connection(
            lambda: _Bare(body, done), address.hostname or "", address.port or 80
        )
        return await done

    return await _measure(read, streams, plan)


async def _stock(url: str, streams: int, plan: str) -> float:
    async with AsyncOpenAI(base_url=url, api_key="key") as client:

        async def read(asked: str) -> list[str]:
            chunks = await client.chat.completions.create(**_body(asked), stream=True)
            return [
                chunk.choices[0].delta.content
                async for chunk in chunks
                if chunk.choices and chunk.choices[0].delta.content
            ]

        return await _measure(read, streams, plan)


def main() -> None:
    """Measure and print."""
    who, url, streams, plan = sys.argv[1:]
    measure = {"ours": _ours, "stock": _stock, "released": _released, "bare": _bare}[who]
    print(uvloop.run(measure(url, int(streams), plan)))


if __name__ == "__main__":
    main()
