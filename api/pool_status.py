"""Pure: what waits for each function, as operators see it."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric
from pydantic import BaseModel, Field

from tickertape.broker.fleet import Members
from tickertape.broker.pools import UPSTREAM, shown_name
from tickertape.broker.queue_depth import QueueDepth
from tickertape.runtime.metric_families import gauge

# No function has a name with brackets.
_GONE = "(gone)"


class PoolStatus(BaseModel):
    """The requests of one function, or of the upstream, and the workers that take them."""

    name: str = Field(
        description="The function's name; `(upstream)`; or `(gone)` for all functions together that"
        " no worker has announced for an hour"
    )
    waiting: int
    oldest_s: float | None
    workers: int


def pools_of(members: Members, depth: QueueDepth) -> list[PoolStatus]:
    """The upstream, and the functions that workers have announced, by their names.

    Requests of other functions wait, too. They are one row together, because names that workers had
    long ago would be more rows with each release of a user's program.
    """
    served = {pool for seen in members.workers for pool in seen.report.pools}
    known = {UPSTREAM, *served, *members.announced}
    rows = [_row(shown_name(pool), [pool], depth, members.workers_of(pool)) for pool in known]
    gone = [pool for pool, found in depth.pools.items() if pool not in known and found.waiting]
    if gone:
        rows.append(_row(_GONE, gone, depth, workers=0))
    return sorted(rows, key=lambda row: row.name)


def _row(name: str, pools: Sequence[str], depth: QueueDepth, workers: int) -> PoolStatus:
    found = [depth.pools[pool] for pool in pools if pool in depth.pools]
    oldest_s = max((each.oldest_s for each in found if each.oldest_s is not None), default=None)
    return PoolStatus(
        name=name,
        waiting=sum(each.waiting for each in found),
        oldest_s=None if oldest_s is None else round(oldest_s, 1),
        workers=workers,
    )


def pool_metrics(pools: list[PoolStatus]) -> Iterator[Metric]:
    """The same as gauges."""
    yield gauge(
        "tickertape_pool_waiting", "Requests that a worker of this pool could claim now",
        "pool", {pool.name: pool.waiting for pool in pools},
    )  # fmt: skip
    yield gauge(
        "tickertape_pool_oldest_wait_seconds",
        "How long the oldest request of this pool has waited; 0 without one",
        "pool", {pool.name: pool.oldest_s or 0.0 for pool in pools},
    )  # fmt: skip
    yield gauge(
        "tickertape_pool_workers", "Workers that claim requests of this pool",
        "pool", {pool.name: pool.workers for pool in pools},
    )  # fmt: skip
