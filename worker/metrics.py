"""What this worker counts, for Prometheus. No label holds an id, a tenant or text of a caller.

The numbers are read from the worker's parts when somebody asks, so they cost nothing until then.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.broker.kinds import OPENERS
from tickertape.broker.pools import shown_name
from tickertape.broker.write_state import WORDS, WriteState
from tickertape.runtime.histogram import Histogram
from tickertape.runtime.metric_families import counter, counter_of_several, gauge
from tickertape.runtime.version import installed_version
from tickertape.worker.consumer import Consumer
from tickertape.worker.counters import TOKEN_TYPES
from tickertape.worker.failures import FailureCode
from tickertape.worker.tools import Tools

_TITLES = ("given", "refused", "failed")
_STATES = ("completed", "failed")
_CODES = sorted(FailureCode)
_ENDS: dict[tuple[str, ...], int] = {
    ("completed", ""): 0,
    **{("failed", str(code)): 0 for code in _CODES},
}


class WorkerMetrics(Collector):
    """The metrics of one worker, in a separate registry."""

    def __init__(
        self, consumer: Consumer, tools: Tools, writes: WriteState, lag: Histogram, *, slots: int
    ) -> None:
        self._consumer = consumer
        self._queue = tools.queue
        self._counters = tools.counters
        self._lag = lag
        self._writes = writes
        self._slots = slots
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def add(self, collector: Collector) -> None:
        """Add what another part of the worker counts."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The present numbers."""
        yield from self._state()
        counters = self._counters
        yield counter_of_several(
            "tickertape_worker_ended", "Requests that this worker ended, and the code of failures",
            ("state", "code"), self._ended(),
        )  # fmt: skip
        yield counter_of_several(
            "tickertape_worker_pool_ended", "Requests of each pool that this worker ended",
            ("pool", "state"), {
                (shown_name(pool), state): counters.ended_of[pool, state]
                for pool in self._queue.pools for state in _STATES
            },
        )  # fmt: skip
        yield counter_of_several(
            "tickertape_worker_pool_claims", "Requests of each pool that this worker claimed",
            ("pool",), {(shown_name(pool),): counters.claims[pool] for pool in self._queue.pools},
        )  # fmt: skip
        yield counter(
            "tickertape_worker_retries", "Repeated calls of the upstream, by the code of the cause",
            "code", _CODES, counters.retries,
        )  # fmt: skip
        yield counter(
            "tickertape_worker_attempts", "Attempts that began, by their opener",
            "opener", sorted(OPENERS), counters.attempts,
        )  # fmt: skip
        yield counter(
            "tickertape_worker_tokens", "Tokens that the upstream reported, or that were estimated",
            "type", TOKEN_TYPES, counters.tokens,
        )  # fmt: skip
        yield counter(
            "tickertape_worker_titles", "Titles that the model was asked for", "outcome",
            _TITLES, counters.titles,
        )  # fmt: skip
        yield counter(
            "tickertape_redis_refusals", "Replies of Redis that a new connection may not get",
            "reply", WORDS, self._writes.refusals,
        )  # fmt: skip
        for name, text, number in (
            ("deltas", "Deltas that the upstream sent, mostly one token each", self._deltas()),
            ("takeovers", "Claims of requests that a lost worker had begun", counters.takeovers),
        ):
            yield CounterMetricFamily(f"tickertape_worker_{name}", text, number)
        for each in (*counters.times.all, self._lag):
            yield from each.collect()

    def _ended(self) -> dict[tuple[str, ...], int]:
        ended = _ENDS | {(state, code): n for (state, code), n in self._counters.ended.items()}
        for code, count in self._queue.failed_by_claims.items():
            ended["failed", code] += count
        return ended

    def _state(self) -> Iterator[Metric]:
        consumer = self._consumer
        yield gauge(
            "tickertape_build_info", "The version of this worker", "version",
            {installed_version(): 1},
        )  # fmt: skip
        for name, text, number in (
            ("worker_processes", "Worker processes of this address that are at work", 1),
            ("worker_slots", "How many requests this worker may run at a time", self._slots),
            ("worker_running", "Requests that run here", consumer.running),
            ("worker_claiming", "Whether this worker claims requests", self._is_claiming()),
            ("worker_draining", "Whether this worker ends its requests", consumer.is_stopping),
            (
                "worker_upstream_up", "Whether no refusal of the upstream concerns all requests",
                self._counters.upstream_problem is None,
            ),
            (
                "redis_takes_writes", "Whether Redis refused no write lately",
                self._writes.reason is None,
            ),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"tickertape_{name}", text, number)

    def _deltas(self) -> int:
        return self._counters.deltas + self._consumer.running_deltas

    def _is_claiming(self) -> bool:
        consumer = self._consumer
        return consumer.is_claiming and not consumer.is_stopping and not consumer.silent_loops
