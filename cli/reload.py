"""`tickertape worker MODULE --reload`: the worker starts again when a Python file has changed.

For development only. The worker is a process of its own, because a module that was imported once
cannot be imported again with all that it has imported.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tickertape.cli.signals import STOP_SIGNALS, handling, raise_interrupt
from tickertape.cli.up.spawn import describe_exit, spawn, stop

_LOOK_S = 0.3
# Editors write several files at once.
_SETTLE_S = 0.1
# The person who has saved the file waits. A request that takes longer goes back to the queue, and
# the new worker begins it again.
DRAIN_S = 2.0
_END_WITHIN_S = 15.0
_NOT_OF_THE_PROJECT = frozenset({"__pycache__", "node_modules", "site-packages"})

Stamp = Mapping[Path, tuple[int, int]]


def run_reloading(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> int:
    """Run the worker of `argv` until a stop signal, again after each change below `folder`.

    A worker that ends by itself, for example because of a syntax error, starts after the next
    change. Returns the exit code.
    """
    environment = {"TICKERTAPE_DRAIN_S": f"{DRAIN_S:g}", **environment}
    with handling(STOP_SIGNALS, raise_interrupt):
        process: subprocess.Popen[bytes] | None = None
        try:
            while True:
                before = stamp_of(folder)
                process = spawn(argv, env=environment)
                changed = _changed(folder, before, process)
                _say(f"{changed.relative_to(folder)} has changed: the worker starts again")
                stop(process, grace_s=_END_WITHIN_S)
        except KeyboardInterrupt:
            return 0 if process is None else max(0, stop(process, grace_s=_END_WITHIN_S))


def stamp_of(folder: Path) -> Stamp:
    """When each Python file of a project was written, and its size. Hidden folders are skipped."""
    return dict(_stamps(folder))


def _stamps(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    for path, folders, files in os.walk(folder):
        is_environment = "pyvenv.cfg" in files
        folders[:] = [] if is_environment else sorted(filter(_is_of_project, folders))
        for name in files:
            if name.endswith(".py") and not is_environment:
                try:
                    found = (Path(path) / name).stat()
                except OSError:  # an editor may be about to replace it
                    continue
                yield Path(path) / name, (found.st_mtime_ns, found.st_size)


def _is_of_project(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _NOT_OF_THE_PROJECT


def _changed(folder: Path, before: Stamp, process: subprocess.Popen[bytes]) -> Path:
    """Wait for a change, and return the first file that has changed."""
    is_ended = False
    while True:
        time.sleep(_LOOK_S)
        if not is_ended and (code := process.poll()) is not None:
            is_ended = True
            _say(f"the worker has ended ({describe_exit(code)}): it starts after the next change")
        now = stamp_of(folder)
        differing = [path for path in {**before, **now} if before.get(path) != now.get(path)]
        if differing:
            time.sleep(_SETTLE_S)
            return min(differing)


def _say(line: str) -> None:
    print(f"tickertape: {line}", file=sys.stderr, flush=True)
