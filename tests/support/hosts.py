"""An application of a user's own, served by uvicorn in the event loop of the test."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI

from tests.support.wait import wait_until
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol
from tickertape.api.mounting import router_of

# `make test-mounted` sets this variable: the API of every test is part of another application then.
MOUNT_PATH = os.environ.get("TEST_MOUNT_PATH", "")


def in_host(app: FastAPI) -> FastAPI:
    """A host application with the given app below MOUNT_PATH. Both have the same state."""
    host = FastAPI()
    host.include_router(router_of(app, MOUNT_PATH, None))
    host.state = app.state
    return host


@contextlib.asynccontextmanager
async def serving(app: FastAPI, *, hands_over: bool = False) -> AsyncIterator[str]:
    """Serve the app for the length of the block; its address."""
    http = HandoverProtocol if hands_over else "httptools"
    config = uvicorn.Config(app, http=http, lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve([listener]), name="host")
    try:
        await wait_until(lambda: server.started or task.done(), description="the host listens")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
