"""Families of metrics with one label, whose series all exist from the start.

An alert on a rise needs a series to exist before its first event.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


def counter(
    name: str, text: str, label: str, values: Iterable[str], counted: Mapping[str, int]
) -> CounterMetricFamily:
    """A counter with a series for each of `values`: what was counted, or 0."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value in values:
        family.add_metric([value], counted.get(value, 0))
    return family


def counter_of_several(
    name: str, text: str, labels: Sequence[str], counted: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    """A counter with a series for each of `counted`, by the values of the labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counted.items():
        family.add_metric(values, count)
    return family


def gauge(name: str, text: str, label: str, numbers: Mapping[str, float]) -> GaugeMetricFamily:
    """A gauge with a series for each of `numbers`, by the value of the label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family


class ConditionGauge(Collector):
    """Which conditions a process has, by code; `present` is called for each scrape."""

    def __init__(self, present: Callable[[], Mapping[str, float]]) -> None:
        self._present = present

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One series for each condition that there could be."""
        yield gauge(
            "tickertape_condition",
            "Whether this process has the condition, which keeps it from its work or harms it",
            "code",
            self._present(),
        )
