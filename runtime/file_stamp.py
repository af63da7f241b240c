"""Tells whether a file has changed, without reading it."""

from pathlib import Path
from typing import NamedTuple


class FileStamp(NamedTuple):
    """What differs after a file was written, or replaced by another one."""

    inode: int
    modified_ns: int
    size_bytes: int


def stamp_of(path: Path) -> FileStamp | None:
    """The stamp of a file as it is now; None if the file cannot be looked at."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return FileStamp(stat.st_ino, stat.st_mtime_ns, stat.st_size)
