"""Maps the errors of redis-py to those of the broker: Redis is away, refuses, or denies access."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    DataError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)

from tickertape.broker.errors import AccessDenied, Unavailable, WritesRefused
from tickertape.broker.server_connection import ServerDemoted, full_reply
from tickertape.runtime.cancellations import cancellations_kept

# The errors of a server that accepts no writes now: no memory, a replica, a fail-over, a foreign
# script that takes too long (BUSY).
_REFUSALS = (
    OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError, BusyLoadingError,
    ServerDemoted,
)  # fmt: skip
_NO_LOGIN = "NOAUTH "
_REFUSAL_WORDS = ("MISCONF", "NOREPLICAS", "BUSY ")
# The errors for a command that the account may not run or that was renamed, each also from inside a
# script, and for a missing database. redis-py has a class for the first error alone.
_DENIAL_WORDS = (
    "NOPERM",
    "ACL failure in script",
    "The user executing the script can't",
    "Unknown command called from script",
    "Unknown Redis command called from script",
    "unknown command",
    "DB index is out of range",
)
# In front of the server's own words.
REFUSES_WRITES = "Redis cannot take writes at the moment: "
# After these words, a server quotes the arguments of the command.
_QUOTE = ", with args"
_FAILURES = (RedisError, OSError, TimeoutError, SlotNotCoveredError)


@contextlib.contextmanager
def failures_mapped() -> Iterator[None]:
    """Raise Unavailable in place of redis-py's errors for a Redis that is away or refuses.

    Cancellations are kept as by `cancellations_kept`.
    """
    with cancellations_kept():
        try:
            yield
        except _FAILURES as error:
            raise unavailable(error) from error


@contextlib.asynccontextmanager
async def in_time(limit_s: float) -> AsyncIterator[None]:
    """As `failures_mapped`, and Unavailable after `limit_s` with an unknown outcome."""
    try:
        async with asyncio.timeout(limit_s):
            with failures_mapped():
                yield
    except TimeoutError:
        raise Unavailable from None


def unavailable(error: BaseException) -> Unavailable:
    """The Unavailable for this failure; raises the failure itself if it is a programming error."""
    if isinstance(error, AuthenticationError) or (
        isinstance(error, ServerDemoted) and str(error).startswith(_NO_LOGIN)
    ):
        return AccessDenied(f"Redis refuses the login: {reply_text(error)}")
    if isinstance(error, ResponseError) and is_denial(error):
        return AccessDenied(f"Redis denies access: {reply_text(error)}")
    if isinstance(error, _REFUSALS) or (
        isinstance(error, ResponseError) and str(error).startswith(_REFUSAL_WORDS)
    ):
        return WritesRefused(f"{REFUSES_WRITES}{full_reply(error)}")
    if isinstance(error, NoScriptError):
        # redis-py loads a forgotten script once more. If Redis forgot the script again before the
        # call, as after a restart and a flush, the script did not run.
        return Unavailable()
    if isinstance(error, (ResponseError, DataError)):
        raise error
    return Unavailable()


def is_denial(error: Exception) -> bool:
    """Whether an error reply denies the command to this account."""
    text = str(error).removeprefix("ERR ")
    return isinstance(error, NoPermissionError) or text.startswith(_DENIAL_WORDS)


def reply_text(error: BaseException) -> str | None:
    """The text of a server's error reply, without quoted arguments; None for any other error."""
    if not isinstance(error, (ResponseError, AuthenticationError, ServerDemoted)):
        return None
    return str(error).partition(_QUOTE)[0].strip()
