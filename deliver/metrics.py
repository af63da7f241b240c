"""What `tickertape deliver` counts, for Prometheus. No label has an id, a tenant or an address."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.deliver.history import HistoryWriter
from tickertape.deliver.process import Deliver
from tickertape.deliver.webhooks import OUTCOMES, Webhooks
from tickertape.runtime.conditions import Conditions
from tickertape.runtime.metric_families import ConditionGauge, counter, gauge
from tickertape.runtime.version import installed_version


class DeliverMetrics(Collector):
    """The metrics of one process, in a separate registry, of those consumers that it has."""

    def __init__(
        self,
        deliver: Deliver,
        webhooks: Webhooks | None,
        history: HistoryWriter | None,
        conditions: Conditions,
    ) -> None:
        self._deliver = deliver
        self._webhooks = webhooks
        self._history = history
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(ConditionGauge(conditions.gauge))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The present numbers."""
        yield gauge(
            "tickertape_build_info", "The version of this process", "version",
            {installed_version(): 1},
        )  # fmt: skip
        yield GaugeMetricFamily(
            "tickertape_deliver_working",
            "Whether this process has started, drains not, and none of its loops hangs",
            self._deliver.is_working,
        )
        if self._webhooks is not None:
            yield from self._of_webhooks(self._webhooks)
        if self._history is not None:
            yield from self._of_history(self._history)

    def _of_webhooks(self, webhooks: Webhooks) -> Iterator[Metric]:
        yield counter(
            "tickertape_webhooks", "Calls of receivers, and webhooks that were not sent again",
            "outcome", OUTCOMES, webhooks.counts,
        )  # fmt: skip
        yield from webhooks.times.collect()
        failing = webhooks.failing_s()
        yield GaugeMetricFamily(
            "tickertape_webhook_receivers_failing",
            "Receivers whose last call failed", len(failing),
        )  # fmt: skip
        yield GaugeMetricFamily(
            "tickertape_webhook_failing_seconds",
            "How long the receiver that has failed for the longest has accepted no call",
            max(failing, default=0.0),
        )

    def _of_history(self, history: HistoryWriter) -> Iterator[Metric]:
        for name, text, number in (
            ("written", "Requests that this process wrote to the history", history.written),
            ("failures", "Rounds that the database of the history failed", history.failures),
        ):
            yield CounterMetricFamily(f"tickertape_history_{name}", text, number)
