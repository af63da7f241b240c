"""Pure: what a client does when a call or a connection fails: wait how long, or give up."""

from dataclasses import dataclass

from tickertape.client.errors import ApiUnreachable
from tickertape.runtime.backoff import Backoff


@dataclass(frozen=True)
class Timing:
    """The limits of a client, in seconds.

    An API to which no connection could be opened yet is given up after `first_patience_s`. A call
    that reached a server is repeated for `call_patience_s`, and a stream that was open once is
    reopened for `stream_patience_s`. A connection is dead after `silence_s`, which is 2.5
    heartbeats of a server with default settings.
    """

    first_patience_s: float = 3.0
    call_patience_s: float = 30.0
    stream_patience_s: float = 300.0
    longest_wait_s: float = 10.0
    silence_s: float = 37.5
    # A shorter interruption, for example a restart of the API, is not reported to the user.
    notify_after_s: float = 2.0


class Outage:
    """The failures since the last success. `patience_s` counts from the first of them."""

    def __init__(self, timing: Timing, patience_s: float, *, was_reached: bool = False) -> None:
        self._timing = timing
        self._patience_s = patience_s
        self._was_reached = was_reached
        self._backoff = Backoff()
        self._since_s: float | None = None
        self._has_notified = False

    def wait_s(self, error: ApiUnreachable, now_s: float) -> float | None:
        """Seconds to wait before the next attempt; None if the patience has run out.

        A wait that the server asked for is kept, also if it is longer than `longest_wait_s`.
        """
        self._was_reached = self._was_reached or error.was_reached
        if self._since_s is None:
            self._since_s = now_s
        patience_s = self._patience_s
        if not self._was_reached:
            patience_s = min(patience_s, self._timing.first_patience_s)
        wait_s = max(min(self._backoff.next_s(), self._timing.longest_wait_s), error.wait_s)
        return None if now_s - self._since_s + wait_s > patience_s else wait_s

    def is_news(self, now_s: float) -> bool:
        """Whether the user should hear of the outage now: once, after `notify_after_s`."""
        if self._since_s is None or self._has_notified:
            return False
        self._has_notified = now_s - self._since_s >= self._timing.notify_after_s
        return self._has_notified

    def end(self) -> bool:
        """Note a success. Returns whether the user had heard of the outage."""
        had_notified = self._has_notified
        self._since_s, self._has_notified, self._was_reached = None, False, True
        self._backoff.reset()
        return had_notified
