"""A loop that hangs is distinguished from an idle loop."""

import time

import pytest

from tickertape.runtime.pulse import Pulse


def test_a_loop_that_begins_no_round_in_time_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100, 105, 105.1, 105.1, 110])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pulse = Pulse(limit_s=5)
    silent = [pulse.is_silent, pulse.is_silent]
    pulse.beat()
    assert [*silent, pulse.is_silent] == [False, True, False]
