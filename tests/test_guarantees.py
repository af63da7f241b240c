"""The table of faults in docs/guarantees.md names tests that exist, for every fault."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FAULTS = 59
# With no consumer group in the design these two cannot happen.
FALLEN_AWAY = {10, 37}
_GUARANTEES = (TESTS.parent / "docs" / "guarantees.md").read_text("utf-8")
_ROWS = {
    int(number): shown
    for number, shown in re.findall(r"^\| (\d+) \|.*\| ([^|]*) ?\|$", _GUARANTEES, re.MULTILINE)
}


def test_every_fault_is_in_the_table() -> None:
    assert sorted(_ROWS) == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("number", sorted(_ROWS.keys() - FALLEN_AWAY))
def test_every_fault_is_shown_by_a_test_or_a_run(number: int) -> None:
    assert "`" in _ROWS[number] or "chaos" in _ROWS[number]


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([\w/]+\.py(?:::\w+)?)`", _GUARANTEES))))
def test_a_test_that_is_named_exists(named: str) -> None:
    file, _, name = named.removeprefix("tests/").partition("::")
    source = (TESTS / file).read_text("utf-8")
    assert f"def {name}(" in source if name else "def test_" in source or "invariant" in source
