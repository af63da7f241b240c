"""A program that begins, runs or has ended is known by what the kernel says of its signals."""

import os
import signal
from pathlib import Path

from tests.chaos.members import handles


def test_a_signal_counts_as_handled_from_the_moment_that_its_handler_is_there() -> None:
    def is_handled() -> bool:
        return handles(signal.SIGUSR2, Path(f"/proc/{os.getpid()}/status").read_text("utf-8"))

    assert not is_handled()
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert is_handled()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_process_that_has_ended_and_has_no_signals_left_waits_for_no_handler() -> None:
    assert handles(signal.SIGTERM, "Name:\tpython\nState:\tZ (zombie)\n")
