"""Reads the log of a child process, and selects the lines for the terminal."""

from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from tickertape.cli.up.upstream_state import UPSTREAM_EVENTS

_SHOWN = frozenset({"warning", "error", "critical"})
_UNSHOWN_KEYS = frozenset({"event", "level", "timestamp", "logger"})
_RECENT_LINES = 5
_READ_BYTES = 64 * 1024
_LARGE_BYTES = 10 * 1024 * 1024


class LogTail:
    """Reads the lines that other processes append to a file from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recent: deque[str] = deque(maxlen=_RECENT_LINES)
        """The last five lines that were read."""
        self._partial = b""
        self._offset = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """The lines completed since the last call."""
        try:
            with self.path.open("rb") as log:
                log.seek(self._offset)
                data = log.read(_READ_BYTES)
        except OSError:
            return []
        self._offset += len(data)
        *complete, self._partial = (self._partial + data).split(b"\n")
        lines = [line.decode(errors="replace") for line in complete if line.strip()]
        self.recent.extend(lines)
        return lines

    def rest(self) -> list[str]:
        """All remaining lines. Call it when no process writes to the file any more."""
        remaining: list[str] = []
        while more := self.lines():
            remaining += more
        last, self._partial = self._partial.decode(errors="replace"), b""
        if last.strip():
            self.recent.append(last)
            remaining.append(last)
        return remaining


def put_aside_if_large(path: Path) -> None:
    """Rename a log over 10 MiB to `.log.1`, so that logs do not grow with every start."""
    if path.exists() and path.stat().st_size > _LARGE_BYTES:
        path.replace(path.with_suffix(".log.1"))


def record_of(line: str) -> dict[str, Any]:
    """Pure: the JSON record in a line, empty for any other line."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def shown(line: str) -> str | None:
    """Pure: what to print for a line: warnings, errors and lines that are not JSON; else None.

    The state of the upstream is not printed here, because `up` prints that in its own words.
    """
    record = record_of(line)
    if not record:
        return line
    level = str(record.get("level", "")).lower()
    if level not in _SHOWN or record.get("event") in UPSTREAM_EVENTS:
        return None
    details = " ".join(f"{k}={v}" for k, v in record.items() if k not in _UNSHOWN_KEYS)
    return f"{level}: {record.get('event', '')} {details}".rstrip()
