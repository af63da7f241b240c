"""Who is at work: workers and API processes report themselves, and their reports expire.

A report is one string with a TTL, so that a killed process disappears without help. Redis' own
clock decides about the age of a report. The reports of all processes are in partition 0.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from tickertape.broker.connections import Connections

REPORT_INTERVAL_S = 2.0
REPORT_TTL_S = 3 * REPORT_INTERVAL_S
_FLEET_TTL_S = 3600


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker reports. The counters count since the worker's start.

    `takeovers` counts the claims of requests that a lost worker had begun. `retries` counts the
    repeated calls of the upstream. `titles` counts the titles that the model gave. `deltas_per_s`
    is the mean of the last seconds. `upstream_problem` says why the upstream refuses all work; None
    if the upstream takes work.
    """

    slots: int
    running: int
    is_draining: bool = False
    deltas: int = 0
    deltas_per_s: float = 0.0
    completed: int = 0
    failed: int = 0
    takeovers: int = 0
    retries: int = 0
    titles: int = 0
    upstream_problem: str | None = None


class ApiReport(msgspec.Struct, frozen=True):
    """What an API process reports: its open streams, and its readers of conversations."""

    open_streams: int
    watchers: int


Report = TypeVar("Report", WorkerReport, ApiReport)
_KINDS: dict[type[WorkerReport | ApiReport], str] = {WorkerReport: "worker", ApiReport: "api"}


@dataclass(frozen=True)
class Seen:
    """A worker's report, and how many seconds old it is."""

    report: WorkerReport
    age_s: float


@dataclass(frozen=True)
class Members:
    """The processes that are alive by their reports."""

    workers: Sequence[Seen] = ()
    apis: Sequence[ApiReport] = ()

    @property
    def has_claiming_worker(self) -> bool:
        """Whether a worker accepts requests. A worker that drains accepts no more."""
        return any(not seen.report.is_draining for seen in self.workers)


class Fleet:
    """Writes and reads reports. Every method raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys

    async def report(self, name: str, report: WorkerReport | ApiReport) -> None:
        """Replace the report of the process `name`, for REPORT_TTL_S, in one round trip."""
        member = f"{_KINDS[type(report)]}:{name}"
        await self._connections.ask_all(
            [
                ("SET", self._keys.report(member), msgspec.json.encode(report), "PX", _ttl_ms()),
                ("SADD", self._keys.fleet(), member),
                ("EXPIRE", self._keys.fleet(), _FLEET_TTL_S),
            ]
        )
        self._connections.writes.accepted()

    async def leave(self, name: str, kind: type[WorkerReport | ApiReport]) -> None:
        """Withdraw the report of a process that ends in order."""
        member = f"{_KINDS[kind]}:{name}"
        await self._connections.ask_all(
            [("DEL", self._keys.report(member)), ("SREM", self._keys.fleet(), member)]
        )

    async def members(self) -> Members:
        """The processes whose reports have not expired. Names without a report are removed."""
        names = sorted(
            name.decode() for name in await self._connections.ask("SMEMBERS", self._keys.fleet())
        )
        replies = await self._connections.ask_all(
            [
                command
                for name in names
                for command in (("GET", self._keys.report(name)), ("PTTL", self._keys.report(name)))
            ]
        )  # fmt: skip
        stored = dict(zip(names, zip(replies[::2], replies[1::2], strict=True), strict=True))
        if gone := [name for name, (value, _) in stored.items() if value is None]:
            await self._connections.ask("SREM", self._keys.fleet(), *gone)
        return _members({name: found for name, found in stored.items() if name not in gone})


def _members(stored: dict[str, tuple[bytes, int]]) -> Members:
    workers = [
        Seen(report, max(0.0, (_ttl_ms() - ttl_ms) / 1000))
        for report, ttl_ms in _decoded(stored, WorkerReport)
    ]
    return Members(workers, [report for report, _ in _decoded(stored, ApiReport)])


def _decoded(stored: dict[str, tuple[bytes, int]], kind: type[Report]) -> list[tuple[Report, int]]:
    """The reports of one kind. A report of another form, as of another version, is left out."""
    reports = []
    for name, (value, ttl_ms) in stored.items():
        if name.startswith(f"{_KINDS[kind]}:"):
            with contextlib.suppress(msgspec.DecodeError):
                reports.append((msgspec.json.decode(value, type=kind), ttl_ms))
    return reports


def _ttl_ms() -> int:
    return int(REPORT_TTL_S * 1000)
