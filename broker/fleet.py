"""Who is at work: workers and API processes report themselves, and their reports expire.

A report is one string with a TTL, so that a killed process disappears without help. Redis' own
clock decides about the age of a report. The reports of all processes are in partition 0.

A worker also announces the pools that it serves. A name is known for an hour after its last worker,
so that requests of a function wait for the restart of its workers.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from tickertape.broker.connections import Connections
from tickertape.broker.pools import UPSTREAM

REPORT_INTERVAL_S = 2.0
REPORT_TTL_S = 3 * REPORT_INTERVAL_S
_FLEET_TTL_S = 3600
ANNOUNCED_S = 3600.0


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker reports. The counters count since the worker's start.

    `takeovers` counts the claims of requests that a lost worker had begun. `retries` counts the
    repeated calls of the upstream. `titles` counts the titles that the model gave. `deltas_per_s`
    is the mean of the last seconds. `upstream_problem` says why the upstream refuses all work; None
    if the upstream takes work. `functions` are the functions that the worker runs, and
    `serves_upstream` says whether it also sends requests to the upstream. `models` are the only
    ones that its upstreams serve; None if they may serve others.
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
    functions: tuple[str, ...] = ()
    serves_upstream: bool = True
    models: tuple[str, ...] | None = None

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that the worker serves."""
        return (UPSTREAM, *self.functions) if self.serves_upstream else self.functions


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
    """The processes that are alive by their reports.

    `announced` has the pools that workers announced lately, and how many seconds ago.
    """

    workers: Sequence[Seen] = ()
    apis: Sequence[ApiReport] = ()
    announced: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_claiming_worker(self) -> bool:
        """Whether a worker accepts requests. A worker that drains accepts no more."""
        return any(not seen.report.is_draining for seen in self.workers)

    def serves(self, pool: str) -> bool:
        """Whether a worker accepts requests of the pool."""
        return self.workers_of(pool) > 0

    def workers_of(self, pool: str) -> int:
        """How many workers accept requests of the pool."""
        reports = [seen.report for seen in self.workers]
        return sum(not each.is_draining and pool in each.pools for each in reports)


class Fleet:
    """Writes and reads reports. Every method raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys

    async def report(self, name: str, report: WorkerReport | ApiReport) -> None:
        """Replace the report of the process `name`, for REPORT_TTL_S, in one round trip."""
        member = f"{_KINDS[type(report)]}:{name}"
        pools = report.pools if isinstance(report, WorkerReport) else ()
        await self._connections.ask_all(
            [
                ("SET", self._keys.report(member), msgspec.json.encode(report), "PX", _ttl_ms()),
                ("SADD", self._keys.fleet(), member),
                ("EXPIRE", self._keys.fleet(), _FLEET_TTL_S),
                *self._announcement(pools),
            ]
        )
        self._connections.writes.accepted()

    def _announcement(self, pools: Sequence[str]) -> list[tuple[str | bytes | float, ...]]:
        if not pools:
            return []
        ttl_s = int(ANNOUNCED_S)
        return [
            *(("SET", self._keys.announcement(pool), "1", "EX", ttl_s) for pool in pools),
            ("SADD", self._keys.announced(), *pools),
            ("EXPIRE", self._keys.announced(), ttl_s),
        ]

    async def leave(self, name: str, kind: type[WorkerReport | ApiReport]) -> None:
        """Withdraw the report of a process that ends in order."""
        member = f"{_KINDS[kind]}:{name}"
        await self._connections.ask_all(
            [("DEL", self._keys.report(member)), ("SREM", self._keys.fleet(), member)]
        )

    async def members(self) -> Members:
        """The processes whose reports have not expired. Names without a report are removed."""
        found, pools = await self._connections.ask_all(
            [("SMEMBERS", self._keys.fleet()), ("SMEMBERS", self._keys.announced())]
        )
        names = sorted(name.decode() for name in found)
        announced = sorted(pool.decode() for pool in pools)
        replies = await self._connections.ask_all(
            [
                *(
                    command
                    for name in names
                    for command in (
                        ("GET", self._keys.report(name)),
                        ("PTTL", self._keys.report(name)),
                    )
                ),
                *(("PTTL", self._keys.announcement(pool)) for pool in announced),
            ]
        )
        ttls = dict(zip(announced, replies[2 * len(names) :], strict=True))
        replies = replies[: 2 * len(names)]
        stored = dict(zip(names, zip(replies[::2], replies[1::2], strict=True), strict=True))
        await self._remove(self._keys.fleet(), [n for n in names if stored[n][0] is None])
        await self._remove(self._keys.announced(), [n for n in announced if ttls[n] < 0])
        return _members(
            {name: found for name, found in stored.items() if found[0] is not None},
            {pool: ANNOUNCED_S - ttl_ms / 1000 for pool, ttl_ms in ttls.items() if ttl_ms >= 0},
        )

    async def _remove(self, key: str, gone: Sequence[str]) -> None:
        if gone:
            await self._connections.ask("SREM", key, *gone)


def _members(stored: dict[str, tuple[bytes, int]], announced: Mapping[str, float]) -> Members:
    workers = [
        Seen(report, max(0.0, (_ttl_ms() - ttl_ms) / 1000))
        for report, ttl_ms in _decoded(stored, WorkerReport)
    ]
    return Members(workers, [report for report, _ in _decoded(stored, ApiReport)], announced)


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
