"""For whoever runs this: is it alive, should calls come here, and what was counted."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from api.problems import Problem, error_responses
from api.services import AnyServices, Services, Tenant
from broker.errors import Unavailable

router = APIRouter(tags=["operations"])

_REDIS_PATIENCE_S = 1.0


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/healthz", responses=error_responses())
async def alive() -> Health:
    """Whether this process answers; says nothing of Redis, which no restart of us would mend."""
    return Health()


@router.get("/readyz", responses=error_responses(503))
async def ready(services: AnyServices) -> Health:
    """Whether calls should come here: Redis answers, and the process is not about to stop."""
    fault = await _fault(services)
    if fault is not None:
        raise Problem(503, "not_ready", fault, headers={"Retry-After": "1"})
    return Health()


async def _fault(services: Services) -> str | None:
    if services.streams.is_draining:
        return "The server is about to stop."
    if not services.readiness.agreed:
        return "Redis has not answered since the start."
    if not services.streams.is_up:
        return "Redis pushes nothing at the moment."
    try:
        async with asyncio.timeout(_REDIS_PATIENCE_S):
            await services.connections.ask("PING")
    except (Unavailable, TimeoutError):
        return "Redis does not answer at the moment."
    return None


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **error_responses(401),
    },
)
async def metrics(services: AnyServices, _: Tenant) -> Response:
    """Prometheus' text format. Of this process: with several, scrape each, or add a proxy's own."""
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)
