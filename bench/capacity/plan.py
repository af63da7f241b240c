"""Pure: what a load needs. Cores, processes, machines, partitions, memory, network and money."""

import math
from dataclasses import dataclass, replace

from bench.capacity import costs
from bench.capacity.turns import rate_at

_KIB, _MIB, _GB = 1024, 1024**2, 1e9
_MONTH_S = 30 * 86_400
# Four partitions for each master leave room for more masters (docs/redis.md).
_PARTITIONS_PER_MASTER = 4
_HEARTBEAT_S = 15
_MOST_MASTERS = 100_000
# Tokens of this length were measured.
_TOKEN_BYTES = 5


@dataclass(frozen=True)
class Load:
    """What users do at the busiest time. Each generation writes one answer after the other.

    `is_routed` means that the balancer sends all readers of a log to one API process. Otherwise
    they are spread by chance, and each process with a reader receives every token of the log.
    """

    watchers: float
    generations: float
    tokens_per_s: float = 20
    tokens_per_answer: float = 500
    token_bytes: float = 5
    reconnect_every_s: float = 300
    retention_s: float = 3600
    is_routed: bool = True

    @property
    def tokens(self) -> float:
        """Tokens a second of all generations."""
        return self.generations * self.tokens_per_s

    @property
    def answers(self) -> float:
        """Answers that begin in a second."""
        return self.tokens / self.tokens_per_answer

    @property
    def readers(self) -> float:
        """Readers of one log."""
        return self.watchers / self.generations

    def grown(self, factor: float) -> "Load":
        """The same users, `factor` times as many."""
        return replace(self, watchers=self.watchers * factor, generations=self.generations * factor)


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
    part = load.grown(1 / systems)
    workers = math.ceil(worker_cores(part, terms.busy))
    apis, spread = api_processes(part, terms)
    masters = _masters(part, workers, apis, spread, terms)
    redis_gb = redis_bytes(part) / _GB
    by_memory = redis_gb / terms.memory_share / terms.machine_gb * terms.redis_per_machine
    masters = max(masters, math.ceil(by_memory))
    masters = masters if masters == 1 else max(masters, 3)  # a cluster needs a majority
    api_gb = (
        apis * costs.PROCESS_MIB.value * _MIB
        + part.watchers * (costs.WATCHER_KIB.value + costs.SOCKET_KIB.value) * _KIB
        + part.generations * spread * costs.LIVE_LOG_KIB.value * _KIB
    ) / _GB
    worker_gb = (
        workers * costs.PROCESS_MIB.value * _MIB
        + part.generations * costs.GENERATION_KIB.value * _KIB
    ) / _GB
    egress = egress_bytes(part) * 8 / 1e9
    inside = inside_bytes(part, spread, terms) * 8 / 1e9
    redis_servers = masters * (1 + terms.replicas)
    return Plan(
        load=load,
        terms=terms,
        systems=systems,
        workers=systems * workers,
        apis=systems * apis,
        masters=systems * masters,
        partitions=partitions_for(masters),
        readers_of_a_process=part.readers / spread,
        redis_gb=systems * redis_gb,
        api_gb=systems * api_gb,
        worker_gb=systems * worker_gb,
        egress_gbit=systems * egress,
        inside_gbit=systems * inside,
        worker_machines=systems * _machines(workers, worker_gb, 0, terms),
        api_machines=systems * _machines(apis, api_gb, egress, terms),
        redis_machines=systems * math.ceil(redis_servers / terms.redis_per_machine),
    )


def worker_cores(load: Load, busy: float) -> float:
    """Cores of workers that are busy for the share `busy`."""
    item_us = costs.WORKER.of_message()
    tokens = load.tokens / rate_at(costs.WORKER.turn_us, item_us, busy)
    compaction = costs.WORKER_COMPACTION.value * load.tokens_per_answer / 500
    return tokens + load.answers * (costs.WORKER_REQUEST.value + compaction) / 1e3 / busy


