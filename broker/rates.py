"""Limits of what a tenant, or one of its users, may use in a time, as SUBMIT checks them.

A limit is a bucket that requests use up and that empties evenly, the whole of it in `window_ms`. A
request reserves tokens when it is submitted. Its end puts what it used in place of that. With
several partitions the buckets are in the tenant's home partition, where the submit takes its seat,
and tokens stay as they were reserved, because no script can change two partitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tickertape.broker.errors import RateReached


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """A limit, and what one request costs of it.

    `name` is that of the rule which sets the limit, and `key` names whose limit it is. `is_settled`
    states that the cost is a reservation, which the end of the request replaces.
    """

    name: str
    key: str
    limit: int
    window_ms: int
    cost: int
    is_settled: bool


@dataclass(frozen=True)
class RateRest:
    """What is left of a limit after a submit, and after how many ms all of it is back."""

    limit: RateLimit
    remaining: int
    reset_ms: int


def encode_limits(limits: Sequence[RateLimit]) -> bytes:
    """The limits as rates.lua reads them; empty without limits."""
    rows = [
        [f"rates:{each.key}", each.name, each.limit, each.window_ms, each.cost, each.is_settled]
        for each in limits
    ]
    return msgspec.json.encode(rows) if rows else b""


def read_rests(limits: Sequence[RateLimit], rests: bytes) -> tuple[RateRest, ...]:
    """The reply of rates.lua to a request that it let in."""
    rows = msgspec.json.decode(rests, type=list[tuple[int, int]]) if rests else []
    return tuple(RateRest(limit, *row) for limit, row in zip(limits, rows, strict=False))


def refusal_of(limits: Sequence[RateLimit], reply: bytes) -> RateReached:
    """The error for the reply of rates.lua to a request that it refused."""
    number, wait_ms = msgspec.json.decode(reply, type=tuple[int, int])
    return RateReached(limits[number].name, limits[number].limit, wait_ms)
