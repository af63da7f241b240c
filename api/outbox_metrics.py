"""Metrics of the outboxes, which every API process reads alike from Redis.

They show a `tickertape deliver` that is not running, and receivers and databases that are away.
"""

import time
from collections.abc import Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickertape.broker.outbox import CONSUMERS, Backlog, Consumer, Outbox, named_consumers
from tickertape.runtime.settings import Settings


async def read_outboxes(outbox: Outbox, settings: Settings) -> dict[Consumer, Backlog]:
    """What all partitions hold for each consumer of the settings; raises Unavailable."""
    named = named_consumers(settings)
    consumers = [each for each in CONSUMERS if each in named]
    return {consumer: await _sum(outbox, consumer) for consumer in consumers}


async def _sum(outbox: Outbox, consumer: Consumer) -> Backlog:
    found = [await outbox.backlog(partition, consumer) for partition in range(outbox.partitions)]
    return Backlog(
        sum(each.waiting for each in found),
        sum(each.due_again for each in found),
        sum(each.kept for each in found),
        sum(each.given_up for each in found),
        sum(each.lost for each in found),
        sum(each.held_bytes for each in found),
        min((each.oldest_ms for each in found if each.oldest_ms is not None), default=None),
    )


def outbox_metrics(backlogs: Mapping[Consumer, Backlog]) -> bytes:
    """Pure: the metrics in Prometheus' text format; none without a consumer."""
    return generate_latest(_Outboxes(backlogs)) if backlogs else b""


class _Outboxes(Collector):
    def __init__(self, backlogs: Mapping[Consumer, Backlog]) -> None:
        self._backlogs = backlogs

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "tickertape_outbox",
            "Requests that have ended and that a consumer has not got, webhooks to send again, and "
            "requests whose webhooks were given up",
            labels=["consumer", "state"],
        )
        lost = CounterMetricFamily(
            "tickertape_outbox_lost",
            "Requests that a consumer will not get, because its outbox was full",
            labels=["consumer"],
        )
        given_up = CounterMetricFamily(
            "tickertape_outbox_given_up",
            "Webhooks that no receiver has accepted",
            labels=["consumer"],
        )
        held = GaugeMetricFamily(
            "tickertape_outbox_held_bytes",
            "Bytes of requests that are kept until a consumer has them",
            labels=["consumer"],
        )
        oldest = GaugeMetricFamily(
            "tickertape_outbox_oldest_seconds",
            "How long the ended request that a consumer has not got for the longest waits",
            labels=["consumer"],
        )
        for consumer, backlog in self._backlogs.items():
            waiting.add_metric([consumer, "waiting"], backlog.waiting)
            waiting.add_metric([consumer, "again"], backlog.due_again)
            waiting.add_metric([consumer, "given_up"], backlog.kept)
            lost.add_metric([consumer], backlog.lost)
            given_up.add_metric([consumer], backlog.given_up)
            held.add_metric([consumer], backlog.held_bytes)
            oldest.add_metric([consumer], _age_s(backlog.oldest_ms))
        yield from (waiting, lost, given_up, held, oldest)


def _age_s(since_ms: int | None) -> float:
    """The clocks of this machine and of Redis may differ a little."""
    return 0.0 if since_ms is None else max(0.0, time.time() - since_ms / 1000)
