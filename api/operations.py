"""Routes for operators: liveness, readiness and metrics."""

import asyncio
import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from tickertape.api.dependencies import AnyServices, Tenant
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem, draining
from tickertape.api.fleet_metrics import fleet_text
from tickertape.api.fleet_status import Status
from tickertape.api.kept_metrics import kept_metrics
from tickertape.api.services import Services
from tickertape.broker.errors import AccessDenied, Unavailable, WritesRefused
from tickertape.broker.kept_bytes import KeptBytes
from tickertape.broker.upstream_models import read_models_fault

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})

router = APIRouter(tags=["operations"])

_REDIS_LIMIT_S = 1.0


class Health(BaseModel):
    """The health of the process. `upstream` is why a worker cannot list the upstream's models."""

    status: str = "ok"
    upstream: str | None = None


@router.get("/healthz", responses=error_responses(403), response_model_exclude_none=True)
async def alive() -> Health:
    """Check that this process answers. Redis is ignored, because a restart does not repair it."""
    return Health()


@router.get("/readyz", responses=error_responses(403, 503), response_model_exclude_none=True)
async def ready(services: AnyServices) -> Health:
    """Check whether to route calls here: Redis is usable, and this process is not stopping."""
    if services.streams.is_ending:
        raise draining()
    found, asked_s = services.readiness, time.monotonic()
    # Anybody may ask, and a look takes several calls of Redis. So there is one look at a time, and
    # it answers everybody who asked before it began.
    async with found.checking:
        if found.looked_s < asked_s:
            found.looked_s = time.monotonic()
            found.fault = await _fault(services)
            found.upstream_fault = await _upstream_fault(services)
    if found.fault is not None:
        raise Problem(503, "not_ready", found.fault, headers={"Retry-After": "1"})
    # Without the upstream, requests are still accepted, read and cancelled, so this is ready.
    return Health(upstream=found.upstream_fault)


async def _upstream_fault(services: Services) -> str | None:
    try:
        async with asyncio.timeout(_REDIS_LIMIT_S):
            return await read_models_fault(services.connections)
    except (Unavailable, TimeoutError):
        return None


async def _kept_metrics(services: Services) -> bytes:
    try:
        async with asyncio.timeout(_REDIS_LIMIT_S):
            partitions = services.connections.partitions.served
            totals = await KeptBytes(services.connections).largest(partitions)
    except (Unavailable, TimeoutError):
        return b""
    return await asyncio.to_thread(kept_metrics, totals)


async def _fault(services: Services) -> str | None:
    has_answered = True
    try:
        async with asyncio.timeout(_REDIS_LIMIT_S):
            await services.rights.check()
    except (AccessDenied, WritesRefused) as refusal:
        # What Redis itself says is the cause of every other fault, so report it first.
        return str(refusal)
    except (Unavailable, TimeoutError):
        has_answered = False
    if not services.readiness.agreed:
        return "Redis has not answered since the start."
    if (reason := services.connections.writes.reason) is not None:
        return f"Redis takes no writes: {reason}"
    if (refused := services.connections.faults.refused) is not None:
        return refused
    if not services.streams.is_up:
        return "Redis pushes nothing to this process, or the check for lost pushes hangs."
    return None if has_answered else "Redis does not answer."


@router.get("/status.json", responses=error_responses(401))
async def status(services: AnyServices, _: Tenant) -> Status:
    """Return what the whole deployment does now, with a verdict.

    The numbers are of all tenants together. The response is 200 also while Redis is away, because
    that is a part of the status. It is at most one second old, so that many viewers cost one read.
    """
    return await services.fleet_status.read()


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **error_responses(401),
    },
)
async def metrics(services: AnyServices, _: Tenant) -> Response:
    """Return the metrics of all API processes of this address, and the state of the deployment.

    The format is Prometheus' text format. The gauges of the deployment are equal in all processes.
    Kept bytes are those of the 1000 largest tenants of each partition.
    """
    text = await services.metrics.text() + fleet_text(await services.fleet_status.read())
    text += await _kept_metrics(services)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
