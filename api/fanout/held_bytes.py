"""How much memory the tapes of this process take, for operators."""

import time
from collections.abc import Callable, Mapping

from tickertape.api.fanout.finished_logs import FinishedLogs
from tickertape.api.fanout.watched_log import WatchedLog

# Ten thousand logs take 10 ms, during which the event loop does nothing else.
_LOOK_EVERY_S = 5.0


class HeldBytes:
    """Adds up the sizes of tapes, approximately and at most once in 5 s."""

    def __init__(
        self,
        watched: Mapping[str, WatchedLog],
        finished: FinishedLogs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._finished = finished
        self._clock = clock
        self._live = 0
        self._look_from_s = float("-inf")

    def read(self) -> dict[str, float]:
        """The bytes of logs that go on (`live`), and of the kept ones that ended (`finished`)."""
        now_s = self._clock()
        if now_s >= self._look_from_s:
            self._look_from_s = now_s + _LOOK_EVERY_S
            self._live = sum(each.tape.size_bytes for each in self._watched.values())
        return {"live": self._live, "finished": self._finished.held_bytes}
