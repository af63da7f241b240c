"""Tickets: give a browser or another program a right to one request or one conversation."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from tickertape.api.dependencies import CurrentCaller, UsableServices
from tickertape.api.edge.caller import Caller, Only
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.ticket_text import Right
from tickertape.api.protocols.checked import Checked
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.native.conversations import ConversationId
from tickertape.api.protocols.native.requests import RequestId
from tickertape.api.services import Services

router = APIRouter(tags=["tickets"], route_class=JsonRoute)

_LONGEST_S = 7 * 86_400
_REFUSALS = error_responses(400, 401, 403, 404, 413, 415, 429, 503)


class TicketBody(Checked):
    """What a ticket allows, and for how long."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"rights": "read", "ttl_s": 300}]},
    )

    rights: Annotated[
        Right,
        Field(
            description="`read` follows and shows the object. `write` also submits to the "
            "conversation. `cancel` also stops its answers"
        ),
    ]
    ttl_s: Annotated[int, Field(description="For how long it is valid", ge=1, le=_LONGEST_S)] = 300
    renewable_s: Annotated[
        int,
        Field(
            description="For how long open streams receive new tickets, counted from now",
            ge=0,
            le=_LONGEST_S,
        ),
    ] = 86_400


class TicketView(BaseModel):
    """A ticket. `expires_ms` is its end, and `ends_ms` that of all tickets it is renewed to."""

    ticket: str
    expires_ms: int
    ends_ms: int


class RevokedBody(Checked):
    """The ticket to revoke."""

    model_config = ConfigDict(extra="forbid")

    ticket: Annotated[str, Field(min_length=1, max_length=4096)]


@router.post("/chat/{request_id}/ticket", responses=_REFUSALS)
async def of_request(
    request_id: RequestId, body: TicketBody, services: UsableServices, caller: CurrentCaller
) -> TicketView:
    """Issue a ticket for a request, which can be read with it, and cancelled with `cancel`."""
    if body.rights == "write":
        raise Problem(
            400, "invalid_value", "rights: a request takes `read` or `cancel`", param="rights"
        )
    record = await services.requests.get(request_id, caller.principal)
    return await _issue(services, caller, Only("chat", record.request_id), body)


@router.post("/conversations/{conversation_id:path}/ticket", responses=_REFUSALS)
async def of_conversation(
    conversation_id: ConversationId,
    body: TicketBody,
    services: UsableServices,
    caller: CurrentCaller,
) -> TicketView:
    """Issue a ticket for a conversation, which may have no request yet."""
    return await _issue(services, caller, Only("conversation", conversation_id), body)


@router.post(
    "/chat/{request_id}/tickets/revoke",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 403, 404, 429, 503),
)
async def revoke_of_request(
    request_id: RequestId, services: UsableServices, caller: CurrentCaller
) -> None:
    """Revoke all tickets of a request. Their streams end within 5 seconds."""
    record = await services.requests.get(request_id, caller.principal)
    await services.tickets.revoke_of(caller, Only("chat", record.request_id))


@router.post(
    "/conversations/{conversation_id:path}/tickets/revoke",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 403, 429, 503),
)
async def revoke_of_conversation(
    conversation_id: ConversationId, services: UsableServices, caller: CurrentCaller
) -> None:
    """Revoke all tickets of a conversation. Their streams end within 5 seconds."""
    await services.tickets.revoke_of(caller, Only("conversation", conversation_id))


@router.post(
    "/tickets/revoke",
    status_code=204,
    response_class=Response,
    responses=error_responses(400, 401, 403, 404, 413, 415, 429, 503),
)
async def revoke(body: RevokedBody, services: UsableServices, caller: CurrentCaller) -> None:
    """Revoke one ticket, and those that it was renewed to. Their streams end within 5 seconds."""
    await services.tickets.revoke(caller, body.ticket)


async def _issue(services: Services, caller: Caller, only: Only, body: TicketBody) -> TicketView:
    ticket, claims = await services.tickets.issue(
        caller, only, body.rights, ttl_s=body.ttl_s, renewable_s=body.renewable_s
    )
    return TicketView(ticket=ticket, expires_ms=claims.expires_ms, ends_ms=claims.ends_ms)
