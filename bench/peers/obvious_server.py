"""What one writes first: FastAPI, a generator and an XREAD for each reader. Run by obvious.py."""

import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=20_000, socket_timeout=None)


@app.get("/read/{key}")
async def read(key: str) -> StreamingResponse:
    """All entries of a stream, and then those that follow."""
    return StreamingResponse(_events(key), media_type="text/event-stream")


async def _events(key: str) -> AsyncIterator[str]:
    last = "0"
    while True:
        answer: Any = await redis.xread({key: last}, block=5000)
        for _, entries in answer:
            for entry_id, fields in entries:
                last = entry_id.decode()
                yield f"id: {last}\ndata: {fields[b'd'].decode()}\n\n"


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
