"""Following: the event streams of requests and conversations."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response

from tickertape.api.edge.problems import Problem, error_responses
from tickertape.api.fanout.stream_response import EVENT_STREAM
from tickertape.api.protocols.native.conversations import ConversationId
from tickertape.api.protocols.native.requests import RequestId
from tickertape.api.protocols.native.text_wire import TEXT
from tickertape.api.protocols.native.wire import NATIVE, retry_line
from tickertape.api.services import Tenant, UsableServices
from tickertape.broker.codec import Cursor

router = APIRouter(tags=["streams"])

_EXAMPLE = (
    "id: 1767225600123-0\nevent: started\ndata: "
    '{"v":1,"prev":"1767225600100-0","n":1,"model":"gpt-5-mini"}\n\n'
    'id: 1767225600123-1\nevent: delta\ndata: {"text":"Because"}\n\n'
    "id: 1767225600123-2\nevent: completed\ndata: "
    '{"finish_reason":"stop","usage":null,"sha256":"6f5f..."}\n\n'
)
_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events as they are written: `queued`, `started`, `delta`, `reasoning`, "
        "`refusal`, `tool_call`, `reset`, `resumed`, `snapshot`, `rewind`, `gone`, `position`, "
        "`waiting`, and one of `completed`, `failed`, `cancelled` at the end",
        "content": {
            "text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE},
        },
    },
    204: {"description": "Over, and you have all of it"},
    **error_responses(400, 401, 404, 503),
}
LastEventId = Annotated[
    str | None, Header(description="The last `id:` you have; sent by EventSource by itself")
]
After = Annotated[str | None, Query(description="The same, for clients that cannot set headers")]


_COME_BACK_MS = 1000


def come_back(wire: str) -> Response:
    """The answer to who asks for a stream, over a connection kept alive, while the process ends.

    A stream opened now would hold up the end. EventSource comes back by itself only after a 200.
    """
    if wire == "text":
        raise Problem(503, "draining", "The server is about to stop.", headers={"Retry-After": "1"})
    return Response(retry_line(_COME_BACK_MS), headers=EVENT_STREAM)


@router.get("/chat/{request_id}/stream", response_class=Response, responses=_STREAM_RESPONSES)
async def follow(
    request_id: RequestId,
    services: UsableServices,
    tenant: Tenant,
    *,
    last_event_id: LastEventId = None,
    after: After = None,
    snapshot: Annotated[bool, Query(description="Begin with all there is as one event")] = False,
    format: Annotated[  # noqa: A002  the query's name
        Literal["events", "text"], Query(description="`text`: the bare text of the answer")
    ] = "events",
) -> Response:
    """Everything after the cursor, then all that follows, to the end. Leaving stops nothing."""
    if services.streams.is_draining:
        return come_back(format)
    record = await services.requests.get(request_id, tenant)
    if format == "text":
        return await services.streams.follow(record, TEXT, after=None)
    # The header is the newer one: a browser reconnects to the URL it was given at first.
    place = last_event_id or after
    cursor = Cursor.parse(place) if place else None
    return await services.streams.follow(record, NATIVE, after=cursor, snapshot=snapshot)


@router.get(
    "/conversations/{conversation_id:path}/stream",
    response_class=Response,
    responses=_STREAM_RESPONSES,
)
async def follow_conversation(
    conversation_id: ConversationId,
    services: UsableServices,
    tenant: Tenant,
    *,
    last_event_id: LastEventId = None,
    after: After = None,
) -> Response:
    """All requests of a conversation, one after the other, and those still to come."""
    if services.streams.is_draining:
        return come_back("events")
    place = last_event_id or after or None
    return await services.streams.follow_conversation(tenant, conversation_id, after=place)
