"""The AI SDK's `useChat`: send, resume, stop. A chat is a conversation with one active request."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.caller import Caller
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.protocols.ai_sdk import wire as ui_message
from tickertape.api.protocols.ai_sdk.body import UiBody
from tickertape.api.protocols.ai_sdk.turns import needs_turns, new_turn, turns_meant
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.request_trace import note_record
from tickertape.api.services import Services
from tickertape.broker.errors import RequestMissing
from tickertape.broker.turns import Turn
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["ai sdk"], route_class=JsonRoute)

ChatIdPath = Annotated[str, Path(description="The chat's id, which may contain slashes")]
_STREAM: dict[int | str, JsonObject] = {
    200: {
        "description": "Chunks of the UI message stream protocol, from the message's `start` on, "
        "and a last `[DONE]`",
        "content": {"text/event-stream": {}},
        "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
    }
}


class StopBody(BaseModel):
    """The answer to stop, by default the active one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    activeStreamId: str | None = None  # noqa: N815  # the client's spelling


class Stopped(BaseModel):
    """No answer of the chat is active now."""

    success: bool = True


@router.post(
    "/api/chat",
    response_class=Response,
    responses={
        **_STREAM,
        **error_responses(400, 401, 404, 413, 415, 429, 503, as_text=True),
    },
)
async def send(body: UiBody, services: UsableServices, caller: CurrentCaller) -> Response:
    """Submit a message and stream the answer. It replaces an active answer of the chat."""
    services.refuse_while_draining()
    turns = await _turns(services, body, caller.principal) if needs_turns(body) else []
    ask = await services.heavy.run_if_heavy(caller.tenant, lambda: _ask(body, turns, caller))
    submitted = await services.submit(ask, caller=caller)
    return await _stream(services, submitted.request_id)


def _ask(body: UiBody, turns: list[Turn], caller: Caller) -> Ask:
    continued_id = body.continued_id
    messages = body.chat_messages() if body.sent_messages else []
    turn = new_turn(body, turns)
    return Ask(
        wire=ui_message.NAME,
        messages=messages if body.holds_history else turn.question or messages,
        params=body.params(),
        role=body.role,
        conversation_id=body.id,
        # A replacement ends an answer that somebody else may have asked for.
        on_busy="replace" if "cancel" in caller.scopes else "reject",
        # Text on the page cannot be taken back.
        on_interruption="continue",
        question=turn.question,
        links=turn.links,
        memory=not body.holds_history,
        echo={"message_id": continued_id} if continued_id else None,
    )


@router.get(
    "/api/chat/{chat_id:path}/stream",
    response_class=Response,
    responses={
        **_STREAM,
        204: {"description": "The chat has no active answer"},
        **error_responses(401, 429, 503, as_text=True),
    },
)
async def resume(chat_id: ChatIdPath, services: UsableServices, tenant: Tenant) -> Response:
    """Stream the active answer from its beginning."""
    services.refuse_while_draining()
    active_id = await _active(services, chat_id, tenant)
    if active_id is None:
        return Response(status_code=204)
    return await _stream(services, active_id)


@router.post(
    "/api/chat/{chat_id:path}/stop",
    responses=error_responses(400, 401, 413, 415, 503, as_text=True),
)
async def stop(
    chat_id: ChatIdPath, services: UsableServices, tenant: Tenant, body: StopBody | None = None
) -> Stopped:
    """Stop the active answer and keep its text so far. The call is safe to repeat."""
    active_id = await _active(services, chat_id, tenant)
    meant_id = body.activeStreamId if body else None
    if active_id is not None and meant_id in (None, active_id):
        await services.cancel(active_id, tenant)
    return Stopped()


async def _turns(services: Services, body: UiBody, tenant: str) -> list[Turn]:
    """The turns of the chat; those that the call may refer to have their messages."""
    try:
        path = (await services.conversations.outline(tenant, body.id)).path
    except RequestMissing:
        return []
    meant = turns_meant(body, path)
    found = await services.conversations.whole(tenant, body.id, meant)
    whole = {turn.request_id: turn for turn in found}
    return [whole.get(turn.request_id, turn) for turn in path]


async def _active(services: Services, chat_id: str, tenant: str) -> str | None:
    """The chat's active request, if it was submitted by this protocol."""
    active_id = await services.conversations.active(tenant, chat_id)
    if active_id is None:
        return None
    try:
        record = await services.requests.get(active_id, tenant)
        note_record(record)
    except RequestMissing:
        return None
    return active_id if record.head.get("wire") == ui_message.NAME else None


async def _stream(services: Services, request_id: str) -> Response:
    return await services.streams.follow(request_id, ui_message.dialect(request_id))
