"""The obvious server, as in FastAPI's guide to server-sent events: a generator that yields.

Each reader has a separate XREAD, and so a separate connection to Redis. obvious.py runs it.
"""

import os
import socket
from collections.abc import AsyncIterable
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=20_000, socket_timeout=None)


@app.get("/read/{key}", response_class=EventSourceResponse)
async def read(key: str) -> AsyncIterable[ServerSentEvent]:
    """Yield all entries of a stream, and then each new one."""
    last = "0"
    while True:
        answer: Any = await redis.xread({key: last}, block=5000)
        for _, entries in answer:
            for entry_id, fields in entries:
                last = entry_id.decode()
                yield ServerSentEvent(data={"text": fields[b"d"].decode()}, id=last)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
