"""What a child process writes to its log, and which lines of it a person should see at once."""

from collections import deque
from pathlib import Path
from typing import Any

import msgspec

_SHOWN = frozenset({"warning", "error", "critical"})
_UNSHOWN_KEYS = frozenset({"event", "level", "timestamp", "logger"})
_RECENT_LINES = 5
_READ_BYTES = 64 * 1024
_LARGE_BYTES = 10 * 1024 * 1024


class LogTail:
    """Reads on in a file that others append to. What stood there at the start is not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recent: deque[str] = deque(maxlen=_RECENT_LINES)
        """The last lines that were read."""
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
        found = [line.decode(errors="replace") for line in complete if line.strip()]
        self.recent.extend(found)
        return found

    def rest(self) -> list[str]:
        """All lines that are left, once nobody writes any more."""
        found: list[str] = []
        while more := self.lines():
            found += more
        last, self._partial = self._partial.decode(errors="replace"), b""
        if last.strip():
            self.recent.append(last)
            found.append(last)
        return found


def put_aside_if_large(path: Path) -> None:
    """Keep one older generation, so that logs of many starts do not grow without end."""
    if path.exists() and path.stat().st_size > _LARGE_BYTES:
        path.replace(path.with_suffix(".log.1"))


def event_of(line: str) -> str | None:
    """The event of a record, None for a line that is none."""
    try:
        return str(msgspec.json.decode(line, type=dict[str, Any]).get("event"))
    except msgspec.DecodeError:
        return None


def shown(line: str) -> str | None:
    """A line for the terminal: warnings and worse, and whatever is not a record. Else None."""
    try:
        record = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return line
    level = str(record.get("level", "")).lower()
    if level not in _SHOWN:
        return None
    details = " ".join(f"{k}={v}" for k, v in record.items() if k not in _UNSHOWN_KEYS)
    return f"{level}: {record.get('event', '')} {details}".rstrip()
