"""The metrics of this process together with those of its siblings."""

import asyncio
from collections.abc import Callable

from tickertape.runtime.metric_sums import summed
from tickertape.runtime.siblings import Siblings

_WRITTEN_EVERY_S = 1.0


class SharedMetrics:
    """`own` returns the metrics of this process, in Prometheus' text format."""

    def __init__(self, own: Callable[[], bytes], siblings: Siblings | None) -> None:
        self._read = own
        self._siblings = siblings

    async def run(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Let the siblings see what this process counted, once a second, until cancelled.

        Each time is also a sign of life, so there is none while `is_alive` returns False.
        """
        if self._siblings is None:
            return
        while True:
            if is_alive():
                self._siblings.write(self._own(self._siblings))
            await asyncio.sleep(_WRITTEN_EVERY_S)

    def _own(self, siblings: Siblings) -> bytes:
        own = self._read()
        return summed([own], [siblings.before]) if siblings.before else own

    async def text(self) -> bytes:
        """All metrics, in Prometheus' text format. Those of siblings are about a second old."""
        siblings = self._siblings
        if siblings is None:
            return self._read()
        others = [*siblings.others()]
        alive = [self._own(siblings), *(each.text for each in others if each.is_fresh)]
        ended = [each.text for each in others if not each.is_fresh]
        # A sum over many processes takes longer than a turn of the loop may.
        return await asyncio.to_thread(summed, alive, ended)
