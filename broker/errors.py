"""The errors of the broker: calls that it refuses, or cannot carry out.

    BrokerError
    ├── Unavailable            Redis did not answer; the outcome of the call is unknown
    │   ├── WritesRefused      Redis takes no writes now: a replica, no memory, no disk, a fail-over
    │   └── AccessDenied       Redis denied the command to this account; nothing was changed
    ├── Refused                a submit was not accepted, and has changed nothing
    │   ├── IdempotencyConflict
    │   ├── QueueFull
    │   ├── TenantLimitReached
    │   ├── KeptBytesReached
    │   └── ConversationBusy
    ├── RequestMissing         never existed, expired, or belongs to another tenant
    ├── ParentMissing          the conversation has no turn of the request that a new turn names
    ├── NotFinished            only a request that is over can be erased
    ├── Fenced                 the attempt is over: a newer attempt runs, or the request has ended
    ├── LogLost                Redis has lost entries of the attempt, as a fail-over may
    ├── TooLong                the log has reached its limit of entries or bytes
    ├── CursorMalformed
    ├── EntryMalformed         a log holds an entry that this version cannot read
    └── SettingsInvalid

The first line of a class's docstring is the default message.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.broker.rates import RateRest


class BrokerError(Exception):
    """The broker could not carry out the call."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0].strip())


class Unavailable(BrokerError):
    """Redis cannot be reached at the moment."""


class TooManyLargeLogs(Unavailable):
    """The memory for large logs is full in this process."""


class WritesRefused(Unavailable):
    """Redis cannot take writes at the moment.

    The message has the server's own words, which contain no data of a request.
    """


class AccessDenied(Unavailable):
    """Redis denies access to this account.

    An operator can grant the access while Tickertape runs, so processes wait as they do for a Redis
    that is away. The message is the server's and contains no data of a request.
    """


class Refused(BrokerError):
    """The request was not accepted."""


class IdempotencyConflict(Refused):
    """The idempotency key was already used with another body."""


class QueueFull(Refused):
    """The queue is full; try again later."""


class TenantLimitReached(Refused):
    """Too many requests of this tenant are waiting or running."""


class TenantBytesReached(TenantLimitReached):
    """The waiting and running requests of this tenant have too many bytes together."""


class RateReached(Refused):
    """A tenant or a user has used up a limit; `wait_ms` is the time until there is room again.

    `rests` is what is left of each of the caller's limits.
    """

    def __init__(
        self, name: str, limit: float, wait_ms: int, rests: "tuple[RateRest, ...]"
    ) -> None:
        super().__init__(
            f"The limit {name} ({limit:.12g}) is reached. Try again in {-(-wait_ms // 1000)} s."
        )
        self.name = name
        self.limit = limit
        self.wait_ms = wait_ms
        self.rests = rests


class KeptBytesReached(Refused):
    """A tenant keeps too many bytes.

    `wait_ms` is the time until enough of them have expired. None: no expiry makes enough room,
    because the request alone, or with the requests that wait and run, exceeds the limit.
    """

    def __init__(self, limit: int, wait_ms: int | None) -> None:
        again = "" if wait_ms is None else f", or try again in {-(-wait_ms // 1000)} s"
        super().__init__(
            f"The limit kept_bytes ({limit}) is reached. Erase requests or conversations{again}."
        )
        self.limit = limit
        self.wait_ms = wait_ms


class ConversationBusy(Refused):
    """The conversation has an active request."""

    def __init__(self, active_request_id: str) -> None:
        super().__init__(f"The conversation is busy with request {active_request_id}.")
        self.active_request_id = active_request_id


class RequestMissing(BrokerError):
    """There is no such request (it may have expired)."""


class ParentMissing(BrokerError):
    """parent_id: the conversation has no turn of this request."""


class NotFinished(BrokerError):
    """The request is still active; cancel it first."""


class Fenced(BrokerError):
    """The attempt is over; nothing was written."""


class LogLost(BrokerError):
    """Redis has lost entries of the log; nothing was written."""


class TooLong(BrokerError):
    """The answer has reached the bound of entries or bytes."""


class CursorMalformed(BrokerError):
    """A cursor looks like 1732300000000-12."""


class EntryMalformed(BrokerError):
    """The log holds an entry this version cannot read."""


class SettingsInvalid(BrokerError):
    """A setting has a value that is not allowed."""
