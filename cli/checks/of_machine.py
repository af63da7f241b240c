"""Pure: judges this machine."""

from collections.abc import Mapping

from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok

MIN_PYTHON = (3, 11)
_FEW_DESCRIPTORS = 4096
_LITTLE_DISK_BYTES = 1_000_000_000


def python_finding(version: tuple[int, ...]) -> Finding:
    """Checks the version of the interpreter."""
    text = ".".join(map(str, version[:3]))
    if version[:2] < MIN_PYTHON:
        return CASES["python-old"].found(version=text)
    return ok("python-version", text)


def packages_finding(versions: Mapping[str, str | None]) -> Finding:
    """Checks the installed packages; a version of None marks a missing package."""
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return CASES["packages-missing"].found(names=", ".join(missing))
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return ok("packages-installed", named)


def descriptors_finding(hard_limit: int) -> Finding:
    """Checks the limit of open files; the API raises its soft limit to `hard_limit`."""
    if 0 <= hard_limit < _FEW_DESCRIPTORS:
        return CASES["files-few"].found(limit=hard_limit)
    number = "any number of" if hard_limit < 0 else hard_limit
    return ok("files-limit", f"a process may open {number} files")


def disk_finding(folder: str, free_bytes: int) -> Finding:
    """Checks the free disk space for the data of the embedded server."""
    free = f"{free_bytes / 1e9:.1f}"
    if free_bytes < _LITTLE_DISK_BYTES:
        return CASES["data-full"].found(folder=folder, free=free)
    return ok("data-folder", f"{folder} is writable, {free} GB free")
