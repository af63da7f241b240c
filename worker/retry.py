"""Pure: what to do after an attempt failed.

Before any output the request goes back to the queue and nobody has seen anything; after it, only
`on_interruption` may decide: a second call writes another text, which must never be spliced.
"""

import random
from dataclasses import dataclass

from tickertape.broker.requests import Policy
from tickertape.worker.failures import Failure, FailureCode


@dataclass(frozen=True, slots=True)
class Retry:
    """Give the request back to the queue, due in `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """After `delay_s`, throw the output away and begin again, in the same worker."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Continue:
    """After `delay_s`, keep the output and let the upstream go on from it, in the same worker."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Fail:
    """End the request with the failure."""


Decision = Retry | Restart | Continue | Fail


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How patient to be.

    A slow try is one that has cost much time or tokens, or that the next one will most likely end
    like: a stall, output that was cut off, a 200 that holds no answer. A `Retry-After` beyond
    `max_retry_after_s` ends the request: its caller can wait better.
    """

    max_tries: int = 8
    max_slow_tries: int = 3
    base_delay_s: float = 0.5
    max_delay_s: float = 30.0
    max_retry_after_s: float = 600.0


DEFAULT_LIMITS = RetryLimits()

# `deadline` is retryable for the client, but not by us: the time the request had is used up.
_WORTH_ANOTHER_TRY = frozenset(
    {
        FailureCode.RATE_LIMITED,
        FailureCode.ERROR,
        FailureCode.UNREACHABLE,
        FailureCode.STALLED,
        FailureCode.TRUNCATED,
    }
)
_MAX_DOUBLINGS = 16


def decide(
    failure: Failure,
    tries: int,
    *,
    has_output: bool,
    policy: Policy,
    can_continue: bool,
    rng: random.Random,
    limits: RetryLimits = DEFAULT_LIMITS,
) -> Decision:
    """What to do after a call to the upstream failed for the `tries`-th time.

    `has_output` says whether readers hold output of this request that was not thrown away, and
    `can_continue` whether this upstream could go on from it. Before output `tries` is the number of
    retries of the request plus this failure; after it, of its restarts and continuations plus this
    failure. A request that asks to be continued where nothing can continue it fails: it asked not
    to be restarted.
    """
    is_slow = has_output or failure.code is FailureCode.STALLED or not failure.may_differ
    bound = limits.max_slow_tries if is_slow else limits.max_tries
    if failure.code not in _WORTH_ANOTHER_TRY or tries >= bound:
        return Fail()
    if (failure.retry_after_s or 0.0) > limits.max_retry_after_s:
        return Fail()
    delay_s = _delay_s(failure, tries, rng, limits)
    if not has_output:
        return Retry(delay_s)
    if policy == "restart":
        return Restart(delay_s)
    if policy == "continue" and can_continue:
        return Continue(delay_s)
    return Fail()


def _delay_s(failure: Failure, tries: int, rng: random.Random, limits: RetryLimits) -> float:
    """Exponential backoff with full jitter; not before the upstream said, and not all at once.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    doublings = min(tries - 1, _MAX_DOUBLINGS)
    backoff_s = min(limits.max_delay_s, limits.base_delay_s * 2.0**doublings)
    return (failure.retry_after_s or 0.0) + rng.uniform(0.0, backoff_s)
