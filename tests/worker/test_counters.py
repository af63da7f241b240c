"""What a worker counts of its requests, and what an upstream cannot make it count."""

import pytest

from tests.support.scripted import lease
from tickertape.worker.counters import Counters


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5}, {"input": 3, "output": 5}),
        ({"completion_tokens": 4, "estimated": True}, {"output": 4}),
        ({"prompt_tokens": None, "completion_tokens": -1}, {}),
        ({"prompt_tokens": "many", "completion_tokens": 10**30}, {}),
        (None, {}),
    ],
)
def test_only_numbers_that_can_be_true_are_counted_as_tokens(
    usage: dict[str, object] | None, counted: dict[str, int]
) -> None:
    counters = Counters()
    counters.used(usage)
    assert counters.tokens == counted


def test_the_first_token_of_a_request_is_observed_and_that_of_a_later_attempt_is_not() -> None:
    times = Counters().times
    times.first_output(lease(opener="started", waited_s=30.0))
    for opener in ("reset", "resumed"):
        times.first_output(lease(opener=opener))
    assert times.claim_to_first_token.count == 1
    assert times.submit_to_first_token.count == 1
    assert times.submit_to_first_token.sum >= 30


def test_a_request_that_is_claimed_again_has_waited_for_its_first_claim_only() -> None:
    counters = Counters()
    counters.claimed(lease(n=1, waited_s=2.0))
    counters.claimed(lease(n=2, crashes=1, waited_s=60.0, away_s=11.0))
    assert (counters.times.submit_to_claim.count, counters.times.submit_to_claim.sum) == (1, 2)
    assert (counters.times.takeover.count, counters.times.takeover.sum) == (1, 11)
    assert counters.takeovers == 1
