"""What this process counts, for Prometheus. No label holds an id, a tenant or a caller's words."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

SUBMIT_OUTCOMES = (
    "accepted", "repeated", "conflict", "queue_full", "tenant_limit", "busy", "unavailable",
)  # fmt: skip


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._submits = Counter(
            "tickertape_submits", "Submitted requests by outcome", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._cancels = Counter("tickertape_cancels", "Cancel calls", registry=self._registry)
        self._subscribers = Gauge("tickertape_subscribers", "Open streams", registry=self._registry)
        self._up = Gauge(
            "tickertape_push_up", "Whether entries arrive from Redis as they are written",
            registry=self._registry,
        )  # fmt: skip
        for outcome in SUBMIT_OUTCOMES:
            # A series that is absent until its first event cannot be watched for a rise.
            self._submits.labels(outcome)
        ProcessCollector(registry=self._registry)

    def count_submit(self, outcome: str) -> None:
        """One more submit that ended in one of SUBMIT_OUTCOMES."""
        self._submits.labels(outcome).inc()

    def count_cancel(self) -> None:
        """One more cancel call."""
        self._cancels.inc()

    def watch(self, *, subscribers: Callable[[], int], is_up: Callable[[], bool]) -> None:
        """Ask these whenever the gauges are read."""
        self._subscribers.set_function(lambda: float(subscribers()))
        self._up.set_function(lambda: float(is_up()))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
