import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.broker.kinds import Policy
from tickertape.worker.failures import Failure, FailureCode
from tickertape.worker.retry import (
    BASE_DELAY_S,
    MAX_DELAY_S,
    MAX_RETRY_AFTER_S,
    MAX_SLOW_TRIES,
    MAX_TRIES,
    Continue,
    Decision,
    Fail,
    Restart,
    Retry,
    decide,
)

TRANSIENT = [
    FailureCode.RATE_LIMITED,
    FailureCode.ERROR,
    FailureCode.UNREACHABLE,
    FailureCode.STALLED,
    FailureCode.TRUNCATED,
]
FINAL = [code for code in FailureCode if code not in TRANSIENT]
RESTART: Policy = "restart"
CONTINUE: Policy = "continue"
FAIL: Policy = "fail"


def decision(
    code: FailureCode = FailureCode.ERROR,
    tries: int = 1,
    *,
    has_output: bool = False,
    policy: Policy = RESTART,
    can_continue: bool = False,
    retry_after_s: float | None = None,
    seed: int = 0,
) -> Decision:
    return decide(
        Failure(code, "", retry_after_s),
        tries,
        has_output=has_output,
        policy=policy,
        can_continue=can_continue,
        rng=random.Random(seed),
    )


@pytest.mark.parametrize("policy", get_args(Policy))
@pytest.mark.parametrize("code", TRANSIENT)
def test_before_any_output_the_policy_does_not_matter(code: FailureCode, policy: Policy) -> None:
    assert isinstance(decision(code, policy=policy), Retry)
    assert isinstance(decision(code, policy=policy, can_continue=True), Retry)


@pytest.mark.parametrize("code", TRANSIENT)
@pytest.mark.parametrize(
    ("policy", "can_continue", "expected"),
    [
        (RESTART, False, Restart),
        (RESTART, True, Restart),
        (CONTINUE, True, Continue),
        (CONTINUE, False, Fail),
        (FAIL, False, Fail),
        (FAIL, True, Fail),
    ],
)
def test_after_output_the_policy_decides(
    code: FailureCode, policy: Policy, can_continue: bool, expected: type[Decision]
) -> None:
    decided = decision(code, has_output=True, policy=policy, can_continue=can_continue)
    assert isinstance(decided, expected)


@pytest.mark.parametrize("has_output", [False, True])
@pytest.mark.parametrize("code", FINAL)
def test_what_another_try_cannot_mend_fails(code: FailureCode, has_output: bool) -> None:
    assert decision(code, has_output=has_output, can_continue=True) == Fail()


@pytest.mark.parametrize(
    ("code", "has_output", "bound"),
    [
        (FailureCode.ERROR, False, MAX_TRIES),
        (FailureCode.RATE_LIMITED, False, MAX_TRIES),
        (FailureCode.UNREACHABLE, False, MAX_TRIES),
        (FailureCode.TRUNCATED, False, MAX_TRIES),
        (FailureCode.STALLED, False, MAX_SLOW_TRIES),
        (FailureCode.ERROR, True, MAX_SLOW_TRIES),
        (FailureCode.TRUNCATED, True, MAX_SLOW_TRIES),
    ],
)
def test_tries_are_bounded(code: FailureCode, has_output: bool, bound: int) -> None:
    assert decision(code, bound - 1, has_output=has_output) != Fail()
    assert decision(code, bound, has_output=has_output) == Fail()


def test_what_most_likely_ends_in_the_same_way_is_tried_a_little_only() -> None:
    failure = Failure(FailureCode.ERROR, "", may_differ=False)
    rng = random.Random(0)
    decided = [
        decide(failure, tries, has_output=False, policy=FAIL, can_continue=False, rng=rng)
        for tries in range(1, MAX_SLOW_TRIES + 1)
    ]
    assert [type(each) for each in decided] == [Retry, Retry, Fail]


@given(st.integers(0, 1000), st.floats(0, MAX_RETRY_AFTER_S))
def test_a_retry_is_never_earlier_than_the_upstream_asked(seed: int, asked_s: float) -> None:
    decided = decision(FailureCode.RATE_LIMITED, retry_after_s=asked_s, seed=seed)
    assert isinstance(decided, Retry)
    assert asked_s <= decided.delay_s <= asked_s + BASE_DELAY_S


def test_an_upstream_that_asks_for_hours_ends_the_request() -> None:
    too_long_s = MAX_RETRY_AFTER_S + 1
    assert decision(FailureCode.RATE_LIMITED, retry_after_s=too_long_s) == Fail()


@given(st.integers(0, 1000), st.integers(1, MAX_TRIES - 1))
def test_the_delay_doubles_up_to_its_bound_and_is_spread_over_all_of_it(
    seed: int, tries: int
) -> None:
    decided = decision(tries=tries, seed=seed)
    assert isinstance(decided, Retry)
    assert 0 <= decided.delay_s <= min(MAX_DELAY_S, BASE_DELAY_S * 2 ** (tries - 1))


def test_requests_that_failed_together_do_not_come_back_together() -> None:
    decided = [decision(tries=5, seed=seed) for seed in range(100)]
    delays_s = sorted(retry.delay_s for retry in decided if isinstance(retry, Retry))
    assert delays_s[0] < 2
    assert 6 < delays_s[-1] <= 8


def test_a_wait_for_own_limits_never_uses_up_the_tries() -> None:
    failure = Failure(FailureCode.RATE_LIMITED, "", 3.0, counts=False)
    made = decide(
        failure, 99, has_output=False, policy=FAIL, can_continue=False, rng=random.Random(0)
    )
    assert isinstance(made, Retry)
    assert 3.0 <= made.delay_s <= 3.0 + BASE_DELAY_S


def test_an_answer_that_another_upstream_can_give_begins_without_a_pause() -> None:
    made = decide(
        Failure(FailureCode.RATE_LIMITED, "", MAX_RETRY_AFTER_S + 1),
        1,
        has_output=True,
        policy=RESTART,
        can_continue=False,
        rng=random.Random(0),
        has_another=True,
    )
    assert made == Restart(0.0)
