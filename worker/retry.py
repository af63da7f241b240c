"""Pure: the retry rule, which decides what happens after an attempt failed.

Before any output, the request goes back to the queue, because no reader has seen an answer yet.
After output, `on_interruption` decides: a second call writes another text, and the two must never
be joined.
"""

import random
from dataclasses import dataclass

from tickertape.broker.kinds import Policy
from tickertape.worker.failures import Failure, FailureCode


@dataclass(frozen=True, slots=True)
class Retry:
    """Put the request back into the queue, due in `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """After `delay_s`, discard the output and start over, in the same worker."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Continue:
    """After `delay_s`, keep the output and continue it, in the same worker."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Fail:
    """End the request with the failure."""


Decision = Retry | Restart | Continue | Fail


MAX_TRIES = 8
# A slow try cost much time or many tokens, or the next try will most likely end the same way: a
# stall, output that was cut off, a 200 without an answer.
MAX_SLOW_TRIES = 3
BASE_DELAY_S = 0.5
MAX_DELAY_S = 30.0
# A longer `Retry-After` ends the request, because its caller can wait better than a worker.
MAX_RETRY_AFTER_S = 600.0

# `deadline` is missing here. A client may retry it, but this request has used up its time.
_WORTH_ANOTHER_TRY = frozenset(
    {
        FailureCode.RATE_LIMITED,
        FailureCode.ERROR,
        FailureCode.UNREACHABLE,
        FailureCode.STALLED,
        FailureCode.TRUNCATED,
    }
)


def decide(
    failure: Failure,
    tries: int,
    *,
    has_output: bool,
    policy: Policy,
    can_continue: bool,
    rng: random.Random,
    has_another: bool = False,
) -> Decision:
    """What to do after a call to the upstream failed for the `tries`-th time.

    `has_output`: readers hold output of this request that was not discarded. `can_continue`: this
    upstream could go on from that output. Before output, `tries` is the number of retries of the
    request plus this failure. After output, it is the number of restarts and continuations plus
    this failure. Failures that do not count never use them up. `has_another`: another upstream can
    answer at once, so that no pause is needed. A request with the policy `continue` fails where its
    answer cannot be continued, because its caller did not ask for a restart.
    """
    is_slow = has_output or failure.code is FailureCode.STALLED or not failure.may_differ
    bound = MAX_SLOW_TRIES if is_slow else MAX_TRIES
    if failure.code not in _WORTH_ANOTHER_TRY or (failure.counts and tries >= bound):
        return Fail()
    if (failure.retry_after_s or 0.0) > MAX_RETRY_AFTER_S and not has_another:
        return Fail()
    delay_s = 0.0 if has_another else _delay_s(failure, tries if failure.counts else 1, rng)
    if not has_output:
        return Retry(delay_s)
    if policy == "restart":
        return Restart(delay_s)
    if policy == "continue" and can_continue:
        return Continue(delay_s)
    return Fail()


def _delay_s(failure: Failure, tries: int, rng: random.Random) -> float:
    """Exponential backoff with full jitter, added to the pause that the upstream asked for.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    backoff_s = min(MAX_DELAY_S, BASE_DELAY_S * 2.0 ** (tries - 1))
    return (failure.retry_after_s or 0.0) + rng.uniform(0.0, backoff_s)
