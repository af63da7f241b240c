"""The parts of a measurement of whole answers: the upstream, a real deployment, and the callers.

The compiled upstream (native/upstream.c) generates what the prompt plans. The compiled callers
measure the delay of each delta, and count answers with a lost, repeated or reordered delta.
"""

import asyncio
import contextlib
import io
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.box import OTHERS_CORE, SERVER_CORE, Box, pin
from bench.compiled import compiled
from tests.support.cluster import valkey_cluster
from tests.support.deployment import Deployment, MakeDeployment, port_of
from tests.support.programs import command
from tests.support.servers import in_memory, valkey_server
from tickertape.cli.up.spawn import spawn, stop

# Calls to the upstream itself; through Tickertape on the same wire; through it on the native wire.
DIRECT, THROUGH, NATIVE = "direct", "through", "through, native"
# A delta of the compiled upstream: its number, and when it was written.
_NUMBER = re.compile(r"(\d+)@\d+ ")
_SETTINGS = {"OPENAI_MODEL": "bench", "TICKERTAPE_TENANT_LIMIT": "100000"}


@dataclass(frozen=True)
class Plan:
    """The content of each answer: `deltas` deltas at `rate_per_s` (0: as fast as possible)."""

    deltas: int
    rate_per_s: float = 0
    per_segment: int = 1

    def __str__(self) -> str:
        """The prompt that makes the upstream generate this plan."""
        return f"plan {self.deltas} {self.rate_per_s:g} {self.per_segment}"

    @property
    def length_s(self) -> float:
        return self.deltas / self.rate_per_s if self.rate_per_s else 0.0


class Asked(msgspec.Struct, frozen=True):
    """The measurements of the callers; see native/ask.c."""

    first_us: list[int]
    each_us: list[int]
    took_s: float
    complete: int
    faulty: int


@dataclass(frozen=True)
class Running:
    """A deployment under measurement: its addresses and its process ids."""

    redis_url: str
    upstream_url: str
    api_port: int
    api: int
    workers: list[int]
    redis: list[int]

    def port(self, way: str) -> int:
        """The port to call for this way."""
        return port_of(self.upstream_url.removesuffix("/v1")) if way == DIRECT else self.api_port


@contextlib.contextmanager
def upstream(box: Box) -> Iterator[str]:
    """Run the compiled upstream until the end of the block; yields its base URL."""
    process = spawn([compiled("upstream", box.directory), "0"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        try:
            yield output.readline().decode().strip()
        finally:
            stop(process)


@contextlib.asynccontextmanager
async def deployed(
    box: Box,
    *,
    workers: int = 1,
    slots: int = 1000,
    api_beside_workers: bool = True,
    apis: int = 1,
    partitions: int = 1,
    masters: int = 1,
    replicas: int = 0,
    is_undisturbed: bool = False,
    program: Callable[..., list[str]] = command,
    make: MakeDeployment = Deployment,
    **settings: str,
) -> AsyncIterator[Running]:
    """An API of `apis` processes and workers that are ready. The workers run on the server's core.

    More than one master is a cluster. Only masters count as Redis, not the replicas of each.
    `make` makes the programs, for example those of a release (bench/released.py).
    With `is_undisturbed`, no slow disk delays Redis, and a starved worker loses no lease.
    """
    with (
        _redis(masters, replicas, in_memory() if is_undisturbed else None) as (
            redis_url,
            redis_pids,
        ),
        upstream(box) as upstream_url,
    ):
        # A new directory, because readiness is read from the programs' log files.
        directory = Path(tempfile.mkdtemp(dir=box.directory))
        deployment = make(
            directory,
            redis_url=redis_url,
            upstream_url=upstream_url,
            TICKERTAPE_PARTITIONS=str(partitions),
            TICKERTAPE_LEASE_S="60" if is_undisturbed else "5",
            **_SETTINGS,
            **settings,
        )
        deployment.command = program
        try:
            # Starting many processes takes seconds of CPU, so they start on both cores.
            with box.on_all_cores():
                working = [
                    deployment.start("worker", "worker", f"--slots={slots}") for _ in range(workers)
                ]
                api, api_url = await deployment.running_api(processes=apis)
            for worker in working:
                await worker.logged("working")
            pin([worker.process.pid for worker in working], SERVER_CORE)
            pin([api.process.pid], SERVER_CORE if api_beside_workers else OTHERS_CORE)
            yield Running(
                redis_url=redis_url,
                upstream_url=upstream_url,
                api_port=port_of(api_url),
                api=api.process.pid,
                workers=[worker.process.pid for worker in working],
                redis=redis_pids,
            )
        finally:
            with contextlib.redirect_stdout(io.StringIO()):  # tests print the logs here
                deployment.close()


@contextlib.contextmanager
def _redis(masters: int, replicas: int, parent: Path | None) -> Iterator[tuple[str, list[int]]]:
    if masters == 1:
        with valkey_server(append_only=True, parent=parent) as server:
            yield server.url, [server.process.pid]
    else:
        with valkey_cluster(masters=masters, replicas=replicas) as cluster:
            yield cluster.url, [node.pid for node in cluster.masters()]


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
    """Run `at_once` callers with `each` calls. Raises AssertionError if an answer is faulty."""
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
    """The measurements of the callers. Raises AssertionError if they time out."""
    arguments = [wire, port, at_once, each, int(spread_s * 1000), plan]
    process = await asyncio.create_subprocess_exec(
        compiled("ask", box.directory), *map(str, arguments), stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"the callers timed out: {arguments}"
    return msgspec.json.decode(output, type=Asked)


def numbers_in(text: str) -> list[int]:
    """The numbers of the deltas in a text."""
    return [int(number) for number in _NUMBER.findall(text)]


def check_text(plan: Plan, text: str) -> None:
    """Raise AssertionError unless every delta of the plan is in the text once and in order."""
    assert numbers_in(text) == list(range(plan.deltas)), (
        "a delta was lost, repeated or out of order"
    )
