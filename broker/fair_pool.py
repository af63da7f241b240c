"""A pool of connections that calls of different tenants wait for in turns."""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost

from tickertape.runtime.fair_turns import TENANT, FairTurns

# While several tenants call. With 32 calls of one tenant under way, another one's call waited for
# all of them at each of its steps: its 95th percentile in `make isolation RUN=flood` was 1.7 s, and
# is 0.25 s with 4.
_SHARE = 4


class FairPool(ConnectionPool):
    """redis-py's pool of at most `max_connections`. A call waits `timeout` seconds for one.

    redis-py's own BlockingConnectionPool gives a free connection to the first call that asks, so a
    call that waits can be overtaken without end, and a tenant with hundreds of calls has all
    connections. Here, calls of one tenant have theirs in the order in which they asked, and tenants
    that wait have theirs one after the other. While several tenants call, each of them has a few
    connections at most.
    """

    def __init__(self, *, max_connections: int, timeout: float, **options: Any) -> None:
        super().__init__(max_connections=max_connections, **options)
        self._timeout_s = timeout
        self.turns = FairTurns(max_connections, share=_SHARE)
        """Calls under way, also those that need no connection of this pool."""
        self._holders: dict[AbstractConnection, str] = {}

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        """A connection that is free or new; release it.

        Raises redis-py's ConnectionError if none became free in time or Redis is not there.
        """
        tenant = TENANT.get()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.turns.take(tenant)
        except TimeoutError:
            raise ConnectionLost("no connection became free") from None
        try:
            connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]  # bare in redis-py
        except BaseException:
            self.turns.give_back(tenant)
            raise
        self._holders[connection] = tenant
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back, also after a failure to connect it."""
        tenant = self._holders.pop(connection, None)
        try:
            await super().release(connection)
        finally:
            if tenant is not None:
                self.turns.give_back(tenant)
