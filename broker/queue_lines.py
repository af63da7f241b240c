"""Reads where many waiting requests stand, in one call for each partition. Changes nothing."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts

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
    """The line of one partition at one moment, as far as it was read.

    `parts` are the parts that were read, with their ids. `lengths` has the tenants in turn.
    """

    lengths: dict[str, int]
    parts: dict[Part, list[str]]

    def positions(self) -> dict[str, int]:
        """How many requests will be claimed before each one that was read."""
        found: dict[str, int] = {}
        turns: dict[str, Turns] = {}
        for (tenant, first), ids in self.parts.items():
            count_ahead = turns.setdefault(tenant, self._turns(tenant)).count_ahead
            found |= {id_: count_ahead(first + n) for n, id_ in enumerate(ids)}
        return found

    def _turns(self, tenant: str) -> Turns:
        in_turn = list(self.lengths)
        own = in_turn.index(tenant) if tenant in self.lengths else len(in_turn)
        lengths = list(self.lengths.values())
        return Turns(lengths[:own], lengths[own + 1 :])


class QueueLines:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections, *, most_ids: int = MOST_IDS) -> None:
        self._keys = connections.keys
        self._most_ids = most_ids
        self._scripts = Scripts(connections.commands)

    async def read(self, partition: int, parts: Sequence[Part]) -> Lines:
        """Read the tenants of a partition, and the first ones of `parts` up to a limit of ids."""
        values = [word for part in parts for word in part]
        tenants, lengths, *read = await self._scripts.call(
            "lines",
            [self._keys.ring(partition)],
            *values,
            max_tenants=MOST_TENANTS,
            max_ids=self._most_ids,
            part_size=PART_SIZE,
        )
        return Lines(
            {tenant.decode(): n for tenant, n in zip(tenants, lengths, strict=True)},
            {part: [id_.decode() for id_ in ids] for part, ids in zip(parts, read, strict=False)},
        )
