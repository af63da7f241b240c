"""Routes for operators: liveness, readiness and metrics."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from tickertape.api.dependencies import AnyServices, Tenant
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem, draining
from tickertape.api.fleet_metrics import fleet_text
from tickertape.api.fleet_status import Status
from tickertape.api.kept_metrics import kept_metrics
from tickertape.api.outbox_metrics import outbox_metrics, read_outboxes
from tickertape.api.services import Services
from tickertape.broker.errors import Unavailable
from tickertape.broker.kept_bytes import KeptBytes
from tickertape.broker.outbox import Outbox
from tickertape.runtime.conditions import Code

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})

router = APIRouter(tags=["operations"])

_REDIS_LIMIT_S = 1.0
_OF_UPSTREAM = {Code.UPSTREAM_KEY, Code.NO_UPSTREAM, Code.UPSTREAM}


class NamedCondition(BaseModel):
    """What harms the work of a process that is ready: a code that does not change, and words."""

    code: str
    message: str


class Health(BaseModel):
    """The health of the process. `upstream` is why a worker cannot use the upstream."""

    status: str = "ok"
    upstream: str | None = None
    conditions: list[NamedCondition] | None = None


@router.get("/healthz", responses=error_responses(403), response_model_exclude_none=True)
async def alive() -> Health:
    """Check that this process answers. Redis is ignored, because a restart does not repair it."""
    return Health()


@router.get("/readyz", responses=error_responses(403, 503), response_model_exclude_none=True)
async def ready(services: AnyServices) -> Health:
    """Check whether to route calls here: Redis is usable, and this process is not stopping."""
    if services.streams.is_ending:
        raise draining()
    conditions = await services.readiness.newest()
    if (fatal := conditions.fatal) is not None:
        raise Problem(503, "not_ready", fatal.words, headers={"Retry-After": "1"})
    # Without the upstream, requests are still accepted, read and cancelled, so this is ready.
    named = [NamedCondition(code=each.code, message=each.words) for each in conditions.all]
    upstream = next((each.message for each in named if each.code in _OF_UPSTREAM), None)
    return Health(upstream=upstream, conditions=named or None)


async def _kept_metrics(services: Services) -> bytes:
    try:
        async with asyncio.timeout(_REDIS_LIMIT_S):
            partitions = services.connections.partitions.served
            totals = await KeptBytes(services.connections).largest(partitions)
    except (Unavailable, TimeoutError):
        return b""
    return await asyncio.to_thread(kept_metrics, totals)


async def _outbox_metrics(services: Services) -> bytes:
    try:
        async with asyncio.timeout(_REDIS_LIMIT_S):
            outbox = Outbox(services.connections)
            return outbox_metrics(await read_outboxes(outbox, services.settings))
    except (Unavailable, TimeoutError):
        return b""


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
    # At once: a scraper gives up on an answer that waits for one slow reply after the other.
    own, status, kept, outboxes = await asyncio.gather(
        services.metrics.text(),
        services.fleet_status.read(),
        _kept_metrics(services),
        _outbox_metrics(services),
    )
    return Response(own + fleet_text(status) + kept + outboxes, media_type=CONTENT_TYPE_LATEST)
