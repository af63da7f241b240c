"""How much waits in the queue, for all tenants together. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tickertape.broker.connections import Connections
from tickertape.broker.keys import Keyspace

# The tenants whose lists are measured in each partition. The others are in their queue as well, but
# 200 tenants that wait at once already show that the queue grows.
_MOST_TENANTS = 200


@dataclass(frozen=True)
class QueueDepth:
    """The requests that have not ended, by what they wait for.

    `waiting` requests could be claimed now, if only by a newer worker, and the oldest of them was
    accepted `oldest_s` seconds ago. `delayed` requests are due for another try later, and `held`
    requests wait for the request before them in their conversation. `dead` counts the kept poison
    requests. `claimed_s` is the Unix time at which a worker last asked for work, or None if no
    worker ever did; `now_s` is the time by the clock of Redis. `size_bytes` is what the requests
    that have not ended take.
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
    """The state of the queue, in at most four round trips; raises Unavailable."""
    partitions = range(connections.partitions.served)
    now, *counts = await connections.ask_all(
        [
            ("TIME",),
            *(command for n in partitions for command in _counts(connections.keys, n)),
        ]
    )
    parts = [counts[start : start + 7] for start in range(0, len(counts), 7)]
    owners = await _owners_in_turn(connections, [part[3] for part in parts])
    lists = [connections.keys.waiting(n, owner) for n, owner in owners]
    ends = await connections.ask_all(
        [command for name in lists for command in (("LLEN", name), ("LINDEX", name, 0))]
    )
    accepted = await connections.ask_all(
        [
            ("HGET", connections.keys.request(first.decode()), "created")
            for first in ends[1::2]
            if first
        ]
    )
    waiting = sum(ends[::2]) + sum(part[4] + part[6] for part in parts)
    running, delayed, dead = (sum(part[n] for part in parts) for n in (1, 2, 5))
    unfinished = sum(int(part[0][0] or 0) for part in parts)
    now_s = _seconds(now)
    oldest_ms = min((int(created) for created in accepted if created), default=None)
    return QueueDepth(
        waiting=waiting,
        running=running,
        delayed=delayed,
        # The counts are not read at one moment, so a request may be seen in two of them.
        held=max(0, unfinished - waiting - running - delayed),
        dead=dead,
        oldest_s=None if oldest_ms is None else max(0.0, now_s - oldest_ms / 1000),
        claimed_s=_latest_s(part[0][1] for part in parts),
        now_s=now_s,
        size_bytes=sum(max(0, int(part[0][2] or 0)) for part in parts),
    )


async def _owners_in_turn(
    connections: Connections, rings: Sequence[list[bytes]]
) -> list[tuple[int, str]]:
    """The owners of waiting requests, with the partition: tenants, or the users in their place."""
    places = [(n, place.decode()) for n, ring in enumerate(rings) for place in ring]
    of_users = [(n, place.removesuffix("~")) for n, place in places if place.endswith("~")]
    users = await connections.ask_all(
        [
            ("LRANGE", connections.keys.users_in_turn(n, tenant), 0, _MOST_TENANTS - 1)
            for n, tenant in of_users
        ]
    )
    return [
        *((n, place) for n, place in places if not place.endswith("~")),
        *(
            (n, user.decode())
            for (n, _), in_turn in zip(of_users, users, strict=True)
            for user in in_turn
        ),
    ]


def _counts(keys: Keyspace, partition: int) -> list[tuple[str | int, ...]]:
    return [
        ("HMGET", keys.load(partition), "count", "seen", "bytes"),
        ("ZCARD", keys.running(partition)),
        ("ZCARD", keys.delayed(partition)),
        ("LRANGE", keys.ring(partition), 0, _MOST_TENANTS - 1),
        ("LLEN", keys.suspect(partition)),
        ("XLEN", keys.dead(partition)),
        ("ZCARD", keys.newer(partition)),
    ]


def _latest_s(seen: Any) -> float | None:
    return max((int(claimed) / 1000 for claimed in seen if claimed), default=None)


def _seconds(time: tuple[int, int]) -> float:
    seconds, microseconds = time
    return seconds + microseconds / 1e6
