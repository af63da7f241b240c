"""The state of everything, for operators: numbers of all tenants together, and a verdict."""

import asyncio
import time

from pydantic import BaseModel, ConfigDict, Field

from tickertape.api.failure_log import log_failure
from tickertape.api.pool_status import PoolStatus, pools_of
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, BrokerError
from tickertape.broker.fleet import REPORT_TTL_S, Fleet, Members
from tickertape.broker.queue_depth import QueueDepth, read_queue_depth
from tickertape.broker.upstream_models import read_models_fault
from tickertape.runtime.json_types import JsonObject

PROBLEMS = ("no_worker", "long_wait", "upstream", "redis_slow", "redis_unavailable")
"""The codes of problems."""

# Viewers within this time get the same numbers, so many viewers cost one read.
_CACHE_S = 1.0
_REDIS_LIMIT_S = 3.0
_LONG_WAIT_S = 10.0
_SLOW_REDIS_MS = 250.0


class StatusProblem(BaseModel):
    """Something that is wrong, in words, with a code that does not change."""

    code: str
    message: str


class WorkerStatus(BaseModel):
    """A worker that is alive. `seen_s` is the age of its last report in seconds."""

    slots: int
    running: int
    is_draining: bool
    seen_s: float


class QueueStatus(BaseModel):
    """Requests that have not ended, and kept poison requests (`dead`)."""

    waiting: int = Field(description="Requests that a worker could claim now")
    oldest_s: float | None = Field(
        description="How long the oldest of them has existed, in seconds"
    )
    running: int
    delayed: int = Field(description="Requests that are tried again later")
    held: int = Field(description="Requests that wait for an earlier one of their conversation")
    dead: int = Field(description="Requests that were given up; see `tickertape dead`")
    size_bytes: int = Field(
        default=0, description="What the requests that have not ended take in Redis"
    )


_EXAMPLE: JsonObject = {
    "verdict": "ok",
    "problems": [],
    "at": 1767225600.123,
    "queue": {
        "waiting": 0, "oldest_s": None, "running": 2, "delayed": 0, "held": 0, "dead": 0,
        "size_bytes": 4096,
    },
    "pools": [{"name": "(upstream)", "waiting": 0, "oldest_s": None, "workers": 1}],
    "workers": [{"slots": 64, "running": 2, "is_draining": False, "seen_s": 0.4}],
    "no_worker_since": None,
    "deltas_per_s": 85.2,
    "completed": 140,
    "failed": 1,
    "takeovers": 0,
    "retries": 3,
    "titles": 12,
    "api_processes": 1,
    "open_streams": 5,
    "watchers": 2,
    "upstream_problem": None,
    "redis_ms": 0.6,
}  # fmt: skip


class Status(BaseModel):
    """The state of the whole deployment. The numbers are of all tenants together.

    `deltas_per_s` is the mean of the last ten seconds; a delta is mostly one token. The counters
    `completed`, `failed`, `takeovers`, `retries` and `titles` are the sums over the workers that
    are alive, each since its start. `queue` is null while Redis does not answer.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    verdict: str = Field(description="`ok`, or `problems`")
    problems: list[StatusProblem]
    at: float = Field(description="Unix time of the numbers")
    queue: QueueStatus | None = None
    pools: list[PoolStatus] = []
    workers: list[WorkerStatus] = []
    no_worker_since: float | None = None
    deltas_per_s: float = 0
    completed: int = 0
    failed: int = 0
    takeovers: int = 0
    retries: int = 0
    titles: int = Field(default=0, description="Conversations to which the model gave a title")
    api_processes: int = 0
    open_streams: int = 0
    watchers: int = Field(default=0, description="Streams of conversations that are open")
    upstream_problem: str | None = None
    redis_ms: float | None = Field(default=None, description="How long Redis took for one reply")


class FleetStatus:
    """Reads the status, at most once in a second."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._fleet = Fleet(connections)
        self._reading = asyncio.Lock()
        self._read_at_s = -_CACHE_S
        self._last: Status | None = None

    async def read(self) -> Status:
        """The newest numbers, at most one second old. An absent Redis is part of the status."""
        async with self._reading:
            if self._last is None or time.monotonic() - self._read_at_s >= _CACHE_S:
                self._last = await self._read()
                self._read_at_s = time.monotonic()
            return self._last

    async def _read(self) -> Status:
        try:
            async with asyncio.timeout(_REDIS_LIMIT_S):
                begun_s = time.monotonic()
                fault = await read_models_fault(self._connections)
                redis_ms = (time.monotonic() - begun_s) * 1000
                members = await self._fleet.members()
                depth = await read_queue_depth(self._connections)
        except AccessDenied as denial:
            return without_redis(str(denial))
        except (BrokerError, TimeoutError):
            return without_redis("Redis does not answer.")
        except Exception as error:  # noqa: BLE001  # foreign data is a part of the status, as an absent Redis is
            log_failure(error, "status not read")
            return without_redis("The data in Redis cannot be read. See the log of the API.")
        return status_of(members, depth, fault, redis_ms)


