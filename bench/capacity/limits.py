"""Pure: what breaks first as users grow, and what is then changed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.capacity import costs
from bench.capacity.demand import (
    Load,
    api_cores,
    background_calls,
    egress_bytes,
    redis_bytes,
    redis_cores,
    worker_cores,
)
from bench.capacity.plan import ONE_SYSTEM, TERMS, Plan, TooLarge, api_processes, plan

_STEPS = 40
_FEWEST, _MOST = 1.0, 1e9
_MOST_PARTITIONS = 1024
_BACKGROUND_SHARE = 0.1


@dataclass(frozen=True)
class Limit:
    """A limit is reached when `share` of a load is 1. `change` says what is done then."""

    name: str
    share: Callable[[Load], float]
    change: str

    def watchers(self, load: Load) -> float:
        """The number of watchers at which the limit is reached, with the proportions of `load`."""
        low, high = _FEWEST, _MOST
        for _ in range(_STEPS):
            middle = (low * high) ** 0.5
            is_reached = self.share(load.grown(middle / load.watchers)) >= 1
            low, high = (low, middle) if is_reached else (middle, high)
        return high


def by_order(load: Load) -> Sequence[tuple[float, Limit]]:
    """All limits with the watchers at which each is reached, the first one first."""
    return sorted(((each.watchers(load), each) for each in LIMITS), key=lambda pair: pair[0])


def _worker(load: Load) -> float:
    return worker_cores(load, TERMS.busy)


def _api(load: Load) -> float:
    return api_cores(load, 1, TERMS.busy)[0]


def _redis(load: Load) -> float:
    return redis_cores(load, 1, 1, 1.0, 1, TERMS.busy)


def _machine(load: Load) -> float:
    return (_worker(load) + _api(load) + _redis(load)) / TERMS.cores


def _memory(load: Load) -> float:
    return redis_bytes(load) / 1e9 / (TERMS.machine_gb * TERMS.memory_share)


def _network(load: Load) -> float:
    return egress_bytes(load) * 8 / 1e9 / (TERMS.network_gbit * TERMS.busy)


def _scatter(load: Load) -> float:
    """The API cores of readers that are spread by chance, over twice those of routed readers."""
    scattered, _ = api_processes(replace(load, is_routed=False), TERMS)
    routed, _ = api_processes(replace(load, is_routed=True), TERMS)
    return scattered / (2 * routed)


def background_share(whole: Plan) -> float:
    """The share of the masters' cores that calls besides the answers take, in one system."""
    calls = background_calls(whole.workers, whole.apis, whole.partitions)
    return calls * costs.REDIS_CALL.value / 1e6 / whole.masters


def _background(load: Load) -> float:
    try:
        return background_share(plan(load, ONE_SYSTEM)) / _BACKGROUND_SHARE
    except TooLarge:
        return math.inf


def _partitions(load: Load) -> float:
    try:
        return plan(load, ONE_SYSTEM).partitions / _MOST_PARTITIONS
    except TooLarge:
        return math.inf


LIMITS = (
    Limit("a worker has a core to itself and is busy for 60 % of the time", _worker,
          "`tickertape worker --processes N`, then workers on more machines"),
    Limit("an API process is busy for 60 % of the time", _api,
          "`tickertape api --processes N`, then more machines behind a balancer"),
    Limit("one Redis server is busy for 60 % of the time", _redis,
          "a cluster of at least three masters; `tickertape partitions 16`"),
    Limit("a machine with 8 cores is full", _machine,
          "workers, API and Redis on machines of their own"),
    Limit("finished answers fill half of a machine with 32 GB", _memory,
          "more masters on more machines, or a shorter `TICKERTAPE_RETENTION_S`"),
    Limit("the watchers of one machine fill 60 % of 10 Gbit/s", _network,
          "more API machines"),
    Limit("readers that are spread by chance need twice the API processes", _scatter,
          "let the balancer choose the process by the request's id in the path"),
    Limit("calls besides the answers take 10 % of Redis", _background,
          "several systems, each with its own cluster and users"),
    Limit("a cluster has 1,024 partitions", _partitions,
          "several systems, as above"),
)  # fmt: skip
