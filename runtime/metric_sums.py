"""Pure: the metrics of several processes, in Prometheus' text format, as those of one."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

# What one process has a yes or a no for, and all processes must say yes.
_LEAST = frozenset(
    {
        "tickertape_push_up",
        "tickertape_redis_takes_writes",
        "tickertape_worker_claiming",
        "tickertape_worker_upstream_up",
        "process_max_fds",
    }
)
_MOST = frozenset(
    {
        "tickertape_longest_turn_seconds",
        "tickertape_build_info",
        "tickertape_condition",
        "tickertape_worker_draining",
    }
)
# When a process, or one of its series, began.
_FIRST = ("_created", "_start_time_seconds")
_GROWING = frozenset({"counter", "histogram"})

_Key = tuple[str, tuple[tuple[str, str], ...]]


def summed(alive: Iterable[bytes], ended: Iterable[bytes] = ()) -> bytes:
    """The metrics of all processes together.

    Of processes that have ended, or that hang, only what never falls is counted: their counters
    and histograms. Without these, a sum would fall when a process is replaced.
    """
    total = _Total()
    for text in alive:
        for family in _families(text):
            total.add(family)
    for text in ended:
        for family in _families(text):
            if family.type in _GROWING:
                total.add(family)
    return generate_latest(total)


def _families(text: bytes) -> Iterator[Metric]:
    yield from text_string_to_metric_families(text.decode())


class _Total(Collector):
    """Families by name, and their values by the name of the sample and its labels."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[_Key, float]] = {}

    def add(self, family: Metric) -> None:
        self._families.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        join = _rule(family.name)
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.items()))
            values[key] = join(values[key], sample.value) if key in values else sample.value

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            metric = Metric(name, family.documentation, family.type)
            metric.samples = [
                Sample(sample, dict(labels), value)
                for (sample, labels), value in self._values[name].items()
            ]
            yield metric


def _rule(family: str) -> Callable[[float, float], float]:
    if family in _LEAST or family.endswith(_FIRST):
        return min
    return max if family in _MOST else _plus


def _plus(one: float, other: float) -> float:
    return one + other
