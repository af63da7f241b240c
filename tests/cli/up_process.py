"""`tickertape up` as a process, and everything that it started."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.wait import wait_until_sync
from tickertape.cli.serve import module_environment
from tickertape.runtime.settings import variable_names

START_S = 60.0
"""Several interpreters start at once, on a machine that may be busy."""


class Up:
    """One run. `env` is what its children share, `printed` the output so far.

    `program` is an installed `tickertape`; without it, the checkout's code runs.
    """

    def __init__(
        self, directory: Path, *arguments: str, program: Path | None = None, **env: str
    ) -> None:
        self._directory = directory
        self._output = directory / "up.out"
        bare = {name: value for name, value in os.environ.items() if name not in variable_names()}
        if program is None:
            argv, bare = [sys.executable, "-m", "tickertape.cli.main"], bare | module_environment()
        else:
            argv = [str(program)]
        self.env = {**bare, **env}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*argv, "up", "--port=0", *arguments],
                cwd=directory,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text()

    def wait_until_printed(self, text: str) -> None:
        wait_until_sync(
            lambda: text in self.printed or self.process.poll() is not None,
            timeout_s=START_S,
            description=f"{text!r} is printed",
        )
        assert text in self.printed, self.printed

    @property
    def url(self) -> str:
        found = re.search(r"Page +(http://\S+?)/\n", self.printed)
        assert found is not None, self.printed
        return found[1]

    def command(self, label: str) -> str:
        """A line that it printed for people to copy."""
        found = re.search(rf"^{label} +(.*)$", self.printed, re.MULTILINE)
        assert found is not None, self.printed
        return found[1]

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def chat(self, message: str) -> "Chat":
        return Chat(message, {**self.env, "TICKERTAPE_URL": self.url})

    def descendants(self) -> dict[int, str]:
        """Command lines of all that runs in its directory, by process id, itself left out.

        Not by their parents, whom orphans have lost, nor by a variable, since a server that sets
        its title writes over those.
        """
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = (place / "cwd").readlink().is_relative_to(self._directory)
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if is_ours and line and int(place.name) != self.process.pid:
                found[int(place.name)] = line
        return found

    def pid_of(self, part: str) -> int:
        """The one descendant whose command line has `part`."""
        (pid,) = (pid for pid, line in self.descendants().items() if part in line)
        return pid

    def wait_until_nothing_is_left(self) -> None:
        wait_until_sync(
            lambda: not self.descendants(),
            timeout_s=START_S,
            description="no process is left",
        )


class Chat:
    """`tickertape chat` as a process, whose answer can be read in parts."""

    def __init__(self, message: str, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tickertape.cli.main", "chat", "-"],
            env=env,
            bufsize=0,  # what was read by `read` would else hide from `finish`
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(message.encode())
        self.process.stdin.close()
        self.process.stdin = None
        self._begun = b""
        self.told = ""

    def wait_until_begun(self) -> None:
        """Until the first piece of the answer is typed."""
        assert self.process.stdout is not None
        self._begun = self.process.stdout.read(1)
        assert self._begun, "it ended without an answer"

    def finish(self) -> str:
        """The whole answer; it has to succeed. `told` is then what it said besides."""
        answer, told = self.process.communicate(timeout=2 * START_S)
        self.told = told.decode()
        assert self.process.returncode == 0, self.told
        return (self._begun + answer).decode()

    def leave(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def up(directory: Path, *arguments: str, program: Path | None = None, **env: str) -> Iterator[Up]:
    """Run it for the length of the block; nothing of it is left afterwards."""
    running = Up(directory, *arguments, program=program, **env)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for pid in running.descendants():
            os.kill(pid, signal.SIGKILL)
