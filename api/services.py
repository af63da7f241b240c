"""What routes work with: the broker, the roles, the streams, and what is counted on the way.

One object per app, made when it starts, and handed to routes as dependencies; nothing is global.
"""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from tickertape.api.asking import Ask, submission_of
from tickertape.api.fanout.streams import Streams
from tickertape.api.metrics import Metrics
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import (
    AccessDenied,
    BrokerError,
    ConversationBusy,
    IdempotencyConflict,
    QueueFull,
    TenantLimitReached,
    Unavailable,
)
from tickertape.broker.log import Logs
from tickertape.broker.requests import Record, Requests, Submitted
from tickertape.broker.rights import Rights
from tickertape.roles import Roles
from tickertape.runtime.settings import Settings

_OUTCOMES: dict[type[BrokerError], str] = {
    IdempotencyConflict: "conflict",
    QueueFull: "queue_full",
    TenantLimitReached: "tenant_limit",
    ConversationBusy: "busy",
    Unavailable: "unavailable",
}


@dataclass
class Readiness:
    """Whether Redis has let us in since the start, and counts the same partitions as we do."""

    agreed: bool = False
    denial: str | None = None
    """What Redis denied at the last try before it let us in."""


@dataclass(frozen=True)
class Services:
    """Everything below the routes. Its parts raise what the broker raises."""

    settings: Settings
    roles: Roles
    connections: Connections
    rights: Rights
    requests: Requests
    conversations: Conversations
    logs: Logs
    streams: Streams
    metrics: Metrics
    readiness: Readiness = field(default_factory=Readiness)

    async def submit(
        self, ask: Ask, *, tenant: str, idempotency_key: str | None = None
    ) -> Submitted:
        """Render the role and accept the request; raises as Requests.submit and submission_of."""
        submission = submission_of(ask, self.roles, tenant=tenant, idempotency_key=idempotency_key)
        try:
            submitted = await self.requests.submit(submission)
        except BrokerError as error:
            self.metrics.count_submit(_OUTCOMES.get(type(error), "unavailable"))
            raise
        self.metrics.count_submit("accepted" if submitted.is_new else "repeated")
        return submitted

    async def cancel(self, request_id: str, tenant: str) -> str:
        """End a request; returns its status. Raises RequestMissing, Unavailable."""
        self.metrics.count_cancel()
        return await self.requests.cancel(request_id, tenant)

    async def position(self, record: Record) -> int | None:
        """How many requests are started before this one, None when it does not wait in line."""
        if record.state != "queued":
            return None
        return await self.requests.position(record.request_id, record.tenant)


async def services_of(request: Request) -> Services:
    """The services, whatever state Redis is in."""
    services: Services = request.app.state.services
    return services


async def _usable(services: Annotated[Services, Depends(services_of)]) -> Services:
    # Before the partitions are agreed on, a request could be looked for in the wrong one.
    if not services.readiness.agreed:
        denial = services.readiness.denial
        raise Unavailable if denial is None else AccessDenied(denial)
    return services


_bearer = HTTPBearer(auto_error=False, description="Asked for when the server has API keys")


async def _tenant(request: Request, _: Annotated[object, Security(_bearer)]) -> str:
    # Set by api/edge/auth.py, which has checked the key; the scheme here is for the documentation.
    tenant: str = request.state.tenant
    return tenant


AnyServices = Annotated[Services, Depends(services_of)]
UsableServices = Annotated[Services, Depends(_usable)]
Tenant = Annotated[str, Depends(_tenant)]
