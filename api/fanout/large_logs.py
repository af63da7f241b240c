"""Bounds the memory of large logs whose tapes readers hold, and which no cache counts."""

from weakref import WeakSet

from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker.errors import TooManyLargeLogs

# The tapes of smaller logs are bounded by the connections that hold them.
_LARGE_BYTES = 1024 * 1024


class LargeLogs:
    """The tapes of at least 1 MiB in this process, which together have at most `most_bytes`.

    A tape counts for as long as something refers to it, also for a while after its last reader.
    Tapes that grow while they are held count from their end on, or from their next first reader on.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._known: WeakSet[WatchedLog] = WeakSet()

    def note(self, watched: WatchedLog) -> None:
        """Look up the size of a tape. Takes time per entry."""
        watched.held_bytes = watched.tape.size_bytes
        if watched.held_bytes >= _LARGE_BYTES:
            self._known.add(watched)

    def admit(self, watched: WatchedLog) -> None:
        """Note a tape that has its first reader; raises TooManyLargeLogs for one too many."""
        self.note(watched)
        total_bytes = sum(each.held_bytes for each in self._known)
        if watched in self._known and total_bytes > self._most_bytes:
            raise TooManyLargeLogs
