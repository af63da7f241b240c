"""Pure: the conclusions of `doctor`, each with a remedy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tickertape.broker.partition_map import PartitionMap
from tickertape.runtime.setting_names import unknown_names

MIN_PYTHON = (3, 11)
_FEW_DESCRIPTORS = 4096
_LITTLE_DISK_BYTES = 1_000_000_000
# Variables that only clients or child processes read, so that they are not fields of Settings.


class Level(StrEnum):
    """The severity of a finding. One `FAIL` makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report, with a remedy unless all is well."""

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:4}  {self.subject:9}  {self.text}"
        return f"{line}\n{'':17}{self.remedy}" if self.remedy else line


def ok(subject: str, text: str) -> Finding:
    """A finding that needs no action."""
    return Finding(Level.OK, subject, text)


def warn(subject: str, text: str, remedy: str) -> Finding:
    """A finding that does not prevent a start."""
    return Finding(Level.WARN, subject, text, remedy)


def fail(subject: str, text: str, remedy: str) -> Finding:
    """A finding that prevents a start."""
    return Finding(Level.FAIL, subject, text, remedy)


def python_finding(version: tuple[int, ...]) -> Finding:
    """Checks the version of the interpreter."""
    text = ".".join(map(str, version[:3]))
    if version[:2] < MIN_PYTHON:
        return fail("python", text, "install Python 3.11 or newer")
    return ok("python", text)


def packages_finding(versions: Mapping[str, str | None], remedy: str) -> Finding:
    """Checks the installed packages; a version of None marks a missing package."""
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return fail("packages", f"missing: {', '.join(missing)}", remedy)
    return ok("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))


def unknown_variables(given: Mapping[str, str | None], known: Iterable[str]) -> list[Finding]:
    """Reports variables that start with TICKERTAPE_ and are not settings, which end a start."""
    return [
        fail(
            "settings",
            f"{name} is not a setting",
            f"did you mean {close}?" if close else "remove it",
        )
        for name, close in unknown_names(given, known).items()
    ]


def old_variables(names: Mapping[str, str]) -> list[Finding]:
    """Warns of variables that have been renamed."""
    return [
        warn("settings", f"{old} is the old name of {new}", f"rename it to {new}")
        for old, new in names.items()
    ]


def redis_findings(info: Mapping[str, Any]) -> list[Finding]:
    """Checks a Redis server by its reply to INFO."""
    findings = [_version_finding(info)]
    if not int(info.get("aof_enabled", 0)):
        findings.append(
            warn(
                "redis",
                "the append-only file is off, so a restart of Redis loses accepted requests",
                "set appendonly yes and appendfsync everysec in the configuration of Redis",
            )
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        findings.append(
            fail(
                "redis",
                f"maxmemory-policy is {policy}, so Redis deletes requests when memory is short",
                "set maxmemory-policy noeviction in the configuration of Redis",
            )
        )
    if str(info.get("role", "master")) != "master":
        findings.append(fail("redis", "this server is a replica", "set REDIS_URL to the primary"))
    return findings


def rights_findings(missing: Sequence[str]) -> list[Finding]:
    """Reports the commands that the account in REDIS_URL may not run."""
    if not missing:
        return []
    text = f"the account in REDIS_URL may not run {', '.join(missing)}"
    return [fail("redis", text, "grant the rights that docs/architecture.md lists (ACL SETUSER)")]


def node_findings(owners: Mapping[str, Sequence[int]]) -> list[Finding]:
    """Which node of a cluster has which partitions."""
    return [
        ok("redis", f"{node} has the partitions {', '.join(map(str, partitions))}")
        for node, partitions in sorted(owners.items())
    ]


def partition_findings(wanted: int, used: PartitionMap) -> list[Finding]:
    """Compares TICKERTAPE_PARTITIONS with the partition map, and shows what is not settled."""
    found = []
    if used.partitions != wanted:
        text = f"TICKERTAPE_PARTITIONS is {wanted} and has no effect: {used.partitions} are in use"
        change = f"`tickertape partitions {wanted}` changes the partitions"
        found.append(warn("redis", text, f"set it to {used.partitions}; {change}"))
    if used.next is not None:
        text = f"a change of the partitions to {used.next} was begun and not finished"
        found.append(warn("redis", text, f"run `tickertape partitions {used.next}`"))
    if used.old:
        kept = ", ".join(map(str, used.old))
        found.append(ok("redis", f"the maps of {kept} partitions are kept beside the present one"))
    return found


def agreement_findings(here: Mapping[str, str], agreed: Mapping[str, str]) -> list[Finding]:
    """Compares settings with those that the processes on this Redis agreed on, if any."""
    return [
        warn(
            "redis",
            f"{name} is {value}, and a process was started with {agreed[name]}",
            f"set it to {agreed[name]}, or restart all processes with {value}",
        )
        for name, value in here.items()
        if agreed.get(name, value) != value
    ]


def newer_findings(waiting: int) -> list[Finding]:
    """Reports the requests that no worker of this release can run."""
    if not waiting:
        return []
    text = f"requests that wait for workers of a later release: {waiting}"
    return [warn("redis", text, "start workers of the release whose API accepted them")]


def _version_finding(info: Mapping[str, Any]) -> Finding:
    # For old clients, Valkey reports an old Redis version in addition to the Valkey version.
    valkey = info.get("valkey_version")
    return ok("redis", f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', '?')}")


def model_finding(wanted: str | None, offered: Iterable[str]) -> Finding:
    """Checks OPENAI_MODEL against the list of models of the upstream."""
    names = sorted(offered)
    if wanted is None:
        return warn(
            "upstream",
            f"OPENAI_MODEL is not set, so a request that names no model fails. {_some(names)}",
            "set OPENAI_MODEL",
        )
    if names and wanted not in names:
        return warn(
            "upstream",
            f"OPENAI_MODEL is {wanted}, which the upstream does not list. {_some(names)}",
            "check OPENAI_MODEL",
        )
    return ok("upstream", f"offers {wanted}, the model of OPENAI_MODEL")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"It offers {shown}{' ...' if len(names) > 5 else ''}" if names else "It lists no models"


def descriptors_finding(hard_limit: int) -> Finding:
    """Checks the limit of open files; the API raises its soft limit to `hard_limit`."""
    if 0 <= hard_limit < _FEW_DESCRIPTORS:
        return warn(
            "files",
            f"a process may open {hard_limit} files, and each open stream needs one",
            "raise the limit: `ulimit -Hn 65536` as root, or LimitNOFILE= of a systemd unit",
        )
    number = "any number of" if hard_limit < 0 else hard_limit
    return ok("files", f"a process may open {number} files")


def disk_finding(folder: str, free_bytes: int) -> Finding:
    """Checks the free disk space for the data of the embedded server."""
    free = f"{folder} is writable, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < _LITTLE_DISK_BYTES:
        return warn("data", free, "free disk space, or choose another folder with --data-dir")
    return ok("data", free)
