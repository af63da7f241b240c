"""The directory of one embedded server: who may write to it, and how to reach what runs there.

Two locks, since the process that started a server and the server itself can die apart: the first
holds OWNER_LOCK, the second inherits SERVER_LOCK and keeps it until it has written its last.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

OWNER_LOCK = "owner.lock"
SERVER_LOCK = "server.lock"
_LOG_TAIL_BYTES = 2000


class EmbeddedServerError(RuntimeError):
    """The embedded server cannot run here. The message says why, and what to do."""


class DataDir:
    """The files in `data_dir`/redis. Everything in it is private to its user (mode 0700).

    Raises EmbeddedServerError if it cannot be made or written.
    """

    def __init__(self, data_dir: Path) -> None:
        # A folder of our own inside the user's, so that its mode is ours to set.
        self.path = data_dir.resolve() / "redis"
        self.log_path = self.path / "server.log"
        self._port_path = self.path / "port"
        self._last_port_path = self.path / "port.last"
        self._password_path = self.path / "password"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            (self.path / OWNER_LOCK).touch()
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot keep data in {self.path}: {error.strerror}."
                " Give a directory that you own and can write, or set REDIS_URL."
            ) from error

    @contextlib.contextmanager
    def open_lock(self, name: str) -> Iterator[int]:
        """Descriptor of a lock file. Leaving the block lets go, unless a child inherited it."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def try_lock(self, descriptor: int) -> bool:
        """Take the lock if nobody else holds it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise EmbeddedServerError(f"cannot lock {self.path}: {error.strerror}.") from error
        return True

    def open_to_others(self, port: int) -> None:
        """Let others join the server on `port`. Call once it answers."""
        self._port_path.write_text(str(port))

    def close_to_others(self) -> None:
        """Let nobody join any more. Call before the server is stopped."""
        with contextlib.suppress(FileNotFoundError):
            self._port_path.replace(self._last_port_path)

    def port(self) -> int:
        """Port of the server that can be joined, 0 if there is none."""
        return _read_port(self._port_path)

    def last_port(self) -> int:
        """Port of the latest server, which may have ended, 0 if there never was one."""
        return self.port() or _read_port(self._last_port_path)

    def password(self) -> str:
        """Password of the servers here, empty until the first one was started."""
        try:
            return self._password_path.read_text()
        except OSError:
            return ""

    def make_password(self) -> None:
        """Make the password if there is none. Only for the owner."""
        if not self.password():
            self._password_path.touch(mode=0o600)
            self._password_path.write_text(secrets.token_urlsafe(24))

    def log_since(self, offset: int) -> str:
        """The last lines logged after byte `offset`."""
        logged = self.log_path.read_bytes()[offset:]
        return logged[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _read_port(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
