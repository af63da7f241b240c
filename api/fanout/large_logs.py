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
        """Count a tape, by the size that was last looked up."""
        if watched.held_bytes >= _LARGE_BYTES:
            self._known.add(watched)

    def admit(self, watched: WatchedLog) -> None:
        """Count a tape that has its first reader; raises TooManyLargeLogs for one too many."""
        if not watched.tape.is_over:  # otherwise it was measured at its end
            watched.measure()
            self.note(watched)
        if watched not in self._known:
            return
        if sum(each.held_bytes for each in self._known) > self._most_bytes:
            raise TooManyLargeLogs
