"""The ends of the requests that a follower of a conversation has received last."""

from collections import deque

from tickertape.api.fanout.log_ends import LogEnd, LogEnds

# A fail-over loses the writes of a few seconds, in which a conversation ends few requests.
_MOST_ENDS = 16


class ReceivedEnds:
    """Finds out whether Redis has lost an end, after which the request goes on."""

    def __init__(self, ends: LogEnds, last_attempt: int) -> None:
        self._ends = ends
        self._received: deque[LogEnd] = deque(maxlen=_MOST_ENDS)
        self.last_attempt = last_attempt
        """The latest attempt whose end the follower has received; 0 without one.

        A request that was cancelled while it waited ended in no attempt.
        """

    def add(self, end: LogEnd | None) -> None:
        """Note the end of a log that was read; None if the log has not ended."""
        if end is not None:
            self._received.append(end)
            self.last_attempt = max(self.last_attempt, end.last.attempt)

    def clear(self) -> None:
        """Forget all ends, because the follower starts over."""
        self._received.clear()
        self.last_attempt = 0

    async def has_lost(self) -> bool:
        """Whether a log goes on behind an end, or ends elsewhere. May raise Unavailable.

        A log that is not there has expired or was erased, of which the turns tell.
        """
        for end in list(self._received):
            if await self._ends.tail_of(end) not in {None, end.last}:
                return True
        return False
