"""Conversations: list, read, rename, erase a turn, forget."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.fanout.stream_response import StreamResponse
from tickertape.api.protocols.checked import Checked, field_error
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.kept_turns import outline_of, whole_pages
from tickertape.api.protocols.native.body import RetentionS
from tickertape.api.protocols.native.paging import (
    Limit,
    conversations_of,
    turns_before,
)
from tickertape.api.protocols.native.views import (
    ConversationList,
    ConversationSummary,
    ConversationView,
    conversation_summary,
    conversation_view,
    turn_view,
)
from tickertape.api.retention import check_conversation_retention
from tickertape.broker.titles import MAX_TITLE_CHARS
from tickertape.broker.turns import Turn

router = APIRouter(tags=["conversations"], route_class=JsonRoute)

_JSON = {"Content-Type": "application/json"}

ConversationId = Annotated[
    str,
    Path(
        description="The id that the caller chose with the first request of the conversation. "
        "Chat ids of the AI SDK may contain slashes"
    ),
]


class ChangeBody(Checked, BaseModel):
    """What to change of a conversation: its title, or how long it is kept."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"title": "The colour of the sky"}]},
    )

    title: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=MAX_TITLE_CHARS, strip_whitespace=True),
            Field(examples=["Three days in Rome"]),
        ]
        | None
    ) = None
    retention_s: RetentionS | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.title is None and self.retention_s is None:
            raise field_error("missing", "title", "give title or retention_s")
        return self


@router.get("/conversations", responses=error_responses(400, 401, 429, 503))
async def list_conversations(
    services: UsableServices,
    tenant: Tenant,
    *,
    q: Annotated[
        str, Query(description="Only titles that contain these words", max_length=MAX_TITLE_CHARS)
    ] = "",
    after: Annotated[
        str | None, Query(description="`after` of the last page", max_length=100)
    ] = None,
    limit: Limit = 20,
) -> ConversationList:
    """List the tenant's conversations, the one with the latest request first."""
    found, next_after = await conversations_of(
        services.conversation_list, tenant, after, limit=limit, words=q
    )
    summaries = [conversation_summary(summary) for summary in found]
    return ConversationList(conversations=summaries, after=next_after)


@router.get(
    "/conversations/{conversation_id:path}",
    response_model=ConversationView,
    response_model_exclude_unset=True,
    responses=error_responses(400, 401, 404, 429, 503),
)
async def read(
    conversation_id: ConversationId,
    services: UsableServices,
    tenant: Tenant,
    *,
    limit: Annotated[
        int | None, Query(description="Only the newest turns; all by default", ge=1, le=1000)
    ] = None,
    before: Annotated[
        str | None, Query(description="`before` of the last page", max_length=100)
    ] = None,
) -> Response:
    """Return the turns of a conversation with their parents, and what the list shows of it."""
    conversation, is_whole = await outline_of(services, tenant, conversation_id)
    turns, more = conversation.turns, {}
    if limit is not None or before is not None:
        page, next_before = turns_before(turns, before, limit)
        turns, more = [*page], {"before": next_before}
    head = conversation_view(conversation_id, conversation)
    head = head.model_copy(update=more)
    pages = whole_pages(services, tenant, conversation_id, turns, is_whole=is_whole)
    pieces = _pieces(head, pages, conversation.parents)
    return StreamResponse(pieces, AsyncExitStack(), _JSON)


async def _pieces(
    head: ConversationView,
    pages: AsyncIterator[list[Turn]],
    parents: Mapping[str, str | None],
) -> AsyncIterator[bytes]:
    """The view of a conversation, read in pages while it is sent."""
    before, field, after = head.model_dump_json(exclude_unset=True).encode().partition(b'"turns":[')
    yield before + field
    comma = b""
    async for page in pages:
        for turn in page:
            view = turn_view(turn, parents[turn.request_id])
            yield comma + view.model_dump_json(exclude_unset=True).encode()
            comma = b","
    yield after


@router.patch(
    "/conversations/{conversation_id:path}",
    responses=error_responses(400, 401, 403, 404, 413, 415, 503),
)
async def rename(
    conversation_id: ConversationId,
    body: ChangeBody,
    services: UsableServices,
    caller: CurrentCaller,
) -> ConversationSummary:
    """Give a conversation a title, which stays until the next one, or set how long it is kept."""
    tenant = caller.principal
    if body.retention_s is not None:
        caller.require("erase")  # what is kept for a second is erased
        check_conversation_retention(body.retention_s, services.retention_of(tenant))
        retaining = services.conversations.retain(tenant, conversation_id, body.retention_s)
        await services.past.retain(tenant, conversation_id, body.retention_s, retaining)
    if body.title is not None:
        renaming = services.conversations.rename(tenant, conversation_id, body.title)
        await services.past.rename(tenant, conversation_id, body.title, renaming)
    conversation, _ = await outline_of(services, tenant, conversation_id)
    return conversation_summary(conversation.summary)


@router.delete(
    "/conversations/{conversation_id:path}/turns/{request_id}",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 404, 503),
)
async def erase_turn(
    conversation_id: ConversationId,
    request_id: Annotated[str, Path(description="The `request_id` of the turn")],
    services: UsableServices,
    tenant: Tenant,
) -> None:
    """Erase a turn with its log. An active one is cancelled; turns that follow it stay."""
    await services.erase_turn(tenant, conversation_id, request_id)


@router.delete(
    "/conversations/{conversation_id:path}",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 404, 503),
)
async def forget(conversation_id: ConversationId, services: UsableServices, tenant: Tenant) -> None:
    """Cancel active and waiting requests, and erase all requests and turns of the conversation."""
    await services.forget(tenant, conversation_id)
