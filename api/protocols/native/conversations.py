"""Conversations: read the turns, forget them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from tickertape.api.dependencies import Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.protocols.native.views import ConversationView, conversation_view

router = APIRouter(tags=["conversations"])

ConversationId = Annotated[
    str,
    Path(
        description="The id that the caller chose with the first request of the conversation. "
        "Chat ids of the AI SDK may contain slashes"
    ),
]


@router.get(
    "/conversations/{conversation_id:path}",
    response_model_exclude_unset=True,
    responses=error_responses(401, 404, 503),
)
async def read(
    conversation_id: ConversationId, services: UsableServices, tenant: Tenant
) -> ConversationView:
    """Return the turns of a conversation, oldest first, and the id of its active request."""
    conversation = await services.conversations.get(tenant, conversation_id)
    return conversation_view(conversation_id, conversation)


@router.delete(
    "/conversations/{conversation_id:path}",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 404, 503),
)
async def forget(conversation_id: ConversationId, services: UsableServices, tenant: Tenant) -> None:
    """Cancel active and waiting requests, and erase all requests and turns of the conversation."""
    await services.conversations.forget(tenant, conversation_id)
