"""When a worker looks at each partition: spread over a round, and when something is due."""

import random

from tickertape.worker.look_schedule import LookSchedule


def looks_per_second(schedule: LookSchedule, seconds: int) -> list[int]:
    return [len(schedule.pop_due(now_s)) for now_s in range(1, seconds + 1)]


def test_looks_at_many_partitions_stay_spread_after_claims_from_all_of_them() -> None:
    schedule = LookSchedule(64, 0.0, 1.0, random.Random(1))
    for partition in range(64):
        schedule.plan(partition, 0.0)
    assert looks_per_second(schedule, 48) == [4] * 48
    schedule.plan_all_now()
    assert len(schedule.pop_due(48.5)) == 64
    assert max(looks_per_second(schedule, 80)[49:]) <= 4


def test_few_partitions_are_looked_at_every_second() -> None:
    schedule = LookSchedule(2, 0.0, 1.0, random.Random(1))
    assert looks_per_second(schedule, 5) == [2] * 5


def test_a_look_comes_earlier_when_something_is_due() -> None:
    schedule = LookSchedule(64, 0.0, 1.0, random.Random(1))
    due = next(n for n in range(64) if n not in schedule.pop_due(4.0))
    schedule.plan(due, 4.0, 100)
    assert due in schedule.pop_due(4.11)
