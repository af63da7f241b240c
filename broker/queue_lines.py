"""Reads where many waiting requests stand, in one call for each partition. Changes nothing."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.principals import account_in_turn

# At most this many tenants of the ring are counted.
MOST_TENANTS = 1000
PART_SIZE = 1000
# A call that reads so many ids takes Redis about a millisecond.
MOST_IDS = 5000

Part = tuple[str, int]
"""A tenant, and the place in its waiting list where the part begins."""


class Turns:
    """Pure: how many requests are claimed before one of a tenant, while the tenants take turns."""

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        """The lengths of the lists of the tenants whose next turn is before or after this one."""
        self._before, self._after = sorted(before), sorted(after)
        self._sum_before = [0, *accumulate(self._before)]
        self._sum_after = [0, *accumulate(self._after)]

    def count_ahead(self, place: int) -> int:
        """The claims before the request at a place, counted from 0, of the tenant's list."""
        return (
            place
            + _claims(self._before, self._sum_before, place + 1)
            + _claims(self._after, self._sum_after, place)
        )


def _claims(lengths: list[int], sums: list[int], turns: int) -> int:
    """How many requests tenants with lists of these lengths get in so many turns each."""
    short = bisect_left(lengths, turns)
    return sums[short] + (len(lengths) - short) * turns


@dataclass(frozen=True)
class Lines:
    """The line of one pool of a partition at one moment, as far as it was read.

    `parts` are the parts that were read, with their ids. `lengths` has the tenants in turn; the
    users of a tenant are successive and have their turns in those of the tenant.
    """

    lengths: dict[str, int]
    parts: dict[Part, list[str]]

    def positions(self) -> dict[str, int]:
        """How many requests will be claimed before each one that was read."""
        groups: dict[str, dict[str, int]] = {}
        for owner, length in self.lengths.items():
            groups.setdefault(account_in_turn(owner), {})[owner] = length
        totals = {account: sum(owners.values()) for account, owners in groups.items()}
        turns = cache(partial(_turns_of, totals))
        found: dict[str, int] = {}
        for (owner, first), ids in self.parts.items():
            account = account_in_turn(owner)
            inside, outside = _turns_of(groups.get(account, {}), owner), turns(account)
            for n, id_ in enumerate(ids):
                found[id_] = outside.count_ahead(inside.count_ahead(first + n))
        return found


def _turns_of(lengths: Mapping[str, int], own: str) -> Turns:
    in_turn, counts = list(lengths), list(lengths.values())
    at = in_turn.index(own) if own in lengths else len(in_turn)
    return Turns(counts[:at], counts[at + 1 :])


class QueueLines:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections, *, most_ids: int = MOST_IDS) -> None:
        self._keys = connections.keys
        self._most_ids = most_ids
        self._scripts = Scripts(connections.commands)

    async def read(self, partition: int, parts: Sequence[Part], pool: str = UPSTREAM) -> Lines:
        """Read the tenants of a pool, and the first ones of `parts` up to a limit of ids."""
        values = [word for part in parts for word in part]
        tenants, lengths, *read = await self._scripts.call(
            "lines",
            [self._keys.ring(partition, pool)],
            *values,
            max_tenants=MOST_TENANTS,
            max_ids=self._most_ids,
            part_size=PART_SIZE,
            pool=pool,
        )
        return Lines(
            {tenant.decode(): n for tenant, n in zip(tenants, lengths, strict=True)},
            {part: [id_.decode() for id_ in ids] for part, ids in zip(parts, read, strict=False)},
        )
