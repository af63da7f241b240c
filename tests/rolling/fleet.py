"""Two API processes behind a proxy and two workers, replaced one after the other."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from tests.rolling.balancer import Balancer
from tests.support.deployment import Deployment, port_of
from tests.support.programs import Program
from tests.support.wait import wait_until

SIZE = 2
# Beyond the longest answer: the delay of an API process, and a busy machine.
_END_S = 60.0


@dataclass
class Fleet:
    """What runs. `signal_` ends a process that is replaced: SIGTERM, or SIGKILL in a control."""

    deployment: Deployment
    balancer: Balancer
    apis: list[Program]
    ports: list[int]
    workers: list[Program]
    longest_s: float
    signal_: signal.Signals = signal.SIGTERM

    async def restart_workers(self) -> None:
        """Start the next worker, and then end the one before."""
        for n in range(SIZE):
            successor = await self.deployment.running_worker()
            await self.end(self.workers[n])
            self.workers[n] = successor

    async def restart_apis(self) -> None:
        """End an API process, and then start the next one on its port, as service managers do."""
        for n in range(SIZE):
            await self.end(self.apis[n])
            self.apis[n], _ = await self.deployment.running_api(self.ports[n])
            await self.apis[n].logged("submitted")  # the proxy has noticed it

    async def end(self, program: Program) -> None:
        """Tell a process to end, and wait until it has finished what it had begun."""
        program.signal(self.signal_)
        code = await asyncio.to_thread(program.process.wait, self.longest_s + _END_S)
        assert code == (0 if self.signal_ is signal.SIGTERM else -self.signal_)


async def started(deployment: Deployment) -> tuple[list[Program], list[int], list[Program]]:
    """API processes with their ports, and workers."""
    apis = [await deployment.running_api() for _ in range(SIZE)]
    workers = [await deployment.running_worker() for _ in range(SIZE)]
    return [api for api, _ in apis], [port_of(url) for _, url in apis], workers


async def upgrade(fleet: Fleet, new: Deployment) -> None:
    """Replace every process of an earlier release: docs/restarts.md has the steps."""
    old_apis, old_workers = fleet.apis, fleet.workers
    apis, ports, workers = await started(new)
    # Version 0.1.0 breaks calls off at SIGTERM, so it gets the signal when it has none.
    await fleet.balancer.lead_to(ports, streams_end_within_s=fleet.longest_s + _END_S)
    for api in old_apis:
        await fleet.end(api)
    await are_idle(old_workers, fleet.longest_s + _END_S)
    for worker in old_workers:
        await fleet.end(worker)
    fleet.deployment, fleet.apis, fleet.ports, fleet.workers = new, apis, ports, workers


async def are_idle(workers: Sequence[Program], timeout_s: float) -> None:
    """Wait until workers of version 0.1.0 run nothing, as their logs say."""
    await wait_until(
        lambda: not any(map(_running, workers)),
        timeout_s=timeout_s,
        description="the workers of the earlier release to run nothing",
    )


def _running(worker: Program) -> set[str]:
    begun = {record["request_id"] for record in worker.records("attempt begun")}
    return begun - {record["request_id"] for record in worker.records("request ended")}
