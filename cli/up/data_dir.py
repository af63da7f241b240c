"""The folder of one embedded server: its locks, and the port and password of the server.

There are two locks, because the server can outlive the process that started it. The owner holds
OWNER_LOCK. The server inherits SERVER_LOCK and holds it until its last write.
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
    """The embedded server cannot run here. The message states the reason and a remedy."""


class DataDir:
    """The files in `data_dir`/redis, which only its owner can read (mode 0700).

    The constructor makes the folder, and raises EmbeddedServerError if it cannot write there.
    """

    def __init__(self, data_dir: Path) -> None:
        # A subfolder, so that changing its mode does not affect the folder of the user.
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
                " Choose a folder that you own with --data-dir, or set REDIS_URL."
            ) from error

    @contextlib.contextmanager
    def open_lock(self, name: str) -> Iterator[int]:
        """A descriptor of a lock file. The lock is released after the block and its heirs end."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def try_lock(self, descriptor: int) -> bool:
        """Acquire the lock unless another process holds it; returns whether it was acquired."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise EmbeddedServerError(f"cannot lock {self.path}: {error.strerror}.") from error
        return True

    def open_to_others(self, port: int) -> None:
        """Let other processes join the server on `port`. Call it when the server answers."""
        self._port_path.write_text(str(port))

    def close_to_others(self) -> None:
        """Stop letting other processes join. Call it before the server is stopped."""
        with contextlib.suppress(FileNotFoundError):
            self._port_path.replace(self._last_port_path)

    def port(self) -> int:
        """The port of the server that can be joined, 0 if there is none."""
        return _read_port(self._port_path)

    def last_port(self) -> int:
        """The port of the latest server, which may have ended; 0 if no server has run here."""
        return self.port() or _read_port(self._last_port_path)

    def password(self) -> str:
        """The password of the servers here, empty before the first start."""
        try:
            return self._password_path.read_text()
        except OSError:
            return ""

    def make_password(self) -> None:
        """Make a password unless there is one. Only the owner may call this."""
        if not self.password():
            self._password_path.touch(mode=0o600)
            self._password_path.write_text(secrets.token_urlsafe(24))

    def log_since(self, offset: int) -> str:
        """The end of the server's log, at most 2000 bytes, all after byte `offset`."""
        logged = self.log_path.read_bytes()[offset:]
        return logged[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _read_port(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
