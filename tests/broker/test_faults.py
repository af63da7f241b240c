"""Fault points: the process ends where a test asked for it, and nowhere else."""

import os

import pytest

from tickertape.broker.faults import armed, crash_at


class Died(BaseException):
    """What ends a test where a process would end."""


@pytest.fixture(autouse=True)
def exits(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(code: int) -> None:
        raise Died(code)

    monkeypatch.setattr(os, "_exit", die)


def test_a_process_dies_at_its_point_the_first_time() -> None:
    at = armed("after_claim")
    at("before", "claim")
    at("after", "finish")
    with pytest.raises(Died, match="137"):
        at("after", "claim")


def test_a_process_dies_the_time_it_was_asked_for() -> None:
    at = armed("before_append:3")
    at("before", "append")
    at("after", "append")
    at("before", "append")
    with pytest.raises(Died):
        at("before", "append")


@pytest.mark.parametrize(
    "fault",
    ["", "claim", "after_", "during_claim", "after_claim:0", "after_claim:x", "after_claim "],
)
def test_a_malformed_point_is_refused(fault: str) -> None:
    with pytest.raises(ValueError, match="TICKERTAPE_FAULT looks like"):
        armed(fault)


def test_a_process_that_was_not_asked_to_die_goes_on() -> None:
    crash_at("before", "claim")
    crash_at("after", "claim")
