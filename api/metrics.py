"""What this process counts, for Prometheus. No label holds an id, a tenant or text of a caller."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.api.fanout.fanout_counts import DropReason, FanoutCounts, HealCause
from tickertape.broker.errors import (
    BrokerError,
    ConversationBusy,
    IdempotencyConflict,
    KeptBytesReached,
    QueueFull,
    RateReached,
    TenantBytesReached,
    TenantLimitReached,
)
from tickertape.broker.write_state import WORDS, WriteState
from tickertape.runtime.histogram import Histogram
from tickertape.runtime.metric_families import ConditionGauge, counter, gauge
from tickertape.runtime.shared_metrics import SharedMetrics
from tickertape.runtime.siblings import Siblings
from tickertape.runtime.version import installed_version

_UNAVAILABLE = "unavailable"
_OUTCOMES: dict[type[BrokerError], str] = {
    IdempotencyConflict: "conflict",
    QueueFull: "queue_full",
    TenantLimitReached: "tenant_limit",
    TenantBytesReached: "tenant_bytes",
    RateReached: "rate",
    KeptBytesReached: "kept_bytes",
    ConversationBusy: "busy",
}
AUTHENTICATION_FAILURES = (
    "no_key", "invalid_api_key", "invalid_token", "invalid_ticket", "too_many_tries", "other",
)  # fmt: skip
SUBMIT_OUTCOMES = ("accepted", "repeated", *_OUTCOMES.values(), _UNAVAILABLE)


class Metrics:
    """The metrics of one app, in a separate registry, and of its siblings."""

    def __init__(self, siblings: Siblings | None = None) -> None:
        self._registry = CollectorRegistry()
        self._shared = SharedMetrics(lambda: generate_latest(self._registry), siblings)
        Gauge(
            "tickertape_build_info", "The version of this API process", ["version"],
            registry=self._registry,
        ).labels(installed_version()).set(1)  # fmt: skip
        Gauge(
            "tickertape_api_processes", "API processes of this address that are at work",
            registry=self._registry,
        ).set(1)  # fmt: skip
        self._submits = Counter(
            "tickertape_submits", "Submitted requests by outcome", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._refusals = Counter(
            "tickertape_refusals", "Refused calls by the code of the error", ["code"],
            registry=self._registry,
        )  # fmt: skip
        self._cancels = Counter("tickertape_cancels", "Cancel calls", registry=self._registry)
        self._cancel_times = Histogram(
            "tickertape_cancel_seconds", "From a cancel call to the end of the request"
        )
        self._registry.register(self._cancel_times)
        self._unrecognized: Counts[str] = Counts()
        self._registry.register(
            _Counted(
                "tickertape_authentication_failures",
                "Calls without a valid key, token or ticket, by reason",
                "reason",
                AUTHENTICATION_FAILURES,
                self._unrecognized,
            )
        )
        self._open_streams = Gauge(
            "tickertape_subscribers", "Open streams", registry=self._registry
        )
        self._up = Gauge(
            "tickertape_push_up", "Whether entries arrive from Redis as they are written",
            registry=self._registry,
        )  # fmt: skip
        self._takes_writes = Gauge(
            "tickertape_redis_takes_writes", "Whether Redis refused no write lately",
            registry=self._registry,
        )  # fmt: skip
        self._longest_turn = Gauge(
            "tickertape_longest_turn_seconds",
            "The longest turn of the event loop in the last minute, within 0.05 s",
            registry=self._registry,
        )
        for outcome in SUBMIT_OUTCOMES:
            # An alert on a rise needs the series to exist before its first event.
            self._submits.labels(outcome)
        ProcessCollector(registry=self._registry)

    def count_submit(self, *, is_new: bool) -> None:
        """Count a submit that was accepted, or that repeated an earlier one."""
        self._submits.labels("accepted" if is_new else "repeated").inc()

    def count_failed_submit(self, error: BrokerError) -> None:
        """Count a submit that was not accepted."""
        self._submits.labels(_OUTCOMES.get(type(error), _UNAVAILABLE)).inc()

    def count_refusal(self, code: str) -> None:
        """Count a call that was refused with this code, such as `invalid_api_key`."""
        self._refusals.labels(code).inc()

    def count_cancel(self) -> None:
        """Count a cancel call."""
        self._cancels.inc()

    def count_cancelled(self, took_s: float) -> None:
        """Count a request that a cancel call has ended, and how long that took."""
        self._cancel_times.observe(took_s)

    def count_unrecognized(self, reason: str) -> None:
        """Count a call without a valid key, token or ticket."""
        self._unrecognized[reason if reason in AUTHENTICATION_FAILURES else "other"] += 1

    def watch_fanout(
        self, counts: FanoutCounts, held_bytes: Callable[[], dict[str, float]], lag: Histogram
    ) -> None:
        """Look at what the fan-out and the loop's watch count, whenever the metrics are read."""
        self._registry.register(_Fanout(counts, held_bytes))
        self._registry.register(lag)

    def watch(
        self,
        *,
        open_streams: Callable[[], int],
        is_up: Callable[[], bool],
        writes: WriteState,
        longest_turn_s: Callable[[], float],
        conditions: Callable[[], Mapping[str, float]],
    ) -> None:
        """Call these functions, and look at `writes`, whenever the metrics are read."""
        self._open_streams.set_function(lambda: float(open_streams()))
        self._up.set_function(lambda: float(is_up()))
        self._takes_writes.set_function(lambda: float(writes.reason is None))
        self._longest_turn.set_function(longest_turn_s)
        self._registry.register(ConditionGauge(conditions))
        self._registry.register(
            _Counted(
                "tickertape_redis_refusals",
                "Replies of Redis that a new connection may not get",
                "reply",
                WORDS,
                writes.refusals,
            )
        )

    def watch_edge(self, reasons: Iterable[str], counted: Mapping[str, int]) -> None:
        """Look at what the server counted before any route, whenever the metrics are read."""
        self._registry.register(
            _Counted(
                "tickertape_edge_refusals",
                "What was refused, cut or ignored before a route saw it, by reason",
                "reason",
                reasons,
                counted,
            )
        )

    async def run(self) -> None:
        """Let the siblings see what this process counted, once a second, until cancelled."""
        await self._shared.run()

    async def text(self) -> bytes:
        """All metrics, in Prometheus' text format. Those of siblings are about a second old."""
        return await self._shared.text()


class _Counted(Collector):
    """A counter with one label that another part of the process keeps. Its series begin at 0."""

    def __init__(
        self, name: str, text: str, label: str, values: Iterable[str], counted: Mapping[str, int]
    ) -> None:
        self._name, self._text, self._label = name, text, label
        self._values = tuple(values)
        self._counted = counted

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield counter(self._name, self._text, self._label, self._values, self._counted)


class _Fanout(Collector):
    def __init__(self, counts: FanoutCounts, held_bytes: Callable[[], dict[str, float]]) -> None:
        self._counts = counts
        self._held_bytes = held_bytes

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield counter(
            "tickertape_heals", "Reads of logs that brought tapes up to date, by the cause",
            "cause", get_args(HealCause), counts.heals,
        )  # fmt: skip
        yield CounterMetricFamily(
            "tickertape_rewinds", "Logs that had lost entries which readers had", counts.rewinds
        )
        yield counter(
            "tickertape_dropped_readers", "Streams that were broken off, by the reason",
            "reason", get_args(DropReason), counts.dropped,
        )  # fmt: skip
        yield gauge(
            "tickertape_log_bytes", "Memory of logs in this process, by their state",
            "state", self._held_bytes(),
        )  # fmt: skip
        yield from counts.delays.collect()
