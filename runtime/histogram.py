"""How often something took how long, for Prometheus: counts by upper bound, and the sum."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

# In seconds. Waits for a worker or a model have a meaning from ms to minutes.
WAITS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# A reader sees a delay of 0.1 s, and none of 1 ms.
DELAYS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Histogram(Collector):
    """Counts values of one event loop, without the locks of a library that counts for threads."""

    def __init__(self, name: str, text: str, bounds: Sequence[float] = WAITS_S) -> None:
        self.name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self._counts)

    def observe(self, value: float) -> None:
        """Count a value. One below 0, which a clock that was set back can cause, counts as 0."""
        value = max(0.0, value)
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The counts so far, in Prometheus' form: each bucket has those below it, too."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(self.name, self._text, buckets=buckets, sum_value=self.sum)
