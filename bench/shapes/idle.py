"""The cost of a waiting reader: memory of the server, and connections to Redis."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.box import Box, resident_kib
from bench.load import Readers, reading
from bench.peers import nchan, ours
from bench.peers.peer import Absent, Peer
from bench.released import CROWD_MUST, VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from tests.support.servers import ValkeyServer, valkey_server
from tickertape.broker.connections import Connections

_COUNTS = (5_000, 10_000)
# Opened and closed first, so that one-time imports and objects do not count as readers.
_WARM_UP = 100
# After this time, the work of opening connections is over.
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Waiting:
    """Measure KiB per reader at each count, and the connections to Redis at the last count."""

    kib: tuple[float, ...]
    redis_connections: int


async def measure(box: Box, *, rounds: int) -> Report:
    """KiB per waiting reader, each count in a new server."""
    counts = [box.some(count) for count in _COUNTS]
    seen: dict[str, list[Waiting]] = {}
    notes = set()
    with valkey_server(append_only=True) as redis:
        for number in range(rounds):
            servers: list[tuple[str, AbstractAsyncContextManager[Peer]]] = [
                ("nchan", nchan.running(box)),
                ("ours", ours.running(box, redis, f"ours-{number}")),
                (VERSION, ours.running(box, redis, VERSION, make=released(box))),
            ]
            for label, running in servers:
                try:
                    seen.setdefault(label, []).append(await _waiting(box, running, counts, redis))
                except Absent as absent:
                    notes.add(f"Skipped: {absent}.")
    return _report(counts, {label: each for label, each in seen.items() if each}, sorted(notes))


async def _waiting(
    box: Box, running: AbstractAsyncContextManager[Peer], counts: Sequence[int], redis: ValkeyServer
) -> Waiting:
    async with running as peer:
        (path,) = await peer.open(1)
        async with reading(box, peer.port, [Readers(path, _WARM_UP, 0)]):
            await asyncio.sleep(_SETTLE_S)
        await asyncio.sleep(_SETTLE_S)
        connections, empty_kib = await _connected(redis), resident_kib(peer.pids)
        kib, more = [], 0
        for count in counts:
            async with reading(box, peer.port, [Readers(path, count, 0)]):
                await asyncio.sleep(_SETTLE_S)
                kib.append((resident_kib(peer.pids) - empty_kib) / count)
                more = await _connected(redis) - connections
        await peer.close()
    return Waiting(tuple(kib), more)


async def _connected(redis: ValkeyServer) -> int:
    """The number of clients of Redis, without the one that counts them."""
    asking = Connections(redis.url)
    try:
        return len((await asking.ask("CLIENT", "LIST")).splitlines()) - 1
    finally:
        await asking.aclose()


def _report(counts: Sequence[int], seen: dict[str, list[Waiting]], notes: list[str]) -> Report:
    kib = {
        label: [Spread(tuple(each.kib[at] for each in rounds)) for at in range(len(counts))]
        for label, rounds in seen.items()
    }
    mine = kib["ours"]
    bounds = [
        Bound(f"memory of each of {count:,} readers", spread, 3, 1.9, unit="KiB")
        for count, spread in zip(counts, mine, strict=True)
    ]
    old = ratios(mine[-1].values, kib[VERSION][-1].values)
    bounds.append(Bound(f"memory at {counts[-1]:,} readers, of 0.1.0's", old, CROWD_MUST))
    if "nchan" in kib:
        spread = ratios(mine[0].values, kib["nchan"][0].values)
        bounds.append(Bound(f"memory at {counts[0]:,} readers, of nchan's", spread, 0.3))
    more = Spread(tuple(float(each.redis_connections) for each in seen["ours"]))
    bounds.append(Bound(f"connections to Redis for {counts[-1]:,} readers", more, 0, unit=""))
    columns = ["server", *(f"KiB for each of {count:,} readers" for count in counts)]
    values = {
        f"{label}, {count:,}": spreads[at].values
        for label, spreads in kib.items()
        for at, count in enumerate(counts)
    }
    return Report(
        tables=[Table(columns, [[label, *map(str, spreads)] for label, spreads in kib.items()])],
        bounds=bounds,
        plots=[Strip("idle", "Readers who wait: every round", "KiB of memory for each", values)],
        notes=notes,
        headline=(
            f"**{mine[-1].median:.1f} KiB of memory for each of {counts[-1]:,} readers** of a quiet"
            " answer, and no connection to Redis."
        ),
    )
