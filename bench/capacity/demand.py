"""Pure: what a load asks of each kind of process: cores, memory, bytes on the network."""

import math
from dataclasses import dataclass, replace

from bench.capacity import costs
from bench.capacity.turns import rate_at

_KIB, _MIB = 1024, 1024**2
# Four partitions for each master leave room for more masters (docs/redis.md).
_PARTITIONS_PER_MASTER = 4
_HEARTBEAT_S = 15
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


def inside_bytes(load: Load, spread: float, replicas: int) -> float:
    """Bytes a second between the upstream, workers, Redis, its replicas and API processes."""
    append = costs.AOF_BYTES.value * (1 + replicas)
    return load.tokens * (costs.CHUNK_BYTES.value + append + spread * costs.PUSH_BYTES.value)


def api_bytes(load: Load, processes: int, spread: float) -> float:
    """Memory of API processes with their readers and the logs that these read."""
    readers = load.watchers * (costs.WATCHER_KIB.value + costs.SOCKET_KIB.value) * _KIB
    logs = load.generations * spread * costs.LIVE_LOG_KIB.value * _KIB
    return processes * costs.PROCESS_MIB.value * _MIB + readers + logs


def worker_bytes(load: Load, processes: int) -> float:
    """Memory of workers with their answers."""
    answers = load.generations * costs.GENERATION_KIB.value * _KIB
    return processes * costs.PROCESS_MIB.value * _MIB + answers
