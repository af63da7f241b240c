"""The errors that a call of the upstream raises, each with the failure code that clients see.

    UpstreamError              the upstream gave no complete answer
    ├── RateLimited            upstream_rate_limited   429, or the same inside the stream
    ├── UpstreamFault          upstream_error          5xx, or the same inside the stream
    │   └── UpstreamGarbage                            the response is not a chat completion
    ├── Unreachable            upstream_unreachable    no connection, or no response
    ├── Stalled                upstream_stalled        connected and silent for too long
    ├── Truncated              upstream_truncated      the body ended without a finish_reason
    ├── Rejected               upstream_rejected       a 4xx, or the same inside the stream; the
    │                                                  same request will fail again
    └── DeadlineExceeded       deadline                the whole attempt took too long

Messages are shown to clients and written to logs. They must not contain keys or prompts. Raise
these errors `from None`, because the SDK's exceptions contain the request with its key.
"""

from typing import ClassVar

from tickertape.runtime.upstream_words import UNREACHABLE
from tickertape.worker.failures import FailureCode


class UpstreamError(Exception):
    """The upstream gave no complete answer."""

    code: ClassVar[FailureCode] = FailureCode.ERROR
    may_differ: bool = True
    counts: ClassVar[bool] = True
    """Whether an upstream was called, so that this is one of a request's tries."""
    of_all_requests: ClassVar[str | None] = None
    """Why every other request of this server would fail as well, in a sentence."""
    status: int | None = None
    """The HTTP status of the response; None if there was none, or in a stream."""
    detail: str | None = None
    """The upstream's own text for the log, without keys and the prompt. No client sees it."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        may_differ: bool | None = None,
        problem: str | None = None,
    ) -> None:
        if may_differ is not None:
            self.may_differ = may_differ
        self.message = message or (type(self).__doc__ or "").strip()
        self.retry_after_s = retry_after_s
        self.problem = problem or self.of_all_requests
        super().__init__(self.message)


class RateLimited(UpstreamError):
    """The upstream's rate limit is reached."""

    code = FailureCode.RATE_LIMITED


class AtOwnLimit(RateLimited):
    """The upstreams of this server are at the limits that are set for them."""

    counts = False


class UpstreamFault(UpstreamError):
    """The upstream reported an error."""


class UpstreamGarbage(UpstreamFault):
    """The upstream sent something that is not a stream of chat completion chunks."""

    may_differ = False


class Unreachable(UpstreamError):
    """The upstream cannot be reached."""

    of_all_requests = UNREACHABLE
    code = FailureCode.UNREACHABLE


class NoModelList(UpstreamError):
    """The upstream has no list of models: its address may be wrong, or it works without one."""


class Stalled(UpstreamError):
    """The upstream fell silent."""

    code = FailureCode.STALLED


class Truncated(UpstreamError):
    """The upstream's answer broke off."""

    code = FailureCode.TRUNCATED


class Rejected(UpstreamError):
    """The upstream rejected the request."""

    code = FailureCode.REJECTED


class DeadlineExceeded(UpstreamError):
    """The attempt took too long."""

    code = FailureCode.DEADLINE
