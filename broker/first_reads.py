"""Reads of short logs on a push connection, each right behind the subscription to its log.

Redis answers the commands of a connection in their order. So one trip subscribes and reads, nothing
is written between the two that neither shows, and no other connection is taken for the read.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tickertape.broker.log import Page, page_of

# Servers close a subscriber for which too many bytes wait. A longer log is read elsewhere from
# there on, and so are logs beyond so many that are being read.
_ENTRIES = 32
_MOST_READS = 16
_COMMANDS = 2


class Opening(NamedTuple):
    """The first page of a log, and then what its request waits for (JSON), if it does."""

    page: Page
    waiting: bytes | None


class FirstRead(NamedTuple):
    """The keys of a log and its request, and what gets the opening; None if Redis refused."""

    log_key: str
    request_key: str
    on_opening: Callable[[Opening | None], None]

    def commands(self) -> Iterator[tuple[str | int, ...]]:
        """The commands. A claim between them leaves no word of a wait that is over."""
        yield "XRANGE", self.log_key, "-", "+", "COUNT", _ENTRIES
        yield "HGET", self.request_key, "waiting"

    def finish(self, replies: list[Any]) -> None:
        """Pass on what was read; a reply is None in place of rows if Redis refused the command."""
        rows, waiting = replies
        opening = None if rows is None else Opening(page_of(rows, _ENTRIES), waiting)
        self.on_opening(opening)


class FirstReads:
    """The reads that one connection has sent. A broken connection loses them.

    Every SSUBSCRIBE of the connection must be counted. Redis answers it with one message for each
    channel, or with one error, behind which no reply can be assigned if the connection goes on.
    """

    def __init__(self) -> None:
        self._sent = self._confirmed = 0
        # By the number of the channel, of all that were subscribed to, that each read is behind.
        self._reads: dict[int, tuple[FirstRead, list[Any]]] = {}

    def subscribes(self, channels: int) -> None:
        """Count an SSUBSCRIBE of so many channels that is being sent."""
        self._sent += channels

    def commands(self, read: FirstRead) -> Iterator[tuple[str | int, ...]]:
        """What to send right behind the SSUBSCRIBE; nothing while there are enough reads."""
        if len(self._reads) < _MOST_READS:
            self._reads[self._sent] = read, []
            yield from read.commands()

    def confirm(self) -> bool:
        """Count one channel as subscribed to; whether a read of its log follows."""
        self._confirmed += 1
        return self._confirmed in self._reads

    def answer(self, reply: Any) -> bool:
        """Note the reply to a command, None for an error; whether it was one of a read."""
        number = next(iter(self._reads), None)
        if number is None or number > self._confirmed:
            return False
        read, replies = self._reads[number]
        replies.append(reply)
        if len(replies) == _COMMANDS:
            del self._reads[number]
            read.finish(replies)
        return True
