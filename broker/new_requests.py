"""The requests that this process has just submitted, whose readers need no look at the record."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tickertape.broker.pools import UPSTREAM

# Most readers come right behind the submit, and to the same process.
_KEPT_S = 10.0
_MOST = 2000
# The first page of a log with such a question delays no push, and many of them fill no buffer.
SHORT_BYTES = 65_536


class NewRequest(NamedTuple):
    """What readers need of the record of a request that was submitted just now.

    The request may have ended or been erased meanwhile. An empty log shows the latter.
    """

    request_id: str
    tenant: str
    size_bytes: int
    trace: str = ""
    pool: str = UPSTREAM

    @property
    def is_short(self) -> bool:
        """Whether the log may be read behind its subscription."""
        return self.size_bytes < SHORT_BYTES

    @property
    def waiting(self) -> dict[str, Any] | None:
        """As of the submit."""
        return None


class NewRequests:
    """Each request is known to the readers that come soon.

    A large one is known to its first reader only. Its log is read without what the request waits
    for, which later readers learn from the record.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kept: dict[str, tuple[float, NewRequest]] = {}

    def note(self, request: NewRequest) -> None:
        """Keep a request for a while, in place of the oldest one if there are many."""
        if len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[request.request_id] = self._now_s(), request

    def is_short(self, request_id: str) -> bool:
        """Whether a request is new, of whichever tenant, and its log may be read at once."""
        since_s, request = self._kept.get(request_id, (0.0, None))
        return request is not None and request.is_short and self._now_s() - since_s < _KEPT_S

    def find(self, request_id: str, tenant: str) -> NewRequest | None:
        """A request of this tenant; None if the record must be looked up."""
        since_s, request = self._kept.get(request_id, (0.0, None))
        if request is None or request.tenant != tenant:
            return None
        is_new = self._now_s() - since_s < _KEPT_S
        if not is_new or not request.is_short:
            del self._kept[request_id]
        return request if is_new else None
