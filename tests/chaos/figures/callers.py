"""The calls of every measurement: submit, read, cancel, and find a request's owner."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos.client import Client
from tests.chaos.history import History
from tests.chaos.members import Member
from tests.chaos.system import MAX_CRASHES, System
from tests.chaos.tenants import TENANTS
from tests.support.keyspace import KEYS
from tests.support.prompted import Plan
from tests.support.sse import TERMINAL_EVENTS, Event, SseParser
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections


@dataclass
class Read:
    """The events of one connection, with their times. `ended_well`: it ended in order."""

    events: list[Event] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    retry_ms: int | None = None
    ended_well: bool = False

    def time_of(self, kind: str) -> float | None:
        """The time of the first event of a kind."""
        for event, at_s in zip(self.events, self.times_s, strict=True):
            if event.kind == kind:
                return at_s
        return None

    @property
    def cursor(self) -> str:
        """The cursor after which another connection resumes."""
        return next(event.cursor for event in reversed(self.events) if event.cursor)


@dataclass
class Callers:
    """One caller per tenant. All use the first API process, because the second loses pushes."""

    system: System
    clients: list[Client]
    connections: Connections
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The URL of the API process that is called."""
        return self.system.api_urls[0]

    async def submit(self, plan: Plan, client: Client | None = None) -> str:
        """Submit a plan; returns the request's id."""
        client = client or self.clients[0]
        answer = await client.call("POST", "/chat", body={"message": plan.prompt()})
        assert answer.status == 202, answer
        return str(answer.body["request_id"])

    async def cancel(self, request_id: str, client: Client | None = None) -> None:
        """Cancel a request."""
        client = client or self.clients[0]
        answer = await client.call("POST", f"/chat/{request_id}/cancel")
        assert answer.body["status"] == "cancelled", answer

    def read(self, request_id: str, client: Client | None = None, after: str | None = None) -> Read:
        """Read one connection to its end, in the background."""
        read = Read()
        task = asyncio.create_task(
            self._read(read, request_id, client or self.clients[0], after), name="reading"
        )
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return read

    async def owner_of(self, request_id: str) -> Member:
        """The worker process that runs a request, found by the pid in the worker's name."""
        owner = await self.connections.ask("HGET", KEYS.request(request_id), "owner")
        pid = int(owner.decode().partition(":")[0].split("-")[-2])
        return next(member for member in self.system.workers if member.pid == pid)

    async def journal(self) -> list[dict[str, Any]]:
        """Every call the upstream has seen."""
        url = self.system.upstream_url.replace("/v1", "/journal")
        async with self.clients[0].session.get(url) as answer:
            calls: list[dict[str, Any]] = await answer.json()
        return calls

    async def _read(self, read: Read, request_id: str, client: Client, after: str | None) -> None:
        parser = SseParser()
        headers = {**client.headers, **({"Last-Event-ID": after} if after else {})}
        try:
            async with client.session.get(
                f"{self.url}/chat/{request_id}/stream",
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response:
                async for data in response.content.iter_any():
                    now_s = time.monotonic()
                    for event in parser.feed(data):
                        read.events.append(event)
                        read.times_s.append(now_s)
                parser.close()
                read.ended_well = True
        except aiohttp.ClientError:
            pass
        finally:
            read.retry_ms = parser.retry_ms


@contextlib.asynccontextmanager
async def callers(system: System) -> AsyncIterator[Callers]:
    """Callers of a running system."""
    connector = aiohttp.TCPConnector(limit=0)
    connections = Connections(system.engine.url)
    async with aiohttp.ClientSession(connector=connector) as session:
        history = History(max_crashes=MAX_CRASHES)
        clients = [Client(session, system.api_urls[:1], t, history, 0) for t in TENANTS]
        calling = Callers(system, clients, connections)
        try:
            yield calling
        finally:
            tasks = list(calling.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connections.aclose()


async def has_words(read: Read, count: int = 2) -> None:
    """Wait until a reader has seen some of the answer."""
    await wait_until(
        lambda: sum(event.kind == "delta" for event in read.events) >= count,
        timeout_s=20,
        description="a reader to see words",
    )


async def has_ended(read: Read, timeout_s: float = 60) -> None:
    """Wait until a reader has seen the end of its request."""
    await wait_until(
        lambda: bool(read.events) and read.events[-1].kind in TERMINAL_EVENTS,
        timeout_s=timeout_s,
        description="a reader to see the end",
    )


def percentiles(values: list[float], *shares: int) -> str:
    """For example `p50 12 ms, p99 30 ms`; values are in seconds."""
    ordered = sorted(values)
    picked = [ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in shares]
    return ", ".join(
        f"p{share} {value * 1000:.0f} ms" for share, value in zip(shares, picked, strict=True)
    )
