"""Clients of Redis, each with time-outs and retries chosen for what it does.

redis-py 8 gives every client a socket time-out of 5 s and ten silent retries. A retry repeats a
write whose reply was lost, so every write here is a script that may be repeated; and a blocking
read longer than the time-out would be cut and repeated for a minute without a word, so blocking
reads have a client of their own.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    DataError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from tickertape.broker import keys
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable
from tickertape.runtime.addresses import hide_secrets

COMMAND_TIMEOUT_S = 5.0
# A command with all its repeats. One that met a dead connection has time for another one; a server
# that hangs is told of after this, and not after as many time-outs as there are repeats.
COMMAND_LIMIT_S = 6.0
CONNECT_TIMEOUT_S = 3.0
# A blocked read answers this much after its own time-out at the latest (the server's timer has
# 100 ms steps, and a loaded server is late); later means that the connection is dead.
BLOCK_MARGIN_S = 5.0
MAX_BLOCK_S = 5.0
MAX_COMMAND_CONNECTIONS = 32
MAX_BLOCKING_CONNECTIONS = 64
_POOL_WAIT_S = 5.0
_RETRIES = 3

# What a server says when it takes no writes now: memory, a replica, a fail-over (which also ends
# blocked reads, UNBLOCKED), a script of someone else that takes too long (BUSY). redis-py cuts the
# word off the message of those it has a class for.
_REFUSALS = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_UVLOOP_CLOSED = "the handler is closed"
_REFUSAL_WORDS = ("MISCONF", "NOREPLICAS", "UNBLOCKED", "BUSY ")
# What a server says to a command that the account may not run, or that was renamed, first from
# inside of a script, or to a database that it has not. redis-py has a class for the first alone.
_DENIAL_WORDS = (
    "NOPERM",
    "ACL failure in script",
    "Unknown command called from script",
    "Unknown Redis command called from script",
    "unknown command",
    "DB index is out of range",
)
# Behind these words a server quotes what it was sent.
_QUOTE = ", with args"


class Connections:
    """The clients of one process for one Redis; `aclose` them at the end.

    Replies are bytes in their RESP2 shapes. Everything here raises Unavailable when Redis does not
    answer or takes no writes at the moment; the outcome of that command is then not known. What
    Redis does not let this account do is AccessDenied.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.commands = _client(
            url,
            max_connections=MAX_COMMAND_CONNECTIONS,
            socket_timeout=COMMAND_TIMEOUT_S,
            retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.5), _RETRIES),
        )
        self._blocking = _client(
            url,
            max_connections=MAX_BLOCKING_CONNECTIONS,
            socket_timeout=MAX_BLOCK_S + BLOCK_MARGIN_S,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def address(self) -> str:
        """Where Redis is, for people to read: without its password."""
        return hide_secrets(self._url)

    async def ask(self, *command: str | bytes | float) -> Any:
        """The reply to one quick command; it may be sent twice, so it must bear that."""
        async with in_time():
            return await self.commands.execute_command(*command)  # type: ignore[no-untyped-call]  # bare in redis-py

    async def ask_all(self, commands: Sequence[tuple[str | bytes | float, ...]]) -> list[Any]:
        """The replies to many quick commands in one round trip."""
        pipeline = self.commands.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        async with in_time():
            # Raised here and not by redis-py, which puts words of its own before those of the
            # server: "BUSY" would be no refusal, but a mistake of ours.
            replies = list(await pipeline.execute(raise_on_error=False))
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

    async def block(self, *command: str | bytes | float) -> Any:
        """The reply to a command that blocks for at most MAX_BLOCK_S; never sent twice."""
        with failures_mapped():
            return await self._blocking.execute_command(*command)  # type: ignore[no-untyped-call]  # as above

    def unpooled(self) -> Connection:
        """A connection of its own, not yet connected: never retried, owned by one task."""
        options = _options(self._url, socket_timeout=COMMAND_TIMEOUT_S, retry=Retry(NoBackoff(), 0))
        connection_class = options.pop("connection_class")
        for option_of_pools in ("max_connections", "timeout"):
            options.pop(option_of_pools, None)
        connection: Connection = connection_class(**options)
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


def _client(url: str, **ours: Any) -> Redis:
    # from_pool and not the constructor: only then does closing the client close its connections.
    return Redis.from_pool(BlockingConnectionPool(**_options(url, timeout=_POOL_WAIT_S, **ours)))


def _options(url: str, **ours: Any) -> dict[str, Any]:
    """The address, the account and the TLS of the URL; what this program relies on is its own."""
    given = parse_url(url)
    kind: Any = given.get("connection_class", Connection)
    return {
        **given,
        "connection_class": _loss_telling(kind),
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        **ours,
    }


class _LossTelling(AbstractConnection):
    """Says that a connection is lost where uvloop says RuntimeError.

    A write to a transport that has closed since is a ConnectionError on asyncio's own loop, and
    redis-py repeats the command elsewhere. uvloop's RuntimeError (`_ensure_alive` in its
    handles/handle.pyx) it lets through: one reset at the wrong moment, and the renewal of a lease
    ends its worker.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            if _UVLOOP_CLOSED not in str(error):
                raise
            raise ConnectionLost("The connection was lost.") from error


@functools.cache
def _loss_telling(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    # Once for each kind: a class is a cycle, and connections are made as long as Redis is away.
    return type(kind.__name__, (_LossTelling, kind), {})


_FAILURES = (RedisError, OSError, TimeoutError)


@contextlib.contextmanager
def failures_mapped() -> Iterator[None]:
    """Raise Unavailable for what redis-py raises when Redis cannot be reached or refuses.

    It also keeps cancellations: one that arrives while redis-py connects can vanish in there, and
    the task would go on as if nobody had cancelled it.
    """
    task = asyncio.current_task()
    cancels_before = task.cancelling() if task else 0
    try:
        yield
    except _FAILURES as error:
        raise unavailable(error) from error
    finally:
        if task is not None and task.cancelling() > cancels_before:
            raise asyncio.CancelledError


@contextlib.asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """The same, and Unavailable after COMMAND_LIMIT_S; the outcome is then not known."""
    try:
        async with asyncio.timeout(COMMAND_LIMIT_S):
            with failures_mapped():
                yield
    except TimeoutError:
        raise Unavailable from None


def unavailable(error: BaseException) -> Unavailable:
    """The Unavailable that stands for this failure; what is our own fault is raised as it is."""
    if isinstance(error, AuthenticationError):
        return AccessDenied(f"Redis refuses the login: {reply_text(error)}")
    if isinstance(error, ResponseError) and is_denial(error):
        return AccessDenied(f"Redis denies access: {reply_text(error)}")
    if isinstance(error, _REFUSALS) or (
        isinstance(error, ResponseError) and str(error).startswith(_REFUSAL_WORDS)
    ):
        return Unavailable("Redis cannot take writes at the moment.")
    if isinstance(error, NoScriptError):
        # redis-py loads a script once more when Redis forgot it; forgotten again meanwhile, as
        # after a restart and a flush, it was not run.
        return Unavailable()
    if isinstance(error, (ResponseError, DataError)):
        raise error
    return Unavailable()


def is_denial(error: Exception) -> bool:
    """Whether a server's error says that the account may not do what was asked."""
    text = str(error).removeprefix("ERR ")
    return isinstance(error, NoPermissionError) or text.startswith(_DENIAL_WORDS)


def reply_text(error: BaseException) -> str | None:
    """The words of a server's error reply, without what they quote; None for any other error."""
    if not isinstance(error, (ResponseError, AuthenticationError)):
        return None
    return str(error).partition(_QUOTE)[0].strip()
