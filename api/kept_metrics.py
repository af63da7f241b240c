"""Pure: metrics of what all tenants keep, which every API process reads alike from Redis."""

from collections.abc import Iterator, Sequence

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.runtime.metric_families import gauge

_CLASSES = {"1MB": 10**6, "10MB": 10**7, "100MB": 10**8, "1GB": 10**9}


def kept_metrics(totals: Sequence[int]) -> bytes:
    """The metrics in Prometheus' text format; `totals` are the bytes that each tenant keeps.

    They are apart from those of `Metrics`, which are summed over processes.
    """
    return generate_latest(_Kept(totals))


class _Kept(Collector):
    def __init__(self, totals: Sequence[int]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        yield GaugeMetricFamily(
            "tickertape_kept_bytes",
            "Bytes of finished requests and of conversations that have not expired",
            sum(totals),
        )
        yield GaugeMetricFamily(
            "tickertape_kept_bytes_largest",
            "Those of the tenant with the most",
            max(totals, default=0),
        )
        yield gauge(
            "tickertape_kept_tenants",
            "Tenants that keep at least so many bytes",
            "at_least",
            {name: sum(each >= least for each in totals) for name, least in _CLASSES.items()},
        )
