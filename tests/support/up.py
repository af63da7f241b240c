"""`tickertape up` as a process, with everything that it starts."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import Program, bare_environment, command, environment
from tests.support.wait import wait_until_sync

START_S = 60.0
"""Several interpreters start at once, on a machine that may be busy."""


class Up(Program):
    """One run, with its data in `directory`. `env` is the environment that its children share.

    `program` is an installed `tickertape`; without it, the checkout's code runs.
    """

    def __init__(
        self, directory: Path, *arguments: str, program: Path | None = None, **env: str
    ) -> None:
        self._directory = directory
        up = ("up", "--port=0", *arguments)
        self.env = {**bare_environment(), **env} if program else environment(**env)
        super().__init__("up", [program, *up] if program else command(*up), directory, self.env)

    def wait_until_printed(self, text: str) -> None:
        """Raises AssertionError if the process ends first."""
        wait_until_sync(
            lambda: text in self.printed or self.process.poll() is not None,
            timeout_s=START_S,
            description=f"{text!r} is printed",
        )
        assert text in self.printed, self.printed

    @property
    def url(self) -> str:
        """The URL of its API, once the page's address is printed."""
        match = re.search(r"Page +(http://\S+?)/\n", self.printed)
        assert match is not None, self.printed
        return match[1]

    def printed_command(self, label: str) -> str:
        """The command that it printed under this label for people to copy."""
        match = re.search(rf"^{label} +(.*)$", self.printed, re.MULTILINE)
        assert match is not None, self.printed
        return match[1]

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the environment and the folder of `up`."""
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self._directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def chat(self, message: str) -> "Chat":
        return Chat(message, {**self.env, "TICKERTAPE_URL": self.url})

    def descendants(self) -> dict[int, str]:
        """Command lines, by process id, of all processes in its directory except itself.

        They are not found by their parents, because orphans have lost theirs, nor by a variable,
        because a server that sets its title overwrites its environment.
        """
        lines = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                is_inside = (place / "cwd").readlink().is_relative_to(self._directory)
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if is_inside and line and int(place.name) != self.process.pid:
                lines[int(place.name)] = line
        return lines

    def pid_of(self, words: str) -> int:
        """The process id of the first descendant whose command line contains these words."""
        return min(pid for pid, line in self.descendants().items() if words in line)

    def wait_until_nothing_is_left(self) -> None:
        """Wait until all descendants have ended."""
        wait_until_sync(
            lambda: not self.descendants(),
            timeout_s=START_S,
            description="no process is left",
        )


class Chat:
    """`tickertape chat` as a process, whose answer is read in two parts."""

    def __init__(self, message: str, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command("chat", "-"),
            env=env,
            bufsize=0,  # with a buffer, `read` would consume bytes of `finish`
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(message.encode())
        self.process.stdin.close()
        self.process.stdin = None
        self._begun = b""
        self.stderr = ""

    def wait_until_begun(self) -> None:
        """Wait for the first byte of the answer."""
        assert self.process.stdout is not None
        self._begun = self.process.stdout.read(1)
        assert self._begun, "it ended without an answer"

    def finish(self) -> str:
        """Wait for success and return the whole answer; `stderr` is set then."""
        answer, stderr = self.process.communicate(timeout=2 * START_S)
        self.stderr = stderr.decode()
        assert self.process.returncode == 0, self.stderr
        return (self._begun + answer).decode()

    def leave(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def up(directory: Path, *arguments: str, program: Path | None = None, **env: str) -> Iterator[Up]:
    """Run `up` for the length of the block, and kill whatever is left of it afterwards."""
    running = Up(directory, *arguments, program=program, **env)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for pid in running.descendants():
            os.kill(pid, signal.SIGKILL)
