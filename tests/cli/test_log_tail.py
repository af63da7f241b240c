"""The terminal shows the lines of a child's log that need attention."""

import json
from pathlib import Path

import pytest

from tickertape.cli.up.log_tail import LogTail, put_aside_if_large, shown


def test_only_lines_written_since_the_start_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n")
    tail = LogTail(path)
    with path.open("a") as log:
        log.write("new\nhalf")
        log.flush()
        assert tail.lines() == ["new"]
        log.write(" line\n")
    assert tail.lines() == ["half line"]
    assert tail.lines() == []


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "a.log")
    assert tail.lines() == []
    (tmp_path / "a.log").write_text("x\n")
    assert tail.lines() == ["x"]


def test_the_rest_has_the_line_that_was_never_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    tail = LogTail(path)
    path.write_text("one\ntwo")
    assert tail.rest() == ["one", "two"]


def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    tail = LogTail(path)
    path.write_text("".join(f"{n}\n" for n in range(100)))
    tail.lines()
    assert list(tail.recent) == ["95", "96", "97", "98", "99"]


def test_a_large_log_is_put_aside_and_a_small_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 11_000_000)
    put_aside_if_large(path)
    assert not path.exists()
    assert (tmp_path / "a.log.1").exists()
    path.write_text("small")
    put_aside_if_large(path)
    assert path.exists()


@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_warnings_and_worse_are_shown_with_their_details(level: str) -> None:
    line = json.dumps({"event": "no models", "level": level, "timestamp": "t", "reason": "401"})
    assert shown(line) == f"{level}: no models reason=401"


def test_info_records_are_not_shown() -> None:
    assert shown('{"event": "working", "level": "info"}') is None


def test_a_line_that_is_not_json_is_shown_unchanged() -> None:
    assert shown("Traceback (most recent call last):") == "Traceback (most recent call last):"
