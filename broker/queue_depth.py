"""How much waits in the queue, for all tenants together, and by pool. Changes nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tickertape.broker.connections import Connections
from tickertape.broker.keys import Keyspace
from tickertape.broker.pools import UPSTREAM

# The tenants whose lists are measured in each partition. The others are in their queue as well, but
# 200 tenants that wait at once already show that the queue grows.
_MOST_TENANTS = 200


@dataclass(frozen=True)
class PoolDepth:
    """The requests of one pool that could be claimed now, and the age of the oldest one."""

    waiting: int
    oldest_s: float | None


@dataclass(frozen=True)
class QueueDepth:
    """The requests that have not ended, by what they wait for.

    `waiting` requests could be claimed now, if only by a newer worker, and the oldest of them was
    accepted `oldest_s` seconds ago. `delayed` requests are due for another try later, and `held`
    requests wait for the request before them in their conversation. `dead` counts the kept poison
    requests. `claimed_s` is the Unix time at which a worker last asked for work, or None if no
    worker ever did; `now_s` is the time by the clock of Redis. `size_bytes` is what the requests
    that have not ended take. `pools` has each pool that ever had requests.
    """

    waiting: int
    running: int
    delayed: int
    held: int
    dead: int
    oldest_s: float | None
    claimed_s: float | None
    now_s: float
    size_bytes: int = 0
    pools: Mapping[str, PoolDepth] = field(default_factory=dict)


@dataclass(frozen=True)
class LastClaim:
    """When a worker of any version last asked for work, by the clock of Redis, as Unix times."""

    claimed_s: float | None
    now_s: float


async def read_last_claim(connections: Connections) -> LastClaim:
    """The last claim, in one round trip; raises Unavailable."""
    partitions = range(connections.partitions.served)
    (now, *seen) = await connections.ask_all(
        [("TIME",), *(("HGET", connections.keys.load(n), "seen") for n in partitions)]
    )
    return LastClaim(_latest_s(seen), _seconds(now))


async def read_queue_depth(connections: Connections) -> QueueDepth:
    """The state of the queue, in at most five round trips; raises Unavailable."""
    partitions = range(connections.partitions.served)
    now, *counts = await connections.ask_all(
        [
            ("TIME",),
            *(command for n in partitions for command in _counts(connections.keys, n)),
        ]
    )
    parts = [counts[start : start + 5] for start in range(0, len(counts), 5)]
    pools = [(n, UPSTREAM) for n in partitions]
    pools += [(n, pool.decode()) for n, part in enumerate(parts) for pool in part[4]]
    rings, suspects, newer = await _lists(connections, pools)
    owners = await _owners_in_turn(connections, dict(zip(pools, rings, strict=True)))
    lists = [connections.keys.waiting(n, owner, pool) for n, owner, pool in owners]
    ends = await connections.ask_all(
        [command for name in lists for command in (("LLEN", name), ("LINDEX", name, 0))]
    )
    firsts = [
        (pool, first.decode())
        for (_, _, pool), first in zip(owners, ends[1::2], strict=True)
        if first
    ]
    accepted = await connections.ask_all(
        [("HGET", connections.keys.request(first), "created") for _, first in firsts]
    )
    waiting: Counter[str] = Counter()
    for (_, _, pool), length in zip(owners, ends[::2], strict=True):
        waiting[pool] += length
    for (_, pool), *lengths in zip(pools, suspects, newer, strict=True):
        waiting[pool] += sum(lengths)
    running, delayed, dead = (sum(part[n] for part in parts) for n in (1, 2, 3))
    unfinished = sum(int(part[0][0] or 0) for part in parts)
    now_s = _seconds(now)
    oldest_s = _oldest_s(zip((pool for pool, _ in firsts), accepted, strict=True), now_s)
    return QueueDepth(
        waiting=waiting.total(),
        running=running,
        delayed=delayed,
        # The counts are not read at one moment, so a request may be seen in two of them.
        held=max(0, unfinished - waiting.total() - running - delayed),
        dead=dead,
        oldest_s=max(oldest_s.values(), default=None),
        claimed_s=_latest_s(part[0][1] for part in parts),
        now_s=now_s,
        size_bytes=sum(max(0, int(part[0][2] or 0)) for part in parts),
        pools={pool: PoolDepth(count, oldest_s.get(pool)) for pool, count in waiting.items()},
    )


def _oldest_s(accepted: Iterable[tuple[str, bytes | None]], now_s: float) -> dict[str, float]:
    """Pure: how long the oldest of these requests has existed, by its pool."""
    oldest: dict[str, float] = {}
    for pool, created in accepted:
        if created:
            age_s = max(0.0, now_s - int(created) / 1000)
            oldest[pool] = max(age_s, oldest.get(pool, 0.0))
    return oldest


Pool = tuple[int, str]
"""A partition, and the pool there."""


async def _lists(connections: Connections, pools: Sequence[Pool]) -> tuple[Any, Any, Any]:
    """The ring of each pool, and the numbers of its suspects and of those in `newer`."""
    keys = connections.keys
    found = await connections.ask_all(
        [
            command
            for n, pool in pools
            for command in (
                ("LRANGE", keys.ring(n, pool), 0, _MOST_TENANTS - 1),
                ("LLEN", keys.suspect(n, pool)),
                ("ZCARD", keys.newer(n, pool)),
            )
        ]
    )
    return found[::3], found[1::3], found[2::3]


async def _owners_in_turn(
    connections: Connections, rings: Mapping[Pool, list[bytes]]
) -> list[tuple[int, str, str]]:
    """The owners of waiting requests, between the partition and the pool.

    They are tenants, or the users in the place of a tenant.
    """
    places = [(n, place.decode(), pool) for (n, pool), ring in rings.items() for place in ring]
    of_users = [each for each in places if each[1].endswith("~")]
    users = await connections.ask_all(
        [
            (
                "LRANGE",
                connections.keys.users_in_turn(n, place.removesuffix("~"), pool),
                0,
                _MOST_TENANTS - 1,
            )
            for n, place, pool in of_users
        ]
    )
    return [
        *(each for each in places if not each[1].endswith("~")),
        *(
            (n, user.decode(), pool)
            for (n, _, pool), in_turn in zip(of_users, users, strict=True)
            for user in in_turn
        ),
    ]


def _counts(keys: Keyspace, partition: int) -> list[tuple[str | int, ...]]:
    return [
        ("HMGET", keys.load(partition), "count", "seen", "bytes"),
        ("ZCARD", keys.running(partition)),
        ("ZCARD", keys.delayed(partition)),
        ("XLEN", keys.dead(partition)),
        ("SMEMBERS", keys.pools(partition)),
    ]


def _latest_s(seen: Any) -> float | None:
    return max((int(claimed) / 1000 for claimed in seen if claimed), default=None)


def _seconds(time: tuple[int, int]) -> float:
    seconds, microseconds = time
    return seconds + microseconds / 1e6
