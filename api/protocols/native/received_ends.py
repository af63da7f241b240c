"""The ends of the requests that a follower of a conversation has received last."""

from collections import deque

from tickertape.api.fanout.log_ends import LogEnd, LogEnds

# A fail-over loses the writes of a few seconds, in which a conversation ends few requests.
_MOST_ENDS = 16


class ReceivedEnds:
    """Finds out whether Redis has lost an end, after which the request goes on."""

    def __init__(self, ends: LogEnds) -> None:
        self._ends = ends
        self._received: deque[LogEnd] = deque(maxlen=_MOST_ENDS)

    @property
    def last_attempt(self) -> int:
        """The attempt of the last end; 0 without one."""
        return self._received[-1].last.attempt if self._received else 0

    def add(self, end: LogEnd | None) -> None:
        """Note the end of a log that was read; None if the log has not ended."""
        if end is not None:
            self._received.append(end)

    def clear(self) -> None:
        """Forget all ends, because the follower starts over."""
        self._received.clear()

    async def has_lost(self) -> bool:
        """Whether a log goes on behind an end, or ends elsewhere. May raise Unavailable.

        A log that is not there has expired or was erased, of which the turns tell.
        """
        for end in list(self._received):
            if await self._ends.tail_of(end) not in {None, end.last}:
                return True
        return False
