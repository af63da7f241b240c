"""Pure: the state of the whole deployment as metrics. All API processes say the same."""

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.api.fleet_status import PROBLEMS, QueueStatus, Status, WorkerStatus
from tickertape.api.pool_status import pool_metrics
from tickertape.runtime.metric_families import gauge


def fleet_text(status: Status) -> bytes:
    """The gauges, in Prometheus' text format. While Redis does not answer, only the problems."""
    return generate_latest(_Fleet(status))


class _Fleet(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield gauge(
            "tickertape_problem",
            "Whether the deployment has this problem; /status.json has the words",
            "code",
            dict.fromkeys(PROBLEMS, 0.0) | {problem.code: 1.0 for problem in status.problems},
        )
        if status.queue is None:
            return
        yield from _of_queue(status.queue)
        yield from _of_workers(status.workers)
        yield from pool_metrics(status.pools)
        yield GaugeMetricFamily(
            "tickertape_redis_reply_seconds",
            "How long Redis took for one reply",
            (status.redis_ms or 0.0) / 1000,
        )


def _of_queue(queue: QueueStatus) -> Iterator[Metric]:
    yield gauge(
        "tickertape_requests",
        "Requests that have not ended, and dead ones, of the whole deployment",
        "state",
        {
            "waiting": queue.waiting,
            "running": queue.running,
            "delayed": queue.delayed,
            "held": queue.held,
            "dead": queue.dead,
        },
    )
    yield GaugeMetricFamily(
        "tickertape_oldest_wait_seconds",
        "How long the oldest request has waited that a worker could claim now; 0 without one",
        queue.oldest_s or 0.0,
    )
    yield GaugeMetricFamily(
        "tickertape_queue_bytes",
        "What the requests that have not ended take in Redis, of the whole deployment",
        queue.size_bytes,
    )


def _of_workers(workers: list[WorkerStatus]) -> Iterator[Metric]:
    claiming = [worker for worker in workers if not worker.is_draining]
    yield gauge(
        "tickertape_workers",
        "Workers that are alive by their reports",
        "state",
        {"claiming": len(claiming), "draining": len(workers) - len(claiming)},
    )
    busy = sum(worker.running for worker in claiming)
    yield gauge(
        "tickertape_slots",
        "Slots of the workers that claim requests",
        "state",
        {"busy": busy, "free": sum(worker.slots for worker in claiming) - busy},
    )
