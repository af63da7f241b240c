"""Pure: what a load needs. Processes, machines, partitions, memory, network and money."""

import math
from dataclasses import dataclass, replace

from bench.capacity.demand import (
    Load,
    api_bytes,
    api_cores,
    egress_bytes,
    inside_bytes,
    partitions_for,
    redis_bytes,
    redis_cores,
    worker_bytes,
    worker_cores,
)

_GB = 1e9
_MONTH_S = 30 * 86_400
_MOST_MASTERS = 100_000


@dataclass(frozen=True)
class Terms:
    """What is bought, and how full it may be. Prices are assumptions, in dollars for a month."""

    busy: float = 0.6
    cores: int = 8
    machine_gb: float = 32
    network_gbit: float = 10
    machine_usd: float = 250
    # A core for each server, and one for its file, its rewrites and the kernel.
    redis_per_machine: int = 4
    replicas: int = 1
    egress_usd_per_gb: float = 0.05
    mean_of_peak: float = 0.4
    # Of the memory of Redis, for rewrites, replicas that catch up, and holes.
    memory_share: float = 0.5
    # As much as one system serves; more users get more systems, each with a cluster.
    watchers_of_a_system: float = 100_000
    generations_of_a_system: float = 10_000


TERMS = Terms()
ONE_SYSTEM = replace(TERMS, watchers_of_a_system=1e12, generations_of_a_system=1e12)


@dataclass(frozen=True)
class Plan:
    """The means for a load. Whole systems, each with the same means; totals are of all systems."""

    load: Load
    terms: Terms
    systems: int
    workers: int
    apis: int
    masters: int
    partitions: int
    readers_of_a_process: float
    redis_gb: float
    api_gb: float
    worker_gb: float
    egress_gbit: float
    inside_gbit: float
    worker_machines: int
    api_machines: int
    redis_machines: int

    @property
    def machines(self) -> int:
        return self.worker_machines + self.api_machines + self.redis_machines

    @property
    def machines_usd(self) -> float:
        return self.machines * self.terms.machine_usd

    @property
    def egress_usd(self) -> float:
        gigabytes = self.egress_gbit / 8 * _MONTH_S * self.terms.mean_of_peak
        return gigabytes * self.terms.egress_usd_per_gb

    @property
    def usd(self) -> float:
        return self.machines_usd + self.egress_usd

    @property
    def usd_per_million_tokens(self) -> float:
        return self.usd / (self.load.tokens * _MONTH_S * self.terms.mean_of_peak / 1e6)

    @property
    def cores_by_process(self) -> dict[str, int]:
        """The processes of each kind, each of which has a core."""
        return {"worker": self.workers, "API": self.apis, "Redis": self.masters}


class TooLarge(ValueError):
    """No cluster is large enough for one system with this load: it needs several systems."""


def plan(load: Load, terms: Terms = TERMS) -> Plan:
    """What this load needs, divided over as few systems as the terms allow. Raises TooLarge."""
    systems = math.ceil(
        max(
            load.watchers / terms.watchers_of_a_system,
            load.generations / terms.generations_of_a_system,
        )
    )
    return _times(_system(load.grown(1 / systems), terms), systems, load)


def api_processes(load: Load, terms: Terms) -> tuple[int, float]:
    """The number of API processes, and of those that read one log.

    More processes spread the readers more, and a log with more processes costs more of them.
    """
    processes = 1
    while True:
        needed, spread = api_cores(load, processes, terms.busy)
        if needed <= processes:
            return processes, spread
        processes = max(processes + 1, math.ceil(needed))


def _system(load: Load, terms: Terms) -> Plan:
    """The plan of one system."""
    workers = math.ceil(worker_cores(load, terms.busy))
    apis, spread = api_processes(load, terms)
    masters = _masters(load, workers, apis, spread, terms)
    api_gb = api_bytes(load, apis, spread) / _GB
    worker_gb = worker_bytes(load, workers) / _GB
    egress = egress_bytes(load) * 8 / _GB
    return Plan(
        load=load,
        terms=terms,
        systems=1,
        workers=workers,
        apis=apis,
        masters=masters,
        partitions=partitions_for(masters),
        readers_of_a_process=load.readers / spread,
        redis_gb=redis_bytes(load) / _GB,
        api_gb=api_gb,
        worker_gb=worker_gb,
        egress_gbit=egress,
        inside_gbit=inside_bytes(load, spread, terms.replicas) * 8 / _GB,
        worker_machines=_machines(workers, worker_gb, 0, terms),
        api_machines=_machines(apis, api_gb, egress, terms),
        redis_machines=math.ceil(masters * (1 + terms.replicas) / terms.redis_per_machine),
    )


def _times(one: Plan, systems: int, load: Load) -> Plan:
    """The plan of so many equal systems, which serve `load` together."""
    return replace(
        one,
        load=load,
        systems=systems,
        workers=systems * one.workers,
        apis=systems * one.apis,
        masters=systems * one.masters,
        redis_gb=systems * one.redis_gb,
        api_gb=systems * one.api_gb,
        worker_gb=systems * one.worker_gb,
        egress_gbit=systems * one.egress_gbit,
        inside_gbit=systems * one.inside_gbit,
        worker_machines=systems * one.worker_machines,
        api_machines=systems * one.api_machines,
        redis_machines=systems * one.redis_machines,
    )


def _masters(load: Load, workers: int, apis: int, spread: float, terms: Terms) -> int:
    """Masters with room for the calls and for the data. A cluster has three at least."""
    by_memory = redis_bytes(load) / _GB / terms.memory_share / terms.machine_gb
    masters = max(1, math.ceil(by_memory * terms.redis_per_machine))
    while True:
        needed = redis_cores(load, workers, apis, spread, masters, terms.busy)
        if needed <= masters:
            return masters if masters == 1 else max(masters, 3)
        if needed > _MOST_MASTERS:
            raise TooLarge
        masters = max(masters + 1, math.ceil(needed))


def _machines(processes: int, gigabytes: float, gbit: float, terms: Terms) -> int:
    return math.ceil(
        max(
            processes / terms.cores,
            gigabytes / terms.machine_gb,
            gbit / terms.network_gbit / terms.busy,
        )
    )
