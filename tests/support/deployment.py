"""API processes and workers on one Redis server and one upstream."""

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.callers import Caller
from tests.support.programs import START_S, Program, command, environment
from tests.support.wait import wait_until

# As systemd starts a program with a socket: descriptor 3, and the id of the process in a variable.
_ACTIVATE = """
import os, sys

os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Deployment:
    """Starts programs with the same settings, and stops all of them."""

    def __init__(
        self, directory: Path, *, redis_url: str, upstream_url: str, **settings: str
    ) -> None:
        self.programs: list[Program] = []
        self._directory = directory
        self.command: Callable[..., list[str]] = command
        """The command line of `tickertape` with its arguments."""
        self.settings = {
            "REDIS_URL": redis_url,
            "OPENAI_BASE_URL": upstream_url,
            "OPENAI_API_KEY": "key",
            "TICKERTAPE_DRAIN_S": "10",
            "TICKERTAPE_DRAIN_DELAY_S": "0",
            **settings,
        }

    def start(self, name: str, *arguments: str) -> Program:
        """Start `tickertape` with these arguments."""
        return self._start(name, self.command(*arguments))

    def start_activated(self, listener: socket.socket, *arguments: str) -> Program:
        """Start `tickertape` with a socket that it inherits as systemd hands sockets over."""
        argv = [sys.executable, "-c", _ACTIVATE, str(listener.fileno()), *command(*arguments)]
        return self._start("activated", argv, pass_fds=[listener.fileno()])

    def _start(self, name: str, argv: list[str], *, pass_fds: Sequence[int] = ()) -> Program:
        name = f"{name}-{len(self.programs)}"
        program = Program(
            name, argv, self._directory, environment(**self.settings), pass_fds=pass_fds
        )
        self.programs.append(program)
        return program

    def start_api(self, port: int = 0, *, processes: int = 1) -> Program:
        """An API of `processes` processes; `api_url` returns its address."""
        return self.start("api", "api", f"--port={port}", f"--processes={processes}")

    def start_worker(self) -> Program:
        """A worker."""
        return self.start("worker", "worker")

    async def running_api(self, port: int = 0, *, processes: int = 1) -> tuple[Program, str]:
        """An API that is ready, and its URL."""
        program = self.start_api(port, processes=processes)
        await wait_until(
            lambda: len(program.records("ready for requests")) == processes,
            timeout_s=START_S * processes,
            description=f"{program.name} to log that {processes} processes are ready",
        )
        url = api_url(program)
        async with Caller(url) as caller:
            await wait_until(caller.is_ready, description=f"{program.name} to be ready")
        return program, url

    async def running_worker(self) -> Program:
        """A worker that claims."""
        program = self.start_worker()
        await program.logged("working")
        return program

    def close(self) -> None:
        """Stop all programs. Raises AssertionError if one of them logged an error."""
        for program in self.programs:
            program.process.terminate()
        for program in self.programs:
            program.stop()
        complaints = {program.name: program.complaints() for program in self.programs}
        assert not any(complaints.values()), complaints


MakeDeployment = Callable[..., Deployment]


def api_url(program: Program) -> str:
    """The URL of an API process, once the process has logged its port."""
    return f"http://127.0.0.1:{program.logged_sync('listening')['port']}"


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])
