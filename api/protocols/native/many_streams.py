"""One event stream for many conversations."""

from contextlib import AsyncExitStack
from typing import Annotated, Self

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field, model_validator

from tickertape.api.dependencies import CurrentCaller, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.fanout.stream_response import StreamResponse
from tickertape.api.protocols.checked import Checked, Item, Items, Name, field_error
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.native.event_schemas import EVENT_STREAM_SCHEMA
from tickertape.api.protocols.native.many_reader import ManyReader
from tickertape.api.protocols.native.streams import conversation_reader, reconnect_later
from tickertape.api.protocols.native.wire import native_dialect
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["streams"], route_class=JsonRoute)

MAX_CONVERSATIONS = 100
_EXAMPLE = (
    'event: conversation\ndata: {"conversation_id":"trip"}\n\n'
    "id: r0_01kb4c1f4m2x9y7z3w5v6u8t0s:1767225600123-1\nevent: delta\n"
    'data: {"request_id":"r0_01kb4c1f4m2x9y7z3w5v6u8t0s","text":"Because"}\n\n'
)
_RESPONSES: dict[int | str, JsonObject] = {
    200: {
        "description": "The events of `GET /conversations/{conversation_id}/stream` of each "
        "conversation. A `conversation` event names the conversation of the events that follow",
        "content": {"text/event-stream": {"schema": EVENT_STREAM_SCHEMA, "example": _EXAMPLE}},
    },
    **error_responses(400, 401, 413, 415, 429, 503),
}


class Followed(Item):
    """A conversation to read, and where to start."""

    model_config = ConfigDict(extra="forbid", strict=True)

    conversation_id: Annotated[Name, Field(examples=["trip"])]
    after: Annotated[
        str | None,
        Field(description="The last `id:` received of this conversation", examples=[None]),
    ] = None


class StreamsBody(Checked):
    """The conversations of one stream."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"conversations": [{"conversation_id": "sky"}]}]},
    )

    conversations: Annotated[Items[Followed], Field(min_length=1, max_length=MAX_CONVERSATIONS)]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        ids = [each.conversation_id for each in self.conversations]
        if len(set(ids)) < len(ids):
            raise field_error("value_error", "conversations", "give each conversation once")
        return self


@router.post("/streams", response_class=Response, responses=_RESPONSES)
async def follow_many(
    body: StreamsBody, services: UsableServices, caller: CurrentCaller
) -> Response:
    """Stream up to 100 conversations over one connection, including future requests of each."""
    streams, heartbeat_s = services.streams, services.settings.heartbeat_s
    if streams.is_draining:
        return reconnect_later()
    for each in body.conversations:
        caller.require_conversation(each.conversation_id)
    readers = {
        each.conversation_id: conversation_reader(
            services, caller.principal, each.conversation_id, each.after
        )
        for each in body.conversations
    }
    dialect = native_dialect(heartbeat_s)
    frames = streams.serve(ManyReader(readers, heartbeat_s), dialect, first=dialect.comment)
    return StreamResponse(frames, AsyncExitStack(), takes_events=True)