def api_cores(load: Load, processes: int, busy: float) -> tuple[float, float]:
    """Cores of the API, and the number of processes that read a log, if there are `processes`."""
    spread = 1.0 if load.is_routed else processes_of(load.readers, processes)
    item_us = costs.API.of_message(writes=load.readers / spread)
    tokens = load.tokens * spread / rate_at(costs.API.turn_us, item_us, busy)
    calls = load.answers + load.watchers / load.reconnect_every_s
    return tokens + calls * costs.API_REQUEST.value / 1e3 / busy, spread


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


def redis_cores(
    load: Load, workers: int, apis: int, spread: float, masters: int, busy: float
) -> float:
    """Cores of masters, without replicas."""
    item_us = costs.REDIS.of_message(writes=spread - 1)
    tokens = load.tokens / rate_at(costs.REDIS.turn_us, item_us, busy)
    compaction = costs.REDIS_COMPACTION.value * load.tokens_per_answer / 500
    opened = load.answers * spread + load.watchers / load.reconnect_every_s
    calls_ms = load.answers * (costs.REDIS_REQUEST.value + compaction)
    calls_ms += opened * costs.REDIS_OPEN.value
    background = (
        background_calls(workers, apis, partitions_for(masters)) * costs.REDIS_CALL.value / 1e3
    )
    # Each process looks at the end of each log that it reads with every heartbeat.
    background += load.generations * spread / _HEARTBEAT_S * costs.REDIS.message_us / 1e3
    return tokens + (calls_ms + background) / 1e3 / busy


def background_calls(workers: int, apis: int, partitions: int) -> float:
    """Calls a second besides the answers: looks, places, counts of readers, reports, the map.

    While requests wait in every partition, each API process reads the line of each once a second.
    """
    looks = workers * min(partitions, 4)
    places = apis * partitions
    # 250 commands in five round trips; a command in a pipeline costs a tenth of a call.
    counts = apis * 25
    reports = (workers + apis) * (1.5 + 1.1)
    return looks + places + counts + reports


def partitions_for(masters: int) -> int:
    """The partitions that this number of masters gets."""
    return 1 if masters == 1 else max(16, masters * _PARTITIONS_PER_MASTER)


def processes_of(readers: float, processes: int) -> float:
    """How many of `processes` have one of `readers` that choose by chance; the expected number."""
    return processes * (1 - math.pow(1 - 1 / processes, readers))


def redis_bytes(load: Load) -> float:
    """Memory of the data at the masters."""
    running = load.generations * load.tokens_per_answer
    # A finished log waits a minute for its compaction.
    fresh = load.tokens * min(60, load.retention_s)
    kept = load.tokens * max(0.0, load.retention_s - 60)
    longer = load.token_bytes - _TOKEN_BYTES
    before, after = costs.TOKEN_BYTES.value + longer, costs.KEPT_TOKEN_BYTES.value + longer
    return (running + fresh) * before + kept * after


def egress_bytes(load: Load) -> float:
    """Bytes a second to the watchers; each token is a write of its own to each."""
    frame = costs.FRAME_BYTES.value + load.token_bytes - _TOKEN_BYTES
    return load.tokens * load.readers * (frame + costs.PACKET_BYTES.value)


def inside_bytes(load: Load, spread: float, terms: Terms) -> float:
    """Bytes a second between the upstream, workers, Redis, its replicas and API processes."""
    append = costs.AOF_BYTES.value * (1 + terms.replicas)
    return load.tokens * (costs.CHUNK_BYTES.value + append + spread * costs.PUSH_BYTES.value)


def _masters(load: Load, workers: int, apis: int, spread: float, terms: Terms) -> int:
    masters = 1
    while True:
        needed = redis_cores(load, workers, apis, spread, masters, terms.busy)
        if needed <= masters:
            return masters
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
