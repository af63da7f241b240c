"""Limits of what a tenant, or one of its users, may use in a time, as SUBMIT checks them.

A limit is a bucket that requests use up and that empties evenly, the whole of it in `window_ms`. A
request reserves tokens when it is submitted. Its end puts what it used in place of that. With
several partitions the buckets are in the tenant's home partition, where the submit takes its seat;
settlements.py carries what requests of other partitions have used there.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec

from tickertape.broker.errors import RateReached

MILLIONTHS = 1_000_000
"""Limits of money are counted in millionths."""

_ENCODER = msgspec.json.Encoder()
_RESTS = msgspec.json.Decoder(list[tuple[int, int]])
_REFUSAL = msgspec.json.Decoder(tuple[int, int, list[tuple[int, int]]])


class RateLimit(NamedTuple):
    """A limit, and what one request costs of it.

    `name` is that of the rule which sets the limit, and `key` names whose limit it is. With prices,
    the cost is a reservation: the end of the request puts in its place what the tokens of its input
    and of its output cost, in units of the limit.
    """

    name: str
    key: str
    limit: int
    window_ms: int
    cost: float
    input_price: float = 0
    output_price: float = 0


class RateRest(NamedTuple):
    """What is left of a limit after a submit, and after how many ms all of it is back."""

    limit: RateLimit
    remaining: int
    reset_ms: int


class EncodedLimits(NamedTuple):
    """Limits as rates.lua reads them, and those of them that the end of the request settles."""

    rates: bytes = b""
    settled: bytes = b""


def encode_limits(limits: Sequence[RateLimit]) -> EncodedLimits:
    """The limits in JSON, empty without limits. Those of one key are successive."""
    if not limits:
        return EncodedLimits()
    accounts, settled = [], []
    for key, group in groupby(limits, _key):
        own = [(each.name, *each[2:]) for each in group]
        accounts.append((f"rates:{key}", own))
        if priced := [each for each in own if each[-1] or each[-2]]:
            settled.append((f"rates:{key}", priced))
    return EncodedLimits(_ENCODER.encode(accounts), _ENCODER.encode(settled) if settled else b"")


_key = attrgetter("key")


def read_rests(limits: Sequence[RateLimit], rests: bytes) -> tuple[RateRest, ...]:
    """The reply of rates.lua to a request that it let in."""
    return _rests(limits, _RESTS.decode(rests) if rests else [])


def refusal_of(limits: Sequence[RateLimit], reply: bytes) -> RateReached:
    """The error for the reply of rates.lua to a request that it refused."""
    number, wait_ms, rows = _REFUSAL.decode(reply)
    name, limit = limits[number].name, float(limits[number].limit)
    rests = _rests(limits, rows)
    return RateReached(name, limit / MILLIONTHS if "spend" in name else limit, wait_ms, rests)


def _rests(limits: Sequence[RateLimit], rows: list[tuple[int, int]]) -> tuple[RateRest, ...]:
    return tuple(RateRest(limit, *row) for limit, row in zip(limits, rows, strict=False))
