"""The tables of docs/guarantees.md and docs/security.md name tests that exist, for every row."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FAULTS = 70
# With no consumer group in the design these two cannot happen.
FALLEN_AWAY = {10, 37}
_DOCS = TESTS.parent / "docs"
_GUARANTEES = (_DOCS / "guarantees.md").read_text("utf-8")
_SECURITY = (_DOCS / "security.md").read_text("utf-8")
_THREATS = [
    row
    for row in re.findall(r"^\|.*\|$", _SECURITY, re.MULTILINE)
    if not row.startswith(("| threat |", "|---"))
]
_ROWS = {
    int(number): shown
    for number, shown in re.findall(r"^\| (\d+) \|.*\| ([^|]*) ?\|$", _GUARANTEES, re.MULTILINE)
}


def test_every_fault_is_in_the_table() -> None:
    assert sorted(_ROWS) == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("number", sorted(_ROWS.keys() - FALLEN_AWAY))
def test_every_fault_is_shown_by_a_test_or_a_run(number: int) -> None:
    assert "`" in _ROWS[number] or "chaos" in _ROWS[number]


@pytest.mark.parametrize(
    "named", sorted(set(re.findall(r"`([\w/]+\.py(?:::\w+)?)`", _GUARANTEES + _SECURITY)))
)
def test_a_test_that_is_named_exists(named: str) -> None:
    file, _, name = named.removeprefix("tests/").partition("::")
    source = (TESTS / file).read_text("utf-8")
    assert f"def {name}(" in source if name else "def test_" in source or "invariant" in source


def test_every_threat_has_a_measure_and_a_test() -> None:
    assert [row for row in _THREATS if not re.search(r"\| [^|]+ \| .*`[\w/]+\.py::\w+`", row)] == []
