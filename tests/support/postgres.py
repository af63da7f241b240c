"""A PostgreSQL server of a test's own, which can be stopped and started again."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.ports import free_port

_START_S = 60
# Debian keeps the server's programs beside the versions, and out of the PATH.
_DEBIAN = Path("/usr/lib/postgresql")


class PostgresServer:
    """A server on loopback, whose data are in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"postgresql://tickertape@127.0.0.1:{port}/postgres"
        self._folder = folder
        self._port = port

    def create(self) -> None:
        self._run("initdb", "-U", "tickertape", "--auth=trust", "-N", "-D", "data")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def stop(self) -> None:
        """End it at once, as a crash does."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        # The server refuses to run as root.
        user: Any = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        subprocess.run(
            [_found(program) or program, *arguments],
            cwd=self._folder,
            check=True,
            timeout=_START_S,
            stdout=subprocess.DEVNULL,
            extra_groups=[] if user else None,
            **user,
        )


def _found(program: str) -> str | None:
    in_debian = sorted(map(str, _DEBIAN.glob(f"*/bin/{program}")))
    return shutil.which(program) or next(reversed(in_debian), None)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; skips the test where none is installed."""
    if _found("initdb") is None or _found("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = PostgresServer(folder, free_port())
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()
