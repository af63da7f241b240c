"""Clients of Redis, each with time-outs and retries chosen for what it does.

redis-py 8 gives every client a socket time-out of 5 s and ten silent retries. A retry repeats a
write whose reply was lost, so every write here is a script that may be repeated; and a blocking
read longer than the time-out would be cut and repeated for a minute without a word, so blocking
reads have a client of their own.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker import keys
from broker.errors import SettingsInvalid, Unavailable

COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 3.0
# A blocked read answers this much after its own time-out at the latest (the server's timer has
# 100 ms steps, and a loaded server is late); later means that the connection is dead.
BLOCK_MARGIN_S = 5.0
MAX_BLOCK_S = 5.0
MAX_COMMAND_CONNECTIONS = 32
MAX_BLOCKING_CONNECTIONS = 64
_POOL_WAIT_S = 5.0
_RETRIES = 3

# Errors of the server that say "not now": memory, disk, a replica, a start or a fail-over.
_REFUSALS = (
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
)


class Connections:
    """The clients of one process for one Redis; `aclose` them at the end.

    Replies are bytes in their RESP2 shapes. Everything here raises Unavailable when Redis does not
    answer or takes no writes at the moment; the outcome of that command is then not known.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.commands: Redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_COMMAND_CONNECTIONS,
                timeout=_POOL_WAIT_S,
                protocol=2,
                socket_timeout=COMMAND_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.5), _RETRIES),
            )
        )
        self._blocking: Redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_BLOCKING_CONNECTIONS,
                timeout=_POOL_WAIT_S,
                protocol=2,
                socket_timeout=MAX_BLOCK_S + BLOCK_MARGIN_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        )

    async def ask(self, *command: str | bytes | float) -> Any:
        """The reply to one quick command; it may be sent twice, so it must bear that."""
        try:
            return await self.commands.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it bare
        except FAILURES as error:
            raise unavailable(error) from error

    async def ask_all(self, commands: Sequence[tuple[str | bytes | float, ...]]) -> list[Any]:
        """The replies to many quick commands in one round trip."""
        pipeline = self.commands.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(await pipeline.execute())
        except FAILURES as error:
            raise unavailable(error) from error

    async def block(self, *command: str | bytes | float) -> Any:
        """The reply to a command that blocks for at most MAX_BLOCK_S; never sent twice."""
        try:
            return await self._blocking.execute_command(*command)  # type: ignore[no-untyped-call]  # see above
        except FAILURES as error:
            raise unavailable(error) from error

    def unpooled(self) -> Connection:
        """A connection of its own, not yet connected: never retried, owned by one task."""
        options: dict[str, Any] = dict(parse_url(self._url))
        connection_class = options.pop("connection_class", Connection)
        connection: Connection = connection_class(
            **options,
            protocol=2,
            socket_timeout=COMMAND_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        return connection

    async def agree_on_partitions(self, partitions: int) -> None:
        """Make sure that all processes count the same partitions.

        An idempotency key or a conversation would be looked for in the wrong place otherwise.
        Raises SettingsInvalid naming both numbers, Unavailable when Redis does not answer.
        """
        await self.ask("SET", keys.partition_count(), partitions, "NX")
        known = int(await self.ask("GET", keys.partition_count()) or partitions)
        if known != partitions:
            raise SettingsInvalid(
                f"TICKERTAPE_PARTITIONS is {partitions}, but this Redis was used with {known}: "
                f"set it to {known}, or use an empty Redis"
            )

    async def aclose(self) -> None:
        """Close all pooled connections; safe to call twice."""
        await self.commands.aclose()
        await self._blocking.aclose()


FAILURES = (RedisError, OSError, TimeoutError)


def unavailable(error: BaseException) -> Unavailable:
    """The Unavailable that stands for a failure; an error that is our own fault is raised."""
    if isinstance(error, ResponseError) and not str(error).startswith(_REFUSALS):
        raise error
    if isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)):
        return Unavailable()
    return Unavailable("Redis cannot take writes at the moment.")
