"""Where logs ended when this process read them, and whether they still end there."""

from dataclasses import dataclass

from tickertape.api.fanout.tape import Tape
from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.broker.log import Logs
from tickertape.broker.push import Push


@dataclass
class LogEnd:
    """The last entry of a finished log, and the number of Push.gains at which it was there."""

    request_id: str
    last: Cursor
    gains: int


class LogEnds:
    """Reads the ends of logs again after a change of servers, because a fail-over may lose them."""

    def __init__(self, logs: Logs, push: Push) -> None:
        self._logs = logs
        self._push = push

    def note(self, tape: Tape) -> LogEnd:
        """The end of a tape that is over."""
        request_id = tape.request_id
        return LogEnd(request_id, tape.last, self._gains(request_id))

    async def tail_of(self, end: LogEnd) -> Cursor | None:
        """The id of the last entry now; None if the log does not exist. May raise Unavailable.

        Redis is asked only if another connection has served the partition since.
        """
        gains = self._gains(end.request_id)
        if end.gains == gains:
            return end.last
        (tail,) = await self._logs.tails([end.request_id])
        if tail == end.last:
            end.gains = gains
        return tail

    async def tails(self, request_ids: list[str]) -> list[Cursor | None]:
        """The ids of the last entries now, as `Logs.tails`. May raise Unavailable."""
        return await self._logs.tails(request_ids)

    def _gains(self, request_id: str) -> int:
        return self._push.gains(request_ids.partition_of(request_id))
