"""Tickertape: a real API process, with requests submitted and claimed through the broker.

The source writes with the real append script, as a worker does, but without an upstream.
"""

import asyncio
import contextlib
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from bench.box import Box
from bench.source import publish
from tests.support.deployment import Deployment, MakeDeployment, api_url, port_of
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.programs import command
from tests.support.rig import Rig
from tests.support.servers import ValkeyServer
from tickertape.broker import codec
from tickertape.broker.appender import MAX_ENTRIES
from tickertape.broker.leases import Lease
from tickertape.broker.lua import source

_AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")


class Ours:
    """Logs of one API, on one Redis, with this process as their worker."""

    def __init__(
        self,
        box: Box,
        name: str,
        port: int,
        pids: list[int],
        redis: ValkeyServer,
        append: str | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.pids = pids
        self._box = box
        self._redis = redis
        self._append = append or source("append")
        self._mode = "append-0.1" if append else "append"
        # The bench renews no lease, and no request may be reaped during a round.
        self._settings = GivenSettings(
            redis_url=redis.url, lease_s=300, tenant_limit=100_000, queue_limit=100_000
        )
        self._rig = Rig(redis.url, self._settings)
        self._leases: list[Lease] = []
        self._written = 0
        self._sha = ""

    async def open(self, count: int) -> list[str]:
        """Submit and claim requests, whose logs then contain `queued` and `started`."""
        self._sha = (await self._rig.connections.ask("SCRIPT", "LOAD", self._append)).decode()
        await _each(range(count), lambda _: self._rig.submit())
        self._leases = await _each(range(count), lambda _: self._rig.claim_lease(take=True))
        self._written = 0
        return [f"/chat/{lease.request_id}/stream" for lease in self._leases]

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Append as a worker does: fenced, one entry per delta, `group` deltas per call."""
        limits = (str(MAX_ENTRIES), str(self._settings.max_output_bytes))
        await publish(
            self._box,
            self._mode,
            self._redis.port,
            [_target(lease, self._written + 1) for lease in self._leases],
            rate=rate,
            events=events,
            group=group,
            more=(self._sha, *limits),
            password=urlsplit(self._redis.url).password,
        )
        self._written += events

    async def close(self) -> None:
        """End the requests, which ends their streams."""
        await _each(self._leases, self._finish)
        self._leases = []

    async def disconnect(self) -> None:
        """Close the connections to Redis."""
        await self._rig.aclose()

    async def _finish(self, lease: Lease) -> None:
        terminal = codec.encode_data("completed", {"finish_reason": "stop"})
        gap = await self._rig.queue.finish(lease, "completed", self._written + 1, [terminal])
        if gap is not None:  # the source stopped, because the rate was too high
            assert await self._rig.queue.finish(lease, "completed", gap.seq + 1, [terminal]) is None


@contextlib.asynccontextmanager
async def running(
    box: Box,
    redis: ValkeyServer,
    name: str = "ours",
    *,
    processes: int = 1,
    program: Callable[..., list[str]] = command,
    make: MakeDeployment = Deployment,
    append: str | None = None,
    **settings: str,
) -> AsyncIterator[Ours]:
    """Run an API of `processes` processes until the end of the block.

    `make` makes the program, and `append` is the source of the script that appends, if they are not
    those of this tree (bench/released.py).
    """
    directory = Path(tempfile.mkdtemp(prefix="ours-", dir=box.directory))
    deployment = make(directory, redis_url=redis.url, upstream_url="http://127.0.0.1:9", **settings)
    deployment.command = program
    try:
        with box.on_server_core():
            api = deployment.start("api", "api", "--port=0", f"--processes={processes}")
        await api.logged("ready for requests")
        ours = Ours(box, name, port_of(api_url(api)), [api.process.pid], redis, append)
        try:
            yield ours
        finally:
            await ours.disconnect()
    finally:
        with contextlib.redirect_stdout(io.StringIO()):  # prints the logs of failed tests
            deployment.close()


def _target(lease: Lease, first_seq: int) -> str:
    request_id = lease.request_id
    names = (KEYS.request(request_id), KEYS.log(request_id), KEYS.log_channel(request_id))
    return " ".join([*names, str(lease.attempt), str(first_seq)])


async def _each(items: Iterable[T], act: Callable[[T], Awaitable[R]]) -> list[R]:
    """The results for all items, with a few calls at the same time."""
    waiting, answers = list(items), []
    while waiting:
        now, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        answers += await asyncio.gather(*map(act, now))
    return answers
