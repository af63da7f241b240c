"""Pure: metrics of what all tenants keep, which every API process reads alike from Redis."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest

_CLASSES = {"1MB": 10**6, "10MB": 10**7, "100MB": 10**8, "1GB": 10**9}


def kept_metrics(totals: Sequence[int]) -> bytes:
    """The metrics in Prometheus' text format; `totals` are the bytes that each tenant keeps.

    They are apart from those of `Metrics`, which are summed over processes.
    """
    registry = CollectorRegistry()
    kept = Gauge(
        "tickertape_kept_bytes",
        "Bytes of finished requests and of conversations that have not expired",
        registry=registry,
    )
    largest = Gauge(
        "tickertape_kept_bytes_largest", "Those of the tenant with the most", registry=registry
    )
    tenants = Gauge(
        "tickertape_kept_tenants", "Tenants that keep at least so many bytes", ["at_least"],
        registry=registry,
    )  # fmt: skip
    kept.set(sum(totals))
    largest.set(max(totals, default=0))
    for name, least in _CLASSES.items():
        tenants.labels(name).set(sum(total >= least for total in totals))
    return generate_latest(registry)
