"""Reads streams of the compiled upstream in a separate process, and prints the CPU time it used.

`python -m bench.peers.upstream_reader ours|stock URL STREAMS "plan ..."` prints the us of CPU per
chunk: of the worker's hot path, or of the openai SDK as its documentation shows it.
"""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from openai import AsyncOpenAI

from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
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
            texts = []
            async with upstream.stream(_body(asked), Tally(), Limits()) as stream:
                async for pieces in stream:
                    texts += [piece.text for piece in pieces]
            return texts

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
    measure = {"ours": _ours, "stock": _stock}[who]
    print(uvloop.run(measure(url, int(streams), plan)))


if __name__ == "__main__":
    main()
