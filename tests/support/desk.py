"""Where a test submits requests and sees how they end, with workers of this process beside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.support.wait import wait_until
from tickertape.broker.codec import Entry
from tickertape.broker.connections import Connections
from tickertape.broker.fold import Answer, fold
from tickertape.broker.log import Logs
from tickertape.broker.requests import Record, Requests, Submission
from tickertape.runtime.settings import Settings
from tickertape.worker.main import run

TENANT = "public"


class Desk:
    """Submits, cancels and reads."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.connections = Connections(url)
        self.requests = Requests(self.connections, settings)
        self.logs = Logs(self.connections)

    async def ask(self, message: str = "hi", **fields: Any) -> str:
        """Submit one message, or `messages`.

        `params` go upstream, other fields are those of a Submission.
        """
        messages = fields.pop("messages", [{"role": "user", "content": message}])
        payload = {"messages": messages, "params": fields.pop("params", {})}
        submission = Submission(tenant=TENANT, payload=payload, question=messages, **fields)
        return (await self.requests.submit(submission)).request_id

    async def entries(self, request_id: str) -> list[Entry]:
        """The log as it is."""
        return await self.logs.entries(request_id)

    async def record(self, request_id: str) -> Record:
        """The record as it is."""
        return await self.requests.get(request_id, TENANT)

    async def answer(self, request_id: str) -> Answer:
        """The fold of the log as it is."""
        return fold(await self.entries(request_id))

    async def ended(self, request_id: str, timeout_s: float = 15) -> Answer:
        """Wait for the terminal and return the answer."""

        async def over() -> bool:
            return (await self.record(request_id)).is_over

        await wait_until(over, timeout_s=timeout_s, description=f"{request_id} ends")
        return await self.answer(request_id)

    async def says(self, request_id: str, text: str) -> None:
        """Wait until the log says exactly this."""

        async def does() -> bool:
            return "".join((await self.answer(request_id)).text) == text

        await wait_until(does, description=f"the log says {text!r}")


@contextlib.asynccontextmanager
async def open_desk(url: str, settings: Settings) -> AsyncIterator[Desk]:
    """A desk whose connections are closed at the end."""
    desk = Desk(url, settings)
    try:
        yield desk
    finally:
        await desk.connections.aclose()


@contextlib.asynccontextmanager
async def working(url: str, settings: Settings, *, slots: int = 8) -> AsyncIterator[None]:
    """A worker in this process; it ends as if its process was killed."""
    task = asyncio.create_task(run(settings, url, slots=slots), name="worker")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
