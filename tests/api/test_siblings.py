"""Several API processes are one for whoever reads their metrics."""

import copy

import pytest

from tickertape.runtime.metric_sums import summed
from tickertape.runtime.siblings import FRESH_S, SLOT_BYTES, Siblings

ONE = b"""# HELP tickertape_submits_total Submitted
# TYPE tickertape_submits_total counter
tickertape_submits_total{outcome="accepted"} 3.0
tickertape_submits_total{outcome="busy"} 0.0
# HELP tickertape_subscribers Open streams
# TYPE tickertape_subscribers gauge
tickertape_subscribers 5.0
# HELP tickertape_push_up Up
# TYPE tickertape_push_up gauge
tickertape_push_up 1.0
# HELP tickertape_longest_turn_seconds Longest
# TYPE tickertape_longest_turn_seconds gauge
tickertape_longest_turn_seconds 0.25
# HELP wait_seconds Wait
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1.0"} 1.0
wait_seconds_bucket{le="+Inf"} 2.0
wait_seconds_count 2.0
wait_seconds_sum 4.5
"""
OTHER = (
    ONE.replace(b"} 3.0", b"} 4.0").replace(b"push_up 1.0", b"push_up 0.0").replace(b"0.25", b"0.5")
)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Family:
    """Processes on one address, all in this one."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.made = Siblings(count, self.clock)

    def start(self, number: int) -> Siblings:
        child = copy.copy(self.made)
        child.join(number)
        return child


def value(text: bytes, sample: str) -> float:
    (line,) = [line for line in text.decode().splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


def test_the_sum_of_two_processes_has_each_metric_by_its_meaning() -> None:
    text = summed([ONE, OTHER])
    assert value(text, 'tickertape_submits_total{outcome="accepted"}') == 7
    assert value(text, 'tickertape_submits_total{outcome="busy"}') == 0
    assert value(text, "tickertape_subscribers") == 10
    assert value(text, "tickertape_push_up") == 0
    assert value(text, "tickertape_longest_turn_seconds") == 0.5
    assert value(text, 'wait_seconds_bucket{le="1.0"}') == 2
    assert value(text, "wait_seconds_sum") == 9
    assert text.count(b"# TYPE tickertape_submits_total counter") == 1


def test_the_sum_of_one_process_is_what_it_says() -> None:
    assert summed([ONE]) == ONE


def test_a_counter_does_not_fall_when_a_process_ends() -> None:
    text = summed([ONE], ended=[OTHER])
    assert value(text, 'tickertape_submits_total{outcome="accepted"}') == 7
    assert value(text, "wait_seconds_count") == 4
    assert value(text, "tickertape_subscribers") == 5
    assert value(text, "tickertape_push_up") == 1


def test_a_process_that_was_killed_leaves_its_counts_to_the_one_that_replaces_it() -> None:
    family = Family(2)
    first, killed = family.start(0), family.start(1)
    killed.write(OTHER)
    assert [written.text for written in first.others()] == [OTHER]
    replacement = family.start(1)
    assert replacement.before == OTHER
    (left,) = first.others()
    assert (left.text, left.is_fresh) == (OTHER, False)
    replacement.write(summed([ONE], ended=[replacement.before]))
    (both,) = first.others()
    assert both.is_fresh
    assert value(both.text, 'tickertape_submits_total{outcome="accepted"}') == 7


def test_a_process_that_hangs_is_known_by_the_age_of_what_it_wrote() -> None:
    family = Family(2)
    reader, hanging = family.start(0), family.start(1)
    hanging.write(ONE)
    assert [written.is_fresh for written in reader.others()] == [True]
    family.clock.now_s += FRESH_S
    assert [written.is_fresh for written in reader.others()] == [False]


def test_a_process_shows_its_parent_when_it_last_wrote() -> None:
    family = Family(2)
    assert family.made.written_s(1) == float("-inf")
    child = family.start(1)
    assert family.made.written_s(1) == float("-inf")
    child.write(ONE)
    assert family.made.written_s(1) == family.clock.now_s


@pytest.mark.parametrize("size", [SLOT_BYTES, 10 * SLOT_BYTES])
def test_a_text_that_is_too_long_damages_no_other_process(size: int) -> None:
    family = Family(2)
    one, other = family.start(0), family.start(1)
    other.write(ONE)
    one.write(b"x" * size)
    assert [written.text for written in one.others()] == [ONE]
    assert [*other.others()] == []


def test_a_text_that_is_only_half_written_is_not_read() -> None:
    family = Family(2)
    reader, writer = family.start(0), family.start(1)
    writer.write(ONE)
    writer._slots[1][100:110] = b"y" * 10
    assert [*reader.others()] == []
