"""The limit of a tenant over all partitions.

The requests of a tenant are counted in its home partition, each by its id: a *seat*. A seat is
taken before the submit, in a step of its own, because no script can change two partitions. The seat
of a request that is over is given up when the limit seems to be reached, so that the end of a
request costs nothing more. See docs/decisions/0030.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tickertape.broker import keys, request_ids
from tickertape.broker.connections import TIMING, Connections
from tickertape.broker.errors import Refused, TenantLimitReached, Unavailable
from tickertape.broker.kinds import TERMINALS
from tickertape.broker.lua import Scripts
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.principals import tenant_of
from tickertape.broker.rates import RateLimit, RateRest, encode_limits, read_rests, refusal_of
from tickertape.broker.shared_steps import SharedSteps

# A submit is given up sooner, so an older seat without a request has none to come.
GRACE_MS = 30_000
_TTL_S = 86_400
# In a cluster, a home that does not answer must not keep submits from partitions that do.
_HOME_LIMIT_S = 3.0
_TRIES = 3


class SeatLimits(NamedTuple):
    """The most requests of a tenant with all its users, and of one user, that are not over."""

    tenant: int
    user: int | None = None


class Seat(NamedTuple):
    """The limit for the submit of a request, and what is left of the limits that it used up.

    With `refusal`, the request may be found if it exists, and is not let in otherwise.
    """

    limit: int
    rests: tuple[RateRest, ...] = ()
    refusal: Refused | None = None


class Seats:
    """Takes and gives back seats. With one partition, there are none."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        limit_s = _HOME_LIMIT_S if connections.is_cluster else TIMING.command_limit_s
        self._scripts = Scripts(connections.commands, limit_s=limit_s)
        self._rooms = SharedSteps[bool]()

    async def take(
        self,
        present: PartitionMap,
        principal: str,
        request_id: str,
        limits: SeatLimits,
        rates: Sequence[RateLimit] = (),
    ) -> Seat:
        """The tenant's limit in the partition of the request, for its submit.

        This is the limit of the tenant itself if the request has a seat, and 0 without one. If the
        home does not answer in a cluster, the partition has a share of the limit, rounded up. On
        one server the submit would meet the same silence, so this raises Unavailable: a process
        without time for its replies would take the silence for that of the home.
        """
        if present.served == 1:
            return Seat(limits.tenant)
        tenant, whose = tenant_of(principal), b""
        try:
            for _ in range(_TRIES):
                word, (whose,) = await self._scripts.verdict(
                    "seat",
                    [self._seats(present, tenant), self._seats(present, principal)],
                    request_id=request_id,
                    tenant_limit=limits.tenant,
                    user_limit=limits.user or "",
                    epoch=present.epoch,
                    rates=encode_limits(rates).rates,
                )
                if word == "OK":
                    return Seat(limits.tenant, read_rests(rates, whose))
                if word == "RATE":
                    return Seat(0, refusal=refusal_of(rates, whose))
                counted, limit = (principal, limits.user or 0) if whose else (tenant, limits.tenant)
                if word == "STALE":
                    await self._count(present, counted)
                elif not await self._make_room(present, counted, limit):
                    break
        except Unavailable:
            if not self._connections.is_cluster:
                raise
            return Seat(-(-limits.tenant // present.partitions))
        return Seat(0, refusal=too_many_requests(limits, whose=whose.decode()))

    async def give_back(
        self,
        present: PartitionMap,
        principal: str,
        request_id: str,
        limits: SeatLimits,
        rates: Sequence[RateLimit] = (),
    ) -> None:
        """Give up the seat of a request that was not submitted, and what it took of the limits.

        A sweep repeats a lost call for the seat.
        """
        if present.served == 1:
            return
        try:
            tenant = tenant_of(principal)
            await self._give_up(present, tenant, [request_id], grace_ms=0, rates=rates)
            if limits.user is not None:
                await self._give_up(present, principal, [request_id], grace_ms=0)
        except Unavailable:
            return

    async def _make_room(self, present: PartitionMap, counted: str, limit: int) -> bool:
        """Give up seats that are not needed, if the limit is not reached; whether it is not.

        A tenant may send very many submits at its limit, and all of them wait for one look.
        """

        async def look() -> bool:
            if await self._in_flight(present, counted) >= limit:
                return False
            await self._sweep(present, counted)
            return True

        return await self._rooms.run((present.epoch, counted, limit), look)

    async def _in_flight(self, present: PartitionMap, counted: str) -> int:
        numbers = range(present.served)
        own = [("SCARD", self._keys.in_flight(n, counted)) for n in numbers]
        of_users = [("HGET", self._keys.crowd(n), counted) for n in numbers]
        # A user has no field there.
        return sum(int(count or 0) for count in await self._connections.ask_all([*own, *of_users]))

    async def _count(self, present: PartitionMap, counted: str) -> None:
        numbers, principals = range(present.served), {counted}
        if tenant_of(counted) == counted:
            for listed in await self._connections.ask_all(
                [("SMEMBERS", self._keys.tenants(n)) for n in numbers]
            ):
                principals |= {
                    name.decode() for name in listed if tenant_of(name.decode()) == counted
                }
        found = await self._connections.ask_all(
            [("SMEMBERS", self._keys.in_flight(n, each)) for n in numbers for each in principals]
        )
        await self._scripts.verdict(
            "count_seats",
            [self._seats(present, counted)],
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
        return self._keys.seats(home_of(present, tenant), tenant)


def too_many_requests(limits: SeatLimits, *, whose: str) -> TenantLimitReached:
    """The error for a limit that is reached: that of the user, or that of the tenant."""
    name, limit = ("user_concurrent", limits.user) if whose else ("concurrent", limits.tenant)
    return TenantLimitReached(
        f"The limit {name} ({limit}) is reached: so many requests wait or run."
        " Try again when one of them has ended."
    )


def home_of(present: PartitionMap, principal: str) -> int:
    """The partition where a tenant is counted over all partitions, together with its users."""
    return _home_number(tenant_of(principal)) % present.partitions


@lru_cache(10_000)
def _home_number(tenant: str) -> int:
    return int(keys.digest("tenant", tenant), 16)
