"""Looks at everything that an API process needs for its work."""

import asyncio
import contextlib
import time

from tickertape.api.services import Services
from tickertape.broker.errors import Unavailable
from tickertape.broker.upstream_models import read_models_fault
from tickertape.broker.work_check import WorkCheck, upstream_condition
from tickertape.runtime.conditions import Code, Condition, Looks
from tickertape.runtime.secret_watch import SecretWatch

_REDIS_LIMIT_S = 1.0
_ABOUT_WRITES = {Code.READ_ONLY, Code.MEMORY_FULL, Code.WRITES_REFUSED}


def looks_of(services: Services, secrets: SecretWatch) -> Looks:
    """The looks of this process."""
    check = WorkCheck(services.connections)

    async def look() -> list[Condition]:
        of_redis = await check.conditions()
        return [
            *of_redis,
            *_of_process(services, {each.code for each in of_redis}),
            *await _of_upstream(services),
            *_of_workers(services),
            *secrets.conditions(),
        ]

    return Looks(look, services.readiness.conditions, age_s=services.timing.look_age_s)


def _of_process(services: Services, of_redis: set[Code]) -> list[Condition]:
    found = []
    writes, refused = services.connections.writes.reason, services.connections.faults.refused
    if not services.readiness.agreed:
        found.append(Condition(Code.STARTING, "Redis has not answered since the start."))
    if writes is not None and not of_redis & _ABOUT_WRITES:
        found.append(Condition(Code.WRITES_REFUSED, f"Redis takes no writes: {writes}"))
    if refused is not None and Code.MEMORY_FULL not in of_redis:
        found.append(Condition(Code.TASK_REFUSED, refused))
    if not services.streams.is_up and Code.CLUSTER_NODE not in of_redis:
        words = "Redis pushes nothing to this process, or the check for lost pushes hangs."
        found.append(Condition(Code.PUSHES_DOWN, words))
    return found


async def _of_upstream(services: Services) -> list[Condition]:
    fault = None
    # Foreign data under the key is logged once, and harms nobody.
    with (
        services.connections.faults.contain("readiness"),
        contextlib.suppress(Unavailable, TimeoutError),
    ):
        async with asyncio.timeout(_REDIS_LIMIT_S):
            fault = await read_models_fault(services.connections)
    fault = fault or services.fleet.upstream_problem
    return [] if fault is None else [upstream_condition(fault)]


def _of_workers(services: Services) -> list[Condition]:
    since_s = services.fleet.no_worker_since
    if since_s is None:
        return []
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s))
    return [Condition(Code.NO_WORKER, f"No worker has asked for work since {since}.")]
