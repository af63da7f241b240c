"""The limit of a tenant over all partitions.

The requests of a tenant are counted in its home partition, each by its id: a *seat*. A seat is
taken before the submit, in a step of its own, because no script can change two partitions. The seat
of a request that is over is given up when the limit seems to be reached, so that the end of a
request costs nothing more. See docs/decisions/0030.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tickertape.broker import keys, request_ids
from tickertape.broker.connections import Connections
from tickertape.broker.errors import RateReached, Unavailable
from tickertape.broker.kinds import TERMINALS
from tickertape.broker.lua import Scripts
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.rates import RateLimit, RateRest, encode_limits, read_rests, refusal_of

# A submit is given up sooner, so an older seat without a request has none to come.
GRACE_MS = 30_000
_TTL_S = 86_400
# A home that does not answer must not keep submits from partitions that do.
_HOME_LIMIT_S = 3.0
_TRIES = 3


class Seat(NamedTuple):
    """The limit for the submit of a request, and what is left of the limits that it used up.

    With `refusal`, the request may be found if it exists, and is not let in otherwise.
    """

    limit: int
    rests: tuple[RateRest, ...] = ()
    refusal: RateReached | None = None


class Seats:
    """Takes and gives back seats. With one partition, there are none."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands, limit_s=_HOME_LIMIT_S)

    async def take(
        self,
        present: PartitionMap,
        tenant: str,
        request_id: str,
        tenant_limit: int,
        rates: Sequence[RateLimit] = (),
    ) -> Seat:
        """The tenant's limit in the partition of the request, for its submit.

        This is the limit of the tenant itself if the request has a seat, and 0 without one. If the
        home does not answer, the partition has a share of the limit, rounded up.
        """
        if present.served == 1:
            return Seat(tenant_limit)
        try:
            for _ in range(_TRIES):
                word, (detail,) = await self._scripts.verdict(
                    "seat",
                    [self._seats(present, tenant)],
                    request_id=request_id,
                    tenant_limit=tenant_limit,
                    epoch=present.epoch,
                    rates=encode_limits(rates).rates,
                )
                if word == "OK":
                    return Seat(tenant_limit, read_rests(rates, detail))
                if word == "RATE":
                    return Seat(0, refusal=refusal_of(rates, detail))
                if word == "STALE":
                    await self._count(present, tenant)
                elif await self._in_flight(present, tenant) >= tenant_limit:
                    break
                else:
                    await self._sweep(present, tenant)
        except Unavailable:
            return Seat(-(-tenant_limit // present.partitions))
        return Seat(0)

    async def give_back(
        self,
        present: PartitionMap,
        tenant: str,
        request_id: str,
        rates: Sequence[RateLimit] = (),
    ) -> None:
        """Give up the seat of a request that was not submitted, and what it took of the limits.

        A sweep repeats a lost call for the seat.
        """
        if present.served == 1:
            return
        try:
            await self._give_up(present, tenant, [request_id], grace_ms=0, rates=rates)
        except Unavailable:
            return

    async def _in_flight(self, present: PartitionMap, tenant: str) -> int:
        counts = await self._connections.ask_all(
            [("SCARD", self._keys.in_flight(n, tenant)) for n in range(present.served)]
        )
        return sum(counts)

    async def _count(self, present: PartitionMap, tenant: str) -> None:
        found = await self._connections.ask_all(
            [("SMEMBERS", self._keys.in_flight(n, tenant)) for n in range(present.served)]
        )
        await self._scripts.verdict(
            "count_seats",
            [self._seats(present, tenant)],
            *(request_id for of_partition in found for request_id in of_partition),
            epoch=present.epoch,
            ttl_s=_TTL_S,
        )

    async def _sweep(self, present: PartitionMap, tenant: str) -> None:
        """Give up the seats of requests that are over, and of those that never came."""
        seats = await self._connections.ask("HGETALL", self._seats(present, tenant))
        names = [name.decode() for name in seats]
        ids = [name for name in names if request_ids.parse_partition(name) is not None]
        if not ids:
            return
        states = await self._connections.ask_all(
            [("HGET", self._keys.request(request_id), "state") for request_id in ids]
        )
        known = dict(zip(ids, states, strict=True))
        over = [name for name, state in known.items() if state and state.decode() in TERMINALS]
        missing = [name for name, state in known.items() if not state]
        await self._give_up(present, tenant, over, grace_ms=0)
        await self._give_up(present, tenant, missing, grace_ms=GRACE_MS)

    async def _give_up(
        self,
        present: PartitionMap,
        tenant: str,
        ids: list[str],
        *,
        grace_ms: int,
        rates: Sequence[RateLimit] = (),
    ) -> None:
        if ids:
            await self._scripts.verdict(
                "unseat",
                [self._seats(present, tenant)],
                *ids,
                epoch=present.epoch,
                grace_ms=grace_ms,
                rates=encode_limits(rates).rates,
            )

    def _seats(self, present: PartitionMap, tenant: str) -> str:
        # The users of a tenant share its home, where the rates of the whole tenant are counted.
        home = int(keys.digest("tenant", keys.tenant_of(tenant)), 16) % present.partitions
        return self._keys.seats(home, tenant)
