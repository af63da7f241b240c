"""What the broker refuses or cannot do.

    BrokerError
    ├── Unavailable            Redis did not answer; nothing is known about the last call
    │   └── AccessDenied       Redis answered that this account may not; nothing was changed
    ├── Refused                a submit that was not accepted; nothing of it is left behind
    │   ├── IdempotencyConflict
    │   ├── QueueFull
    │   ├── TenantLimitReached
    │   └── ConversationBusy
    ├── RequestMissing         never existed, expired, or belongs to another tenant
    ├── NotFinished            the request has to be over before this can be done
    ├── Fenced                 the attempt is over: another one has begun, or the request has ended
    ├── TooLong                the log has reached its bound of entries or bytes
    ├── CursorMalformed
    ├── EntryMalformed         a log holds something this version cannot read
    └── SettingsInvalid

The docstring of each is its message when none is given.
"""


class BrokerError(Exception):
    """The broker could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0].strip())


class Unavailable(BrokerError):
    """Redis cannot be reached at the moment."""


class AccessDenied(Unavailable):
    """Redis denies access to this account.

    Its operator can mend that while we run, so that it is waited for like a Redis that is away. The
    message names what is denied, in words of the server's that hold no data of a request.
    """


class Refused(BrokerError):
    """The request was not accepted."""


class IdempotencyConflict(Refused):
    """The idempotency key was already used with another body."""


class QueueFull(Refused):
    """The queue is full; try again later."""


class TenantLimitReached(Refused):
    """Too many requests of this tenant are waiting or running."""


class ConversationBusy(Refused):
    """The conversation has an active request."""

    def __init__(self, active_request_id: str) -> None:
        super().__init__(f"The conversation is busy with request {active_request_id}.")
        self.active_request_id = active_request_id


class RequestMissing(BrokerError):
    """There is no such request (it may have expired)."""


class NotFinished(BrokerError):
    """The request is still active; cancel it first."""


class Fenced(BrokerError):
    """The attempt is over; nothing was written."""


class TooLong(BrokerError):
    """The answer has reached the bound of entries or bytes."""


class CursorMalformed(BrokerError):
    """A cursor looks like 1732300000000-12."""


class EntryMalformed(BrokerError):
    """The log holds an entry this version cannot read."""


class SettingsInvalid(BrokerError):
    """A setting has a value that is not allowed."""