def without_redis(reason: str) -> Status:
    """The status while Redis cannot be read."""
    problem = StatusProblem(code="redis_unavailable", message=reason)
    return Status(verdict="problems", problems=[problem], at=round(time.time(), 3))


def status_of(
    members: Members,
    depth: QueueDepth,
    models_fault: str | None,
    redis_ms: float,
) -> Status:
    """Pure: the status for what was read from Redis."""
    reports = [seen.report for seen in members.workers]
    reported = next(
        (report.upstream_problem for report in reports if report.upstream_problem), None
    )
    upstream_problem = reported or models_fault
    problems = [
        *_no_worker(members, depth),
        *_long_wait(members, depth),
        *_upstream(upstream_problem),
        *_slow_redis(redis_ms),
    ]
    return Status(
        verdict="problems" if problems else "ok",
        problems=problems,
        at=round(depth.now_s, 3),
        queue=QueueStatus(
            waiting=depth.waiting,
            oldest_s=None if depth.oldest_s is None else round(depth.oldest_s, 1),
            running=depth.running,
            delayed=depth.delayed,
            held=depth.held,
            dead=depth.dead,
            size_bytes=depth.size_bytes,
        ),
        pools=pools_of(members, depth),
        workers=[
            WorkerStatus(
                slots=seen.report.slots,
                running=seen.report.running,
                is_draining=seen.report.is_draining,
                seen_s=round(seen.age_s, 1),
            )
            for seen in members.workers
        ],
        no_worker_since=depth.claimed_s if any(p.code == "no_worker" for p in problems) else None,
        deltas_per_s=round(sum(report.deltas_per_s for report in reports), 1),
        completed=sum(report.completed for report in reports),
        failed=sum(report.failed for report in reports),
        takeovers=sum(report.takeovers for report in reports),
        retries=sum(report.retries for report in reports),
        titles=sum(report.titles for report in reports),
        api_processes=len(members.apis),
        open_streams=sum(report.open_streams for report in members.apis),
        watchers=sum(report.watchers for report in members.apis),
        upstream_problem=upstream_problem,
        redis_ms=round(redis_ms, 1),
    )


def _no_worker(members: Members, depth: QueueDepth) -> list[StatusProblem]:
    silence_s = None if depth.claimed_s is None else max(0.0, depth.now_s - depth.claimed_s)
    is_claimed = silence_s is not None and silence_s < REPORT_TTL_S
    if members.has_claiming_worker or is_claimed:
        return []
    if silence_s is None:
        message = "No worker has ever asked for work. Start one with `tickertape worker`."
    else:
        message = (
            f"No worker has asked for work for {_duration(silence_s)}."
            " Start one with `tickertape worker`."
        )
    return [StatusProblem(code="no_worker", message=message)]


def _long_wait(members: Members, depth: QueueDepth) -> list[StatusProblem]:
    if depth.oldest_s is None or depth.oldest_s <= _LONG_WAIT_S:
        return []
    slots = sum(seen.report.slots for seen in members.workers)
    message = f"The oldest waiting request was accepted {_duration(depth.oldest_s)} ago."
    if slots and depth.running >= slots:
        message += " All slots of the workers are busy. Start more workers."
    return [StatusProblem(code="long_wait", message=message)]


def _upstream(problem: str | None) -> list[StatusProblem]:
    return [] if problem is None else [StatusProblem(code="upstream", message=problem)]


def _slow_redis(redis_ms: float) -> list[StatusProblem]:
    if redis_ms <= _SLOW_REDIS_MS:
        return []
    return [StatusProblem(code="redis_slow", message=f"Redis takes {redis_ms:.0f} ms for a reply.")]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
