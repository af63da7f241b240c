"""Pauses grow, have jitter, and are at least what the server asks for."""

from tickertape.runtime.backoff import Backoff


def test_waits_grow_to_a_bound() -> None:
    backoff = Backoff(first_s=1, longest_s=8)
    waits = [backoff.next_s() for _ in range(10)]
    bounds = [1, 2, 4, 8, 8, 8, 8, 8, 8, 8]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_a_success_makes_the_next_wait_short_again() -> None:
    backoff = Backoff(first_s=1, longest_s=8)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1


def test_the_wait_is_at_least_what_the_server_asks_for() -> None:
    assert Backoff(first_s=1).next_s(at_least_s=30) == 30
