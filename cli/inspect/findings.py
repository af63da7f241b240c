"""Pure: what `doctor` makes of what it saw."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MIN_PYTHON = (3, 11)
_MIN_REDIS = (7, 0)
_FEW_DESCRIPTORS = 4096
_LITTLE_DISK_BYTES = 1_000_000_000
_OURS = "TICKERTAPE_"
# Read by clients, or between processes of ours, and so not among the settings.
_ALSO_OURS = ("TICKERTAPE_API_KEY", "TICKERTAPE_LOCAL_MODEL_KEY")


class Level(StrEnum):
    """How bad it is; one `fail` is enough for an exit code of 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line, and how to mend what it says."""

    level: Level
    subject: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.level:4}  {self.subject:9}  {self.text}"
        return f"{line}\n{'':17}{self.mend}" if self.mend else line


def ok(subject: str, text: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, subject, text)


def warn(subject: str, text: str, mend: str) -> Finding:
    """Works, but not as well as it should."""
    return Finding(Level.WARN, subject, text, mend)


def fail(subject: str, text: str, mend: str) -> Finding:
    """Does not work."""
    return Finding(Level.FAIL, subject, text, mend)


def python_finding(version: tuple[int, ...]) -> Finding:
    """About the interpreter."""
    text = ".".join(map(str, version[:3]))
    if version[:2] < MIN_PYTHON:
        return fail("python", text, "install Python 3.11 or newer")
    return ok("python", text)


def packages_finding(versions: Mapping[str, str | None], mend: str) -> Finding:
    """About installed packages; a version of None is a package that is not there."""
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return fail("packages", f"missing: {', '.join(missing)}", mend)
    return ok("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))


def unknown_variables(environment: Iterable[str], known: Iterable[str]) -> list[Finding]:
    """About variables that look like ours and are read by nobody."""
    allowed = [name.removeprefix(_OURS) for name in (*known, *_ALSO_OURS)]
    findings = []
    for name in sorted(environment):
        given = name.removeprefix(_OURS)
        if given == name or given in allowed:
            continue
        close = difflib.get_close_matches(given, allowed, 1)
        mend = f"did you mean {_OURS}{close[0]}?" if close else "remove it"
        findings.append(warn("settings", f"{name} is no setting", mend))
    return findings


def old_variables(names: Mapping[str, str]) -> list[Finding]:
    """About variables that have another name now."""
    return [
        warn("settings", f"{old} is the old name of {new}", f"rename it to {new}")
        for old, new in names.items()
    ]


def redis_findings(info: Mapping[str, Any]) -> list[Finding]:
    """About a server, from the reply to INFO."""
    findings = [_version_finding(info)]
    if not int(info.get("aof_enabled", 0)):
        findings.append(
            warn(
                "redis",
                "append-only file is off: a restart of Redis loses requests that were accepted",
                "set appendonly yes (and appendfsync everysec)",
            )
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        findings.append(
            fail(
                "redis",
                f"maxmemory-policy is {policy}: under memory pressure requests would vanish",
                "set maxmemory-policy noeviction",
            )
        )
    if str(info.get("role", "master")) != "master":
        findings.append(fail("redis", "this server is a replica", "give the primary's address"))
    return findings


def rights_findings(missing: Sequence[str]) -> list[Finding]:
    """About what the account in REDIS_URL may not do."""
    if not missing:
        return []
    text = f"this account may not run {', '.join(missing)}"
    return [fail("redis", text, "docs/architecture.md says what it needs: ACL SETUSER")]


def partition_findings(wanted: int, used: int | None) -> list[Finding]:
    """About TICKERTAPE_PARTITIONS, and the number this Redis was used with, if it was."""
    if used is None or used == wanted:
        return []
    text = f"TICKERTAPE_PARTITIONS is {wanted}, but this Redis was used with {used}"
    return [fail("redis", text, f"set it to {used}, or use an empty Redis")]


def _version_finding(info: Mapping[str, Any]) -> Finding:
    version = str(info.get("redis_version", "0"))
    # Valkey names an old Redis for the sake of old clients; its own version stands beside it.
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {version}"
    if _parts(version) < _MIN_REDIS:
        return fail("redis", f"{name} is too old", "use Redis 7.0 or newer, or Valkey")
    return ok("redis", name)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def model_finding(wanted: str | None, offered: Iterable[str]) -> Finding:
    """About OPENAI_MODEL, from the upstream's list."""
    names = sorted(offered)
    if wanted is None:
        return warn(
            "upstream",
            f"OPENAI_MODEL is not set: a request that names no model fails. {_some(names)}",
            "set OPENAI_MODEL",
        )
    if names and wanted not in names:
        return warn("upstream", f"does not list {wanted}. {_some(names)}", "check OPENAI_MODEL")
    return ok("upstream", f"offers {wanted}")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"It offers {shown}{' ...' if len(names) > 5 else ''}" if names else "It lists no models"


def descriptors_finding(hard_limit: int) -> Finding:
    """About the open files of a process; the API raises its soft limit to the hard one."""
    if 0 <= hard_limit < _FEW_DESCRIPTORS:
        return warn(
            "files",
            f"a process may open {hard_limit} files; each open stream takes one",
            "raise it (as root: ulimit -Hn 65536; in a container or unit: its own setting)",
        )
    number = "any number of" if hard_limit < 0 else hard_limit
    return ok("files", f"a process may open {number} files")


def disk_finding(place: str, free_bytes: int) -> Finding:
    """About the room for the embedded server's data."""
    free = f"{place} is writable, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < _LITTLE_DISK_BYTES:
        return warn("data", free, "free some room, or choose another place with --data-dir")
    return ok("data", free)
