"""Event streams of requests and conversations, on the native wire and as raw text."""

from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response

from tickertape.api.dependencies import Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.fanout.stream_response import EVENT_STREAM, StreamResponse
from tickertape.api.protocols.native.after_cursor import AfterCursor
from tickertape.api.protocols.native.conversation_cursor import ConversationCursor
from tickertape.api.protocols.native.conversation_reader import ConversationReader
from tickertape.api.protocols.native.conversations import ConversationId
from tickertape.api.protocols.native.event_schemas import (
    ENTRY_MODELS,
    EVENT_STREAM_SCHEMA,
    NOTICE_MODELS,
    listed,
    schema_links,
)
from tickertape.api.protocols.native.requests import RequestId
from tickertape.api.protocols.native.text_wire import TEXT
from tickertape.api.protocols.native.wire import (
    DEFAULT_HEARTBEAT_S,
    NativeWire,
    heartbeat,
    native_dialect,
    retry_line,
    snapshot_dialect,
)
from tickertape.api.request_trace import note_record, trace_known
from tickertape.api.services import Services
from tickertape.broker.codec import Cursor, Entry
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["streams"])

_EXAMPLE_LOG = (
    Entry(Cursor(1767225600123, 0), "started", data={"n": 1, "model": "gpt-5-mini"}),
    Entry(Cursor(1767225600123, 1), "delta", text="Because"),
    Entry(
        Cursor(1767225600123, 2),
        "completed",
        data={"finish_reason": "stop", "usage": None, "sha256": sha256(b"Because").hexdigest()},
    ),
)
_EXAMPLE = b"".join(NativeWire().frame(entry) for entry in _EXAMPLE_LOG).decode()
_STREAM_RESPONSES: dict[int | str, JsonObject] = {
    200: {
        "description": "Events, live after the past. The `data:` of each is JSON, and `x-events` "
        "names its schema. "
        f"Entries of the log have an `id:` to resume after: {listed(ENTRY_MODELS)}. "
        f"Notices have none: {listed(NOTICE_MODELS)}. "
        "A `snapshot` has an `id:` too. The stream of a request ends after `completed`, `failed`, "
        "`cancelled` or `gone`",
        "content": {
            "text/event-stream": {
                "schema": EVENT_STREAM_SCHEMA,
                "example": _EXAMPLE,
                "x-events": schema_links(),
            },
        },
    },
    204: {"description": "The request has ended, and the client has all its events"},
    **error_responses(400, 401, 404, 429, 503),
}
LastEventId = Annotated[
    str | None, Header(description="The last `id:` received; EventSource sends it by itself")
]
After = Annotated[
    str | None, Query(description="As `Last-Event-ID`, for clients that cannot set headers")
]


_RECONNECT_MS = 1000


def reconnect_later() -> Response:
    """The response to a client that requests events during a shutdown.

    A stream opened now would delay the shutdown. An EventSource reconnects only after a 200.
    """
    return Response(retry_line(_RECONNECT_MS), headers=EVENT_STREAM)


@router.get("/chat/{request_id}/stream", response_class=Response, responses=_STREAM_RESPONSES)
async def follow(
    request_id: RequestId,
    services: UsableServices,
    tenant: Tenant,
    *,
    last_event_id: LastEventId = None,
    after: After = None,
    snapshot: Annotated[
        bool, Query(description="Send one event in place of all past ones")
    ] = False,
    format: Annotated[  # noqa: A002  the query's name
        Literal["events", "text"], Query(description="`text` sends only the text of the answer")
    ] = "events",
) -> Response:
    """Stream events from a cursor to the end. The request goes on if the client disconnects."""
    streams = services.streams
    look_up = partial(services.requests.get, request_id, tenant)
    if format == "text":
        services.refuse_while_draining()
    elif streams.is_draining:
        return reconnect_later()
    new = services.requests.find_new(request_id, tenant)
    record = new or await look_up()
    note_record(record)
    # A request that was erased since its submit is not found.
    on_missing = look_up if new is not None else None
    if format == "text":
        return await streams.follow(request_id, TEXT, on_missing=on_missing)
    # The header wins, because a browser reconnects with the cursor of its URL, which is older.
    cursor = last_event_id or after
    heartbeat_s = services.settings.heartbeat_s
    locate = AfterCursor(
        Cursor.parse(cursor) if cursor else None,
        snapshot=snapshot,
        # A client would take a longer silence than it assumes for a dead connection.
        greeting=heartbeat(heartbeat_s) if heartbeat_s > DEFAULT_HEARTBEAT_S else b"",
    )
    dialect = native_dialect(heartbeat_s)
    if snapshot and cursor is None:
        async with streams.hub.watch(record.request_id) as watched:
            if watched.tape.is_over:
                dialect = snapshot_dialect(heartbeat_s)
                locate = replace(locate, snapshot=False)
            else:
                await locate.folded.prepare(watched.tape)
    return await streams.follow(
        record.request_id,
        dialect,
        locate,
        waiting=record,
        on_missing=on_missing,
    )


def conversation_reader(
    services: Services, tenant: str, conversation_id: str, cursor: str | None
) -> ConversationReader:
    """The reader of a conversation after a cursor; raises a Problem for a wrong one."""

    def trace(request_id: str) -> AbstractContextManager[None]:
        find = services.requests.get
        return trace_known("read", request_id, tenant, find, **{"tickertape.wire": "conversation"})

    return ConversationReader(
        services.streams,
        services.conversations,
        tenant,
        conversation_id,
        start=ConversationCursor.parse(cursor) if cursor else None,
        unavailable_pause_s=services.timing.unavailable_pause_s,
        trace=trace,
    )


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
    """Stream the requests of a conversation, one after the other, including future ones."""
    streams = services.streams
    if streams.is_draining:
        return reconnect_later()
    reader = conversation_reader(services, tenant, conversation_id, last_event_id or after)
    dialect = native_dialect(services.settings.heartbeat_s)
    frames = streams.serve(reader, dialect, first=dialect.comment)
    return StreamResponse(frames, AsyncExitStack(), takes_events=True)
