"""The tapes of logs that have ended, kept for replays in a bounded LRU cache."""

from collections import OrderedDict
from collections.abc import Callable

from tickertape.api.fanout.catching_up import rendered
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Wire


class FinishedLogs:
    """A cache of at most `max_bytes`, with all renderings of its tapes.

    Evicting a tape does not disturb its readers, because they hold a reference.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, WatchedLog] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """The memory of all kept tapes, approximately."""
        return self._bytes

    def get(self, request_id: str) -> WatchedLog | None:
        """The tape of a log, if it is kept."""
        watched = self._kept.get(request_id)
        if watched is not None:
            self._kept.move_to_end(request_id)
        return watched

    def add(self, watched: WatchedLog) -> None:
        """Keep a tape that is over, and evict others until all fit.

        A tape that is larger than the cache is not kept, and evicts no other one.
        """
        self.drop(watched.tape.request_id)
        if watched.measure() > self._max_bytes:
            return
        self._kept[watched.tape.request_id] = watched
        self._bytes += watched.held_bytes
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.held_bytes

    async def rendering(
        self, watched: WatchedLog, name: object, make: Callable[[], Wire]
    ) -> Rendering:
        """The frames of a tape on a wire, with all entries that the tape has at the return.

        A new rendering of a kept tape counts against the cache.
        """
        is_new = not watched.tape.has_rendering(name)
        rendering = await rendered(watched.tape, name, make)
        if is_new and self._kept.get(watched.tape.request_id) is watched:
            self.add(watched)
        return rendering

    def clear(self) -> None:
        """Evict all."""
        self._kept.clear()
        self._bytes = 0

    def drop(self, request_id: str) -> None:
        """Evict a log that is gone, if it is kept."""
        watched = self._kept.pop(request_id, None)
        if watched is not None:
            self._bytes -= watched.held_bytes
