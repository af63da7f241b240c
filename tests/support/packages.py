"""Packages that tests install for programs beside them: locked, once, into a folder of `.venv`.

A changed lock gets a new folder. `make clean` removes all of them.
"""

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_CACHE = ROOT / ".venv" / "packages"
_INSTALL_S = 300


def installed_once(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """The folder that `install` has filled, for these bytes of `lock`; filled now if it is new."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = _CACHE / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # other test processes may install it at the same time
        done = folder / ".installed"
        if not done.exists():
            install(folder)
            done.touch()
    return folder


def run_installer(*command: str | Path, cwd: Path) -> None:
    """Run a package manager; fails with its error output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
    )
    assert done.returncode == 0, done.stderr


def locked_python(name: str) -> Path:
    """A Python with the packages of requirements-`name`.lock, and without Tickertape."""
    lock = ROOT / f"requirements-{name}.lock"

    def install(folder: Path) -> None:
        run_installer(sys.executable, "-m", "venv", "--clear", folder / "venv", cwd=folder)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check"]
        locked = ["--no-compile", "--no-deps", "--require-hashes", "-r", str(lock)]
        run_installer(*pip, "install", "-qq", *locked, cwd=folder)

    return installed_once(name, lock, install) / "venv" / "bin" / "python"
