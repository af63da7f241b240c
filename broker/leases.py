"""What a claim gives to a worker: the lease of one attempt, or nothing."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from tickertape.broker.codec import Cursor
from tickertape.broker.kinds import Opener
from tickertape.broker.pools import UPSTREAM


class Attached(msgspec.Struct, frozen=True):
    """An answer that an upstream keeps: the row of the table, and the upstream's id for it.

    The scripts add `entries` (broker/scripts/lifecycle.lua).
    """

    upstream: str
    id: str


@dataclass(frozen=True)
class Lease:
    """The right to write one attempt of one request.

    `n` counts attempts from 1; `opener` is the kind of this attempt's first entry, and `prev` the
    entry before that. `retries` counts how often the upstream asked for a later call. `trace` is
    the context of the request's trace (runtime/tracing.py), empty without one. `pool` is the
    function that answers the request, empty for the upstream. `attached` is the answer of an
    earlier attempt that an upstream of this worker keeps. `next_ms`: milliseconds until the next
    claim could succeed (0 = now, None = nothing scheduled), as of this claim.

    `claimed_at_s` is the monotonic time of the claim. `waited_s` is the time from the submit to the
    claim, and `away_s` that from the last sign of life of a lost worker to the claim; None without
    a lost worker. Both are by the clock of Redis.
    """

    request_id: str
    attempt: int
    n: int
    opener: Opener
    prev: Cursor
    payload: dict[str, Any]
    crashes: int = 0
    retries: int = 0
    conversation: str = ""
    tenant: str = ""
    trace: str = ""
    pool: str = UPSTREAM
    attached: Attached | None = None
    next_ms: int | None = field(default=0, compare=False)
    claimed_at_s: float = field(default_factory=time.monotonic, compare=False)
    waited_s: float = field(default=0.0, compare=False)
    away_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Nothing:
    """No request can be claimed; `next_ms` as in Lease."""

    next_ms: int | None


def lease_of(details: list[bytes]) -> Lease:
    """The lease in a reply of CLAIM."""
    request_id, attempt, n, opener, prev, payload, crashes, retries, *more = details
    conversation, tenant, next_ms, _, _, created, lost, trace, pool, attached = more
    return Lease(
        request_id=request_id.decode(),
        attempt=int(attempt),
        n=int(n),
        opener=cast("Opener", opener.decode()),
        prev=Cursor.parse(prev),
        payload=msgspec.json.decode(payload),
        crashes=int(crashes),
        retries=int(retries),
        conversation=conversation.decode(),
        tenant=tenant.decode(),
        trace=trace.decode(),
        pool=pool.decode(),
        attached=_attached(attached),
        next_ms=next_ms_of(next_ms),
        # The attempt's number is the time of the claim.
        waited_s=(int(attempt) - int(created or attempt)) / 1000,
        away_s=(int(attempt) - int(lost)) / 1000 if lost else None,
    )


def next_ms_of(detail: bytes) -> int | None:
    """The time until the next claim in a reply of CLAIM."""
    return None if int(detail) < 0 else int(detail)


def _attached(stored: bytes) -> Attached | None:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(stored, type=Attached) if stored else None
    return None
