"""The obvious worker: the openai SDK as documented, a task per request, an awaited XADD per delta.

`python -m bench.peers.stock_worker REDIS_URL UPSTREAM_URL` takes prompts from the list `jobs` and
writes each answer to the stream that the job names. No leases, no fence, no retries.
"""

import asyncio
import json
import sys

import uvloop
from openai import AsyncOpenAI
from redis.asyncio import BlockingConnectionPool, Redis


async def _answer(redis: Redis, client: AsyncOpenAI, job: dict[str, str]) -> None:
    stream = await client.chat.completions.create(
        model="bench",
        messages=[{"role": "user", "content": job["prompt"]}],
        stream=True,
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            await redis.xadd(job["log"], {"delta": chunk.choices[0].delta.content})
    await redis.xadd(job["log"], {"done": "1"})


async def _work(redis_url: str, upstream_url: str) -> None:
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=64)
    running: set[asyncio.Task[None]] = set()
    async with (
        Redis.from_pool(pool) as redis,
        AsyncOpenAI(base_url=upstream_url, api_key="key") as client,
    ):
        print("working", flush=True)
        while True:
            popped = await redis.blpop(["jobs"], timeout=1)
            if popped is not None:
                task = asyncio.create_task(_answer(redis, client, json.loads(popped[1])))
                running.add(task)
                task.add_done_callback(running.discard)


if __name__ == "__main__":
    uvloop.run(_work(*sys.argv[1:]))
