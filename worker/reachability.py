"""Pure: for how long a server has answered this worker without a pause."""

# broker/scripts/prefix.lua: Redis was not away in a shorter gap between two signs of life.
SHORTEST_OUTAGE_S = 1.5


class Reachability:
    """Replies within `pause_limit_s` of each other make one stretch. Times are of one clock."""

    def __init__(self, pause_limit_s: float) -> None:
        self._pause_limit_s = pause_limit_s
        self._since_s: float | None = None
        self._last_s = 0.0

    def answered(self, now_s: float) -> None:
        """The server has answered now."""
        if self.length_ms(now_s) == 0:
            self._since_s = now_s
        self._last_s = now_s

    def lost(self) -> None:
        """The server did not answer a call."""
        self._since_s = None

    def length_ms(self, now_s: float) -> int:
        """The ms of the stretch that lasts until now; 0 when there is none."""
        if self._since_s is None or now_s - self._last_s > self._pause_limit_s:
            return 0
        return int((now_s - self._since_s) * 1000)
