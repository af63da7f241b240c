"""Which upstream is tried first, and when one is left alone."""

import random
from collections import Counter
from dataclasses import dataclass

from tickertape.worker.upstreams.breaker import Breaker, BreakerTiming, State
from tickertape.worker.upstreams.choice import ranked
from tickertape.worker.upstreams.table import Row

TIMING = BreakerTiming(failures=3, first_open_s=5, longest_open_s=15)


class Clock:
    """A clock that stands still until it is advanced."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s


@dataclass(frozen=True)
class Choice:
    row: Row
    breaker: Breaker


def choice(name: str, breaker: Breaker | None = None, **fields: float) -> Choice:
    row = Row.model_validate({"name": name, "base_url": "http://a", **fields})
    return Choice(row, breaker or Breaker(Clock()))


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock, TIMING)
    for _ in range(3):
        breaker.failed()
    return breaker


def names(choices: list[Choice], *tried: str) -> list[str]:
    return [each.row.name for each in ranked(choices, tried, random.Random(1))]


def test_the_lower_order_comes_first_then_those_that_failed_for_the_request() -> None:
    choices = [choice("c", order=3), choice("a", order=1), choice("b", order=2)]
    assert names(choices) == ["a", "b", "c"]
    assert names(choices, "a") == ["b", "c", "a"]


def test_an_open_breaker_puts_an_upstream_behind_all_others() -> None:
    clock = Clock()
    choices = [choice("a", opened(clock)), choice("b", Breaker(clock), order=9)]
    assert names(choices) == ["b", "a"]
    clock.advance(5)
    assert names(choices) == ["a", "b"]


def test_upstreams_of_one_order_share_the_requests_by_weight() -> None:
    rng, choices = random.Random(1), [choice("a", weight=3), choice("b", weight=1)]
    first = Counter(ranked(choices, (), rng)[0].row.name for _ in range(4000))
    assert abs(first["a"] / 4000 - 0.75) < 0.03


def test_a_breaker_opens_after_failures_in_a_row_and_closes_after_one_answer() -> None:
    clock = Clock()
    breaker = Breaker(clock, TIMING)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert (breaker.state, breaker.admits) == (State.OPEN, False)
    clock.advance(5)
    assert (breaker.state, breaker.admits) == (State.HALF_OPEN, True)
    breaker.begun()
    assert not breaker.admits  # one call at a time shows whether it answers
    breaker.succeeded()
    assert (breaker.state, breaker.admits) == (State.CLOSED, True)


def test_a_failed_trial_opens_the_breaker_for_longer_up_to_a_bound() -> None:
    clock = Clock()
    breaker = opened(clock)
    for open_s in (5, 10, 15, 15):
        clock.advance(open_s - 0.1)
        assert not breaker.admits
        clock.advance(0.2)
        breaker.begun()
        assert breaker.failed()


def test_a_trial_that_the_worker_ended_lets_another_one_follow() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.advance(5)
    breaker.begun()
    breaker.abandoned()
    assert breaker.admits


def test_an_upstream_that_asked_for_a_pause_rests_for_that_time() -> None:
    clock = Clock()
    breaker = Breaker(clock, TIMING)
    breaker.rest(7)
    assert (breaker.state, breaker.admits) == (State.CLOSED, False)
    clock.advance(7)
    assert breaker.admits
