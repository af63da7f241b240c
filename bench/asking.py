"""What answers and asks in a measurement: the upstream, a real deployment, and the callers.

The compiled upstream says what it is asked for (native/upstream.c). The compiled callers say how
long each delta was on its way, and count answers with one lost, repeated or out of order.
"""

import asyncio
import contextlib
import io
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.box import Box
from bench.compiled import compiled
from tests.support.deployment import Deployment, port_of
from tests.support.servers import valkey_server
from tickertape.cli.up.spawn import spawn, stop

# The upstream itself; us, asked in the same words; us, asked natively.
DIRECT, THROUGH, NATIVE = "direct", "through", "through, native"
_SETTINGS = {"OPENAI_MODEL": "bench", "TICKERTAPE_TENANT_LIMIT": "100000"}


@dataclass(frozen=True)
class Plan:
    """What each answer is: so many deltas, at `rate_per_s` (0: as fast as they are taken)."""

    deltas: int
    rate_per_s: float = 0
    per_segment: int = 1

    def __str__(self) -> str:
        """As a prompt."""
        return f"plan {self.deltas} {self.rate_per_s:g} {self.per_segment}"

    @property
    def length_s(self) -> float:
        return self.deltas / self.rate_per_s if self.rate_per_s else 0.0


class Asked(msgspec.Struct, frozen=True):
    """What the callers saw; see native/ask.c."""

    first_us: list[int]
    each_us: list[int]
    complete: int
    faulty: int


@dataclass(frozen=True)
class Running:
    """A deployment under measurement: where it listens, and its processes."""

    redis_url: str
    upstream_url: str
    api_port: int
    api: int
    workers: list[int]
    redis: int

    def port(self, way: str) -> int:
        """Where to ask."""
        return port_of(self.upstream_url.removesuffix("/v1")) if way == DIRECT else self.api_port


@contextlib.contextmanager
def upstream(box: Box) -> Iterator[str]:
    """The compiled upstream for the length of the block: its base URL."""
    process = spawn([compiled("upstream", box.directory), "0"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as said:
        try:
            yield said.readline().decode().strip()
        finally:
            stop(process)


@contextlib.asynccontextmanager
async def deployed(
    box: Box, *, workers: int = 1, slots: int = 1000, api_beside_workers: bool = True
) -> AsyncIterator[Running]:
    """An API process and workers, ready; the workers on the server's core."""
    with valkey_server(append_only=True) as redis, upstream(box) as upstream_url:
        # A directory of its own: what a program has logged says that it is ready.
        directory = Path(tempfile.mkdtemp(dir=box.directory))
        deployment = Deployment(
            directory, redis_url=redis.url, upstream_url=upstream_url, **_SETTINGS
        )
        try:
            with box.on_server_core() if api_beside_workers else contextlib.nullcontext():
                api, api_url = await deployment.running_api()
            with box.on_server_core():
                working = [
                    deployment.start("worker", "worker", f"--slots={slots}") for _ in range(workers)
                ]
            for worker in working:
                await worker.logged("working")
            yield Running(
                redis_url=redis.url,
                upstream_url=upstream_url,
                api_port=port_of(api_url),
                api=api.process.pid,
                workers=[worker.process.pid for worker in working],
                redis=redis.process.pid,
            )
        finally:
            with contextlib.redirect_stdout(io.StringIO()):  # the logs, which tests show
                deployment.close()


async def ask(
    box: Box,
    running: Running,
    way: str,
    plan: Plan,
    *,
    at_once: int,
    each: int = 1,
    spread_s: float = 0,
) -> Asked:
    """Have so many callers ask `each` times; raises AssertionError for an answer with a fault."""
    wire = "native" if way == NATIVE else "openai"
    asked = await call(
        box, wire, running.port(way), plan, at_once=at_once, each=each, spread_s=spread_s
    )
    assert asked.faulty == 0, f"{asked.faulty} answers with lost or repeated deltas"
    assert asked.complete == at_once * each
    return asked


async def call(
    box: Box, wire: str, port: int, plan: Plan, *, at_once: int, each: int, spread_s: float
) -> Asked:
    """What the callers saw; raises AssertionError when nothing came for long."""
    arguments = [wire, port, at_once, each, int(spread_s * 1000), plan]
    process = await asyncio.create_subprocess_exec(
        compiled("ask", box.directory), *map(str, arguments), stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"the callers waited in vain: {arguments}"
    return msgspec.json.decode(said, type=Asked)
