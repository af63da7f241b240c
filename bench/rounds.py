"""One round of one server: readers connect, the source writes, every event is accounted for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bench.box import Box, cpu_s
from bench.load import Latencies, Loaded, Readers, reading
from bench.peers.peer import Peer

# After the last connection, before the first event: what opening connections set off is over.
_SETTLE_S = 0.3


class Incorrect(RuntimeError):
    """A reader missed an event, or got one twice or out of order: no figure is worth that."""


@dataclass(frozen=True)
class Shape:
    """`logs` logs at once, each with so many readers and so many events at a rate.

    With `may_fall_behind` what was not delivered `grace_s` after the source's end is no fault.
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
class Round:
    """What it was like. CPU is the server's, from the first event to the last delivery."""

    loaded: Loaded
    cpu_s: float
    redis_cpu_s: float
    wall_s: float

    @property
    def us_per_event(self) -> float:
        """CPU of the server for one event delivered to one reader."""
        return self.cpu_s / self.loaded.events * 1e6

    @property
    def redis_us_per_event(self) -> float:
        """CPU of Redis for one delivered event: for a token, where each log has one reader."""
        return self.redis_cpu_s / self.loaded.events * 1e6

    @property
    def per_s(self) -> float:
        """Events delivered in a second."""
        return self.loaded.events / self.loaded.seconds

    @property
    def cores(self) -> float:
        """Share of a core that the server took while events came."""
        return self.cpu_s / self.wall_s

    @property
    def readers_cores(self) -> float:
        """Share of a core that the load generator took, to see that it was not the limit."""
        return self.loaded.cpu_s / self.wall_s

    @property
    def latencies(self) -> Latencies:
        """Those of the first group."""
        return self.loaded.groups[0]


async def play(box: Box, peer: Peer, shape: Shape, *, redis_pids: Sequence[int] = ()) -> Round:
    """Play a shape on a server once; raises Incorrect."""
    paths = await peer.open(len(shape.readers))
    readers = [
        Readers(
            path, connections, shape.events, group=0 if connections == max(shape.readers) else 1
        )
        for path, connections in zip(paths, shape.readers, strict=True)
    ]
    limit_s = shape.length_s + shape.grace_s
    async with reading(box, peer.port, readers, limit_s=limit_s + _SETTLE_S) as load:
        await asyncio.sleep(_SETTLE_S)
        began_s, server, redis = _now_s(), cpu_s(peer.pids), cpu_s(redis_pids)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(
                peer.publish(rate=shape.rate, events=shape.events, group=shape.group)
            )
            loaded = await load.result()
            played = Round(
                loaded,
                cpu_s(peer.pids) - server,
                cpu_s(redis_pids) - redis,
                _now_s() - began_s,
            )
            await publishing
    check(peer.name, loaded, may_fall_behind=shape.may_fall_behind)
    await peer.close()
    return played


def check(name: str, loaded: Loaded, *, may_fall_behind: bool = False) -> None:
    """Raise Incorrect unless every reader got every event once and in order."""
    missing = loaded.expected - loaded.events
    if loaded.faults or (missing and not may_fall_behind):
        raise Incorrect(f"{name}: {loaded.faults}, {missing} of {loaded.expected} events missing")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
