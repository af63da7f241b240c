"""A finished log of 5,000 events, read from its beginning by 50 readers at once.

The obvious version gets five readers. Each takes a second, and more readers are not faster.
Tickertape is measured before the process has read the log (cold), and again afterwards (warm). The
other servers do not distinguish the two.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.box import Box, cpu_s
from bench.contest import Field
from bench.load import Readers, reading
from bench.peers import nchan, obvious, ours
from bench.peers.peer import Peer
from bench.released import CROWD_MUST, VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.rounds import check
from tests.support.servers import valkey_server

_EVENTS = 5000
_JOINERS = 50
_OBVIOUS_JOINERS = 5
# Fast enough for a short round, slow enough for every server.
_WRITE_RATE = 2500


@dataclass(frozen=True)
class Replay:
    """One replay to all readers, from their requests to their last event."""

    per_s: float
    us_per_event: float


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure events per second to all readers together."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(valkey_server(append_only=True))
        field = Field(stack, [])
        peers: list[Peer | None] = [
            await field.start(nchan.running(box)),
            await field.start(obvious.running(box, redis)),
            await field.start(ours.running(box, redis)),
            await field.start(ours.running(box, redis, VERSION, make=released(box))),
        ]
        seen: dict[str, list[Replay]] = {}
        for _ in range(rounds):
            for peer in filter(None, peers):
                (path,) = await peer.open(1)
                await peer.publish(rate=_WRITE_RATE, events=_EVENTS)
                await peer.close()
                for label in _labels(peer):
                    seen.setdefault(label, []).append(await _replay(box, peer, path))
    return _report(seen, field.notes)


def _labels(peer: Peer) -> tuple[str, ...]:
    if peer.name in {"ours", VERSION}:
        return (f"{peer.name}, cold", f"{peer.name}, warm")
    return (peer.name,)


async def _replay(box: Box, peer: Peer, path: str) -> Replay:
    before_s = cpu_s(peer.pids)
    joiners = _OBVIOUS_JOINERS if peer.name == "obvious" else _JOINERS
    readers = [Readers(path, joiners, _EVENTS)]
    async with reading(box, peer.port, readers, limit_s=60, together=True) as load:
        loaded = await load.result()
        used_s = cpu_s(peer.pids) - before_s
    check(peer.name, loaded)
    return Replay(loaded.events / loaded.since_ready_s, used_s / loaded.events * 1e6)


def _report(seen: Mapping[str, Sequence[Replay]], notes: list[str]) -> Report:
    speed = {label: Spread(tuple(each.per_s for each in one)) for label, one in seen.items()}
    cost = {label: Spread(tuple(each.us_per_event for each in one)) for label, one in seen.items()}
    warm = speed["ours, warm"].values
    bounds = [
        Bound(f"events/s, of {whose}", ratios(warm, speed[label].values), must, at_least=True)
        for label, whose, must in (
            ("nchan", "nchan's", 15),
            ("obvious", "the obvious version's", 80),
        )
        if label in speed
    ]
    bounds += [
        Bound(
            f"CPU per event, {state}, of 0.1.0's",
            ratios(cost[f"ours, {state}"].values, cost[f"{VERSION}, {state}"].values),
            CROWD_MUST,
        )
        for state in ("cold", "warm")
    ]
    rows = [[label, str(speed[label]), str(cost[label])] for label in speed]
    return Report(
        tables=[Table(("server", "events/s", "CPU per event, us"), rows)],
        bounds=bounds,
        plots=[
            Strip(
                "replay",
                "50 readers join a finished log of 5,000 events: every round",
                "events/s",
                {label: each.values for label, each in speed.items()},
            )
        ],
        notes=notes,
    )
