"""The AI SDK's `useChat`: send, resume, stop.

A page chooses by the path what it can read. `/api/chat` has the chunks that versions 5, 6 and 7
share; `/api/v7/chat` also takes text back, with `reset-step`, which other versions refuse. Both
have the same chats.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.protocols.ai_sdk import chats
from tickertape.api.protocols.ai_sdk.body import UiBody
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["ai sdk"], route_class=JsonRoute)

ChatIdPath = Annotated[
    str,
    Path(
        description="The chat's id, which may contain slashes; with `startIndex` also the "
        "`x-workflow-run-id` of an answer"
    ),
]
StartIndex = Annotated[
    int | None,
    Query(
        description="How many chunks of the answer the client has. A negative number starts at the "
        "beginning of the message",
        alias="startIndex",
    ),
]
_STREAM: dict[int | str, JsonObject] = {
    200: {
        "description": "Chunks of the UI message stream protocol, from the message's `start` on, "
        "and a last `[DONE]`",
        "content": {"text/event-stream": {}},
        "headers": {
            "X-Request-Id": {"schema": {"type": "string"}},
            "x-workflow-run-id": {"schema": {"type": "string"}},
        },
    }
}
_SENT = {**_STREAM, **error_responses(400, 401, 404, 413, 415, 429, 503, as_text=True)}
_RESUMED = {
    **_STREAM,
    204: {"description": "The chat has no active answer, or no chunk is left"},
    **error_responses(400, 401, 404, 429, 503, as_text=True),
}
_STOPPED = error_responses(400, 401, 413, 415, 503, as_text=True)


class StopBody(BaseModel):
    """The answer to stop, by default the active one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    activeStreamId: str | None = None  # noqa: N815  # the client's spelling


class Stopped(BaseModel):
    """No answer of the chat is active now."""

    success: bool = True


@router.post("/api/chat", response_class=Response, responses=_SENT)
async def send(body: UiBody, services: UsableServices, caller: CurrentCaller) -> Response:
    """Submit a message and stream the answer. It replaces an active answer of the chat."""
    return await chats.send(body, services, caller, resets=False)


@router.post("/api/v7/chat", response_class=Response, responses=_SENT)
async def send_7(body: UiBody, services: UsableServices, caller: CurrentCaller) -> Response:
    """Submit a message and stream the answer, which may start over with `reset-step`."""
    return await chats.send(body, services, caller, resets=True)


@router.get("/api/chat/{chat_id:path}/stream", response_class=Response, responses=_RESUMED)
async def resume(
    chat_id: ChatIdPath, services: UsableServices, tenant: Tenant, start_index: StartIndex = None
) -> Response:
    """Stream the active answer from its beginning, or an answer from a chunk on."""
    return await chats.resume(chat_id, start_index, services, tenant, resets=False)


@router.get("/api/v7/chat/{chat_id:path}/stream", response_class=Response, responses=_RESUMED)
async def resume_7(
    chat_id: ChatIdPath, services: UsableServices, tenant: Tenant, start_index: StartIndex = None
) -> Response:
    """Stream an answer that may start over with `reset-step`, as below `/api/chat`."""
    return await chats.resume(chat_id, start_index, services, tenant, resets=True)


@router.post("/api/chat/{chat_id:path}/stop", responses=_STOPPED)
async def stop(
    chat_id: ChatIdPath, services: UsableServices, tenant: Tenant, body: StopBody | None = None
) -> Stopped:
    """Stop the active answer and keep its text so far. The call is safe to repeat."""
    await chats.stop(chat_id, body.activeStreamId if body else None, services, tenant)
    return Stopped()


@router.post("/api/v7/chat/{chat_id:path}/stop", responses=_STOPPED)
async def stop_7(
    chat_id: ChatIdPath, services: UsableServices, tenant: Tenant, body: StopBody | None = None
) -> Stopped:
    """Stop the active answer, as below `/api/chat`."""
    await chats.stop(chat_id, body.activeStreamId if body else None, services, tenant)
    return Stopped()
