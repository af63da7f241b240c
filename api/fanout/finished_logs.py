"""The tapes of logs that have ended, kept for replays in a bounded LRU cache."""

from collections import OrderedDict

from tickertape.api.fanout.watched_log import WatchedLog


class FinishedLogs:
    """A cache. Evicting a tape does not disturb its readers, because they hold a reference."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, WatchedLog] = OrderedDict()
        self._bytes = 0

    def get(self, request_id: str) -> WatchedLog | None:
        """The tape of a log, if it is kept."""
        watched = self._kept.get(request_id)
        if watched is not None:
            self._kept.move_to_end(request_id)
        return watched

    def add(self, watched: WatchedLog) -> None:
        """Keep a tape that is over, and evict others until all fit."""
        self._kept[watched.tape.request_id] = watched
        watched.cached_bytes = watched.tape.size_bytes
        self._bytes += watched.cached_bytes
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.cached_bytes

    def clear(self) -> None:
        """Evict all."""
        self._kept.clear()
        self._bytes = 0

    def drop(self, request_id: str) -> None:
        """Evict a log that is gone, if it is kept."""
        watched = self._kept.pop(request_id, None)
        if watched is not None:
            self._bytes -= watched.cached_bytes
