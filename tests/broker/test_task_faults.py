"""TaskFaults: no failure leaves the block, each reason is logged once, a refusal is shown."""

import structlog

from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.broker.task_faults import TaskFaults


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def fail(faults: TaskFaults, error: Exception, task: str = "tails") -> None:
    with faults.contain(task):
        raise error


def test_each_reason_is_logged_once_until_it_changes() -> None:
    faults = TaskFaults()
    with structlog.testing.capture_logs() as logged:
        for reason in ("no LPOS", "no LPOS", "no XADD", "no XADD"):
            fail(faults, AccessDenied(reason))
    assert [(line["task"], line["reason"]) for line in logged] == [
        ("tails", "no LPOS"),
        ("tails", "no XADD"),
    ]


def test_a_refused_command_is_shown_until_the_task_works_and_other_faults_are_not() -> None:
    faults = TaskFaults()
    fail(faults, AccessDenied("no LPOS"))
    shown = [faults.refused]
    faults.worked("tails")
    shown.append(faults.refused)
    assert shown == ["tails: no LPOS", None]
    fail(faults, Unavailable())
    fail(faults, ValueError("a prompt"), "positions")
    assert faults.refused is None


def test_the_words_of_a_foreign_error_are_not_logged() -> None:
    with structlog.testing.capture_logs() as logged:
        fail(TaskFaults(), ValueError("a prompt"))
    assert logged[0]["reason"] == "ValueError"
    assert "prompt" not in str(logged)


def test_a_task_that_works_in_between_logs_the_same_reason_once_a_minute() -> None:
    clock = Clock()
    faults = TaskFaults(clock)
    with structlog.testing.capture_logs() as logged:
        for _ in range(100):
            clock.now_s += 1
            fail(faults, ValueError())
            faults.worked("tails")
    assert len(logged) == 2
