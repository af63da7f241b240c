"""`tickertape up` as a process, and what it has started."""

from pathlib import Path

from tests.support.programs import Program, command
from tests.support.wait import wait_until_sync

_START_S = 60


class Up:
    """Everything on this machine, with data and logs in `directory`. Ends with `stop`."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self._program = Program(
            "up", command("up", "--port=0", "--data-dir=data"), directory, settings
        )

    @property
    def url(self) -> str:
        """Where its API is, once all of it is ready."""
        page = [line for line in self.said() if line.startswith("Page ")]
        return page[0].split()[1].rstrip("/")

    def said(self) -> list[str]:
        """What it has told its user."""
        return self._program.lines()

    def wait_until_ready(self) -> None:
        """Raises AssertionError if it ends instead."""

        def is_ready() -> bool:
            assert self._program.process.poll() is None, self.said()
            return any(line.startswith("Ready after ") for line in self.said())

        wait_until_sync(is_ready, timeout_s=_START_S, description="`up` to be ready")

    def pid_of(self, words: str) -> int:
        """The process it has started whose command line holds these words."""
        pid = self._program.process.pid
        [found] = [
            int(child)
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if words in _command_line(child)
        ]
        return found

    def stop(self) -> int:
        """Ctrl+C's gentler sibling; returns its exit code."""
        self._program.stop()
        return self._program.process.returncode


def _command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
