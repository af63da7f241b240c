"""What a worker counts for each upstream of its table, for Prometheus."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tickertape.runtime.metric_families import counter_of_several, gauge
from tickertape.worker.failures import FailureCode
from tickertape.worker.upstreams.breaker import State
from tickertape.worker.upstreams.members import Member

_OUTCOMES = (
    "completed", "limited", "stopped",
    FailureCode.RATE_LIMITED, FailureCode.ERROR, FailureCode.UNREACHABLE, FailureCode.STALLED,
    FailureCode.TRUNCATED, FailureCode.REJECTED, FailureCode.DEADLINE,
)  # fmt: skip


class UpstreamMetrics(Collector):
    """The metrics of these upstreams, by the names of their rows."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def collect(self) -> Iterator[Metric]:
        """The present numbers. Each series exists from the start."""
        members = self._members
        yield counter_of_several(
            "tickertape_upstream_calls", "Calls of each upstream, by how they ended",
            ("upstream", "outcome"),
            {
                (each.row.name, str(outcome)): each.outcomes[str(outcome)]
                for each in members
                for outcome in _OUTCOMES
            },
        )  # fmt: skip
        yield gauge(
            "tickertape_upstream_running", "Calls of each upstream that run", "upstream",
            {each.row.name: each.running for each in members},
        )  # fmt: skip
        yield gauge(
            "tickertape_upstream_resting", "Processes whose breaker keeps calls from an upstream",
            "upstream",
            {each.row.name: each.breaker.state is not State.CLOSED for each in members},
        )  # fmt: skip
