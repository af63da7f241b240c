"""One round of one server: readers connect, the source writes, and every event is counted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.box import Box, cpu_s
from bench.load import Latencies, Loaded, Readers, reading
from bench.peers.peer import Peer

# Between the last connection and the first event, so that the work of connecting is over.
_SETTLE_S = 0.3


class Incorrect(RuntimeError):
    """A reader missed an event, or received one twice or out of order. The round is void."""


@dataclass(frozen=True)
class Workload:
    """One log for each element of `readers`, which is the number of its readers.

    Each log gets `events` events at `rate` per second, `group` of them in one call. With
    `may_fall_behind`, events that are not delivered `grace_s` after the source's end are no fault.
    """

    readers: Sequence[int]
    rate: float
    events: int
    group: int = 1
    grace_s: float = 10
    may_fall_behind: bool = False

    @property
    def length_s(self) -> float:
        return self.events / self.rate


@dataclass(frozen=True)
class FanoutRound:
    """The figures of one round. CPU is the server's, from the first event to the last delivery."""

    loaded: Loaded
    cpu_s: float
    redis_cpu_s: float
    wall_s: float

    @property
    def us_per_event(self) -> float:
        """Server CPU per event delivered to one reader, in us."""
        return self.cpu_s / self.loaded.events * 1e6

    @property
    def redis_us_per_event(self) -> float:
        """Redis CPU per delivered event, in us: per token, if each log has one reader."""
        return self.redis_cpu_s / self.loaded.events * 1e6

    @property
    def per_s(self) -> float:
        """Events delivered per second."""
        return self.loaded.events / self.loaded.seconds

    @property
    def cores(self) -> float:
        """The share of a core that the server used while events arrived."""
        return self.cpu_s / self.wall_s

    @property
    def readers_cores(self) -> float:
        """The share of a core that the readers used; near 1, they limit the measurement."""
        return self.loaded.cpu_s / self.wall_s

    @property
    def latencies(self) -> Latencies:
        """The latencies of the first group."""
        return self.loaded.groups[0]


async def play(
    box: Box,
    peer: Peer,
    workload: Workload,
    *,
    redis_pids: Sequence[int] = (),
    beside: Callable[[], Awaitable[None]] | None = None,
) -> FanoutRound:
    """Run a workload on a server once. `beside` runs while events come. Raises Incorrect."""
    paths = await peer.open(len(workload.readers))
    readers = [
        Readers(
            path,
            connections,
            workload.events,
            group=0 if connections == max(workload.readers) else 1,
        )
        for path, connections in zip(paths, workload.readers, strict=True)
    ]
    limit_s = workload.length_s + workload.grace_s
    async with reading(box, peer.port, readers, limit_s=limit_s + _SETTLE_S) as load:
        await asyncio.sleep(_SETTLE_S)
        began_s, server, redis = _now_s(), cpu_s(peer.pids), cpu_s(redis_pids)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(
                peer.publish(rate=workload.rate, events=workload.events, group=workload.group)
            )
            if beside is not None:
                await beside()
            loaded = await load.result()
            played = FanoutRound(
                loaded,
                cpu_s(peer.pids) - server,
                cpu_s(redis_pids) - redis,
                _now_s() - began_s,
            )
            await publishing
    check(peer.name, loaded, may_fall_behind=workload.may_fall_behind)
    await peer.close()
    return played


def check(name: str, loaded: Loaded, *, may_fall_behind: bool = False) -> None:
    """Raise Incorrect unless every reader received every event once and in order."""
    missing = loaded.expected - loaded.events
    if loaded.faults or (missing and not may_fall_behind):
        raise Incorrect(f"{name}: {loaded.faults}, {missing} of {loaded.expected} events missing")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
