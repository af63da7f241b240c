"""What this worker counts, for Prometheus. No label holds an id, a tenant or text of a caller.

The numbers are read from the worker's parts when somebody asks, so they cost nothing until then.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.broker.kinds import TERMINALS
from tickertape.broker.write_state import WORDS, WriteState
from tickertape.runtime.metric_families import counter, gauge
from tickertape.runtime.version import installed_version
from tickertape.worker.consumer import Consumer
from tickertape.worker.counters import Counters

_TITLES = ("given", "refused", "failed")


class WorkerMetrics(Collector):
    """The metrics of one worker, in a separate registry."""

    def __init__(
        self, consumer: Consumer, counters: Counters, writes: WriteState, *, slots: int
    ) -> None:
        self._consumer = consumer
        self._counters = counters
        self._writes = writes
        self._slots = slots
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The present numbers."""
        yield from self._state()
        counters = self._counters
        yield counter(
            "tickertape_worker_ended", "Requests that this worker ended", "state",
            sorted(TERMINALS), counters.ended,
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
            ("retries", "Repeated calls of the upstream", counters.retries),
        ):
            yield CounterMetricFamily(f"tickertape_worker_{name}", text, number)

    def _state(self) -> Iterator[Metric]:
        consumer = self._consumer
        yield gauge(
            "tickertape_build_info", "The version of this worker", "version",
            {installed_version(): 1},
        )  # fmt: skip
        for name, text, number in (
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
