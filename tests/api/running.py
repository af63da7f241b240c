"""The real app on a real socket, in the test's own loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.wait import wait_until
from tickertape.api.app import create_app
from tickertape.api.services import Services
from tickertape.api.serving.server import DrainingServer
from tickertape.roles import Roles
from tickertape.runtime.settings import Settings


@dataclass
class RunningApi:
    """`client` calls it at its address; `problems` are the reasons it gave for giving up."""

    url: str
    client: httpx2.AsyncClient
    server: DrainingServer
    services: Services
    problems: list[str]

    async def submit(self, message: str = "hi", **fields: Any) -> str:
        """Submit a request and return its id."""
        answer = await self.client.post("/chat", json={"message": message, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    async def read(self, request_id: str) -> dict[str, Any]:
        """The request as `GET /chat/{id}` shows it."""
        answer = await self.client.get(f"/chat/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def is_ready(self) -> bool:
        return (await self.client.get("/readyz")).status_code == 200


@contextlib.asynccontextmanager
async def running_api(
    redis_url: str,
    *,
    roles: Roles | None = None,
    open_to_all: bool = False,
    wait_for_redis: bool = True,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningApi]:
    """Run the app for the length of the block; open streams end with it."""
    problems: list[str] = []
    app = create_app(
        Settings(redis_url=redis_url, **settings),
        roles=roles,
        open_to_all=open_to_all,
        on_fatal=problems.append,
    )
    server = DrainingServer(app)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.serve([listener]), name="server")
    try:
        await wait_until(lambda: server.started, description="the server listens")
        services: Services = app.state.services
        # No TLS here, and loading all certificate authorities would be half of a test's time.
        async with httpx2.AsyncClient(
            base_url=url, headers=headers, timeout=20, verify=False
        ) as client:
            api = RunningApi(url, client, server, services, problems)
            if wait_for_redis:
                await wait_until(api.is_ready, description="the API is ready")
            yield api
    finally:
        app.state.services.streams.drain()
        server.should_exit = True
        await serving
