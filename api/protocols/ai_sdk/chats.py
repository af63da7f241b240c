"""What a page of `useChat` does with its chat: send, resume, stop.

A chat is a conversation with one active request. `resets` states that the page knows `reset-step`,
so that an answer may start over in front of its readers.
"""

from starlette.responses import Response

from tickertape.api.asking import Ask
from tickertape.api.edge.caller import Caller
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.stream_response import EVENT_STREAM
from tickertape.api.fanout.streams import Locate, start_of_log
from tickertape.api.protocols.ai_sdk import wire as ui_message
from tickertape.api.protocols.ai_sdk.body import UiBody
from tickertape.api.protocols.ai_sdk.chunk_index import Again, AtChunk
from tickertape.api.protocols.ai_sdk.turns import needs_turns, new_turn, turns_meant
from tickertape.api.request_trace import note_record
from tickertape.api.services import Services
from tickertape.broker import request_ids
from tickertape.broker.errors import RequestMissing
from tickertape.broker.turns import Turn


async def send(body: UiBody, services: Services, caller: Caller, *, resets: bool) -> Response:
    """Submit a message and stream the answer. Raises what a submit raises."""
    services.refuse_while_draining()
    turns = await _turns(services, body, caller.principal) if needs_turns(body) else []
    ask = await services.heavy.run_if_heavy(
        caller.tenant, lambda: _ask(body, turns, caller, resets=resets)
    )
    submitted = await services.submit(ask, caller=caller)
    return await _stream(services, submitted.request_id, resets=resets)


async def resume(
    chat_id: str, start_index: int | None, services: Services, tenant: str, *, resets: bool
) -> Response:
    """Stream an answer: the chat's active one from its beginning, or from a chunk on.

    With `start_index`, `chat_id` may be the id of a request, whose answer then is meant. Raises
    Problem, RequestMissing.
    """
    services.refuse_while_draining()
    if start_index is None:
        active_id = await _active(services, chat_id, tenant)
        if active_id is None:
            return Response(status_code=204)
        return await _stream(services, active_id, resets=resets)
    if await _is_served(services, chat_id, tenant):
        return await _stream(services, chat_id, AtChunk(start_index), resets=resets)
    if start_index > 0:
        return await _resume_chat(chat_id, start_index, services, tenant, resets=resets)
    active_id = await _active(services, chat_id, tenant)
    if active_id is None:
        # A transport that resumes by itself knows no 204, and asks again until it gets `finish`.
        nothing = ui_message.FINISH + ui_message.DONE
        return Response(nothing, headers={**EVENT_STREAM, **ui_message.HEADERS})
    return await _stream(services, active_id, AtChunk(start_index), resets=resets)


async def _resume_chat(
    chat_id: str, start_index: int, services: Services, tenant: str, *, resets: bool
) -> Response:
    """Stream the chat's newest answer to a client that has chunks of it, or of an earlier one.

    The client does not say of which, so the chunks that it has count for nothing.
    """
    if not resets:
        raise Problem(
            400,
            "invalid_value",
            f"startIndex: an answer is named by its {ui_message.RUN_ID}, and a chat's id can only"
            " start at 0 here. Use /api/v7/chat, or the id of the answer.",
            param="startIndex",
        )
    newest_id = await _active(services, chat_id, tenant) or await _newest(services, chat_id, tenant)
    if newest_id is None:
        raise RequestMissing
    return await _stream(services, newest_id, Again(start_index), resets=True)


async def stop(chat_id: str, stream_id: str | None, services: Services, tenant: str) -> None:
    """End the active answer of a chat; only the answer `stream_id`, if that is given."""
    active_id = await _active(services, chat_id, tenant)
    if active_id is not None and stream_id in (None, active_id):
        await services.cancel(active_id, tenant)


async def _active(services: Services, chat_id: str, tenant: str) -> str | None:
    """The chat's active request, if it was submitted by this protocol."""
    active_id = await services.conversations.active(tenant, chat_id)
    is_served = active_id is not None and await _is_served(services, active_id, tenant)
    return active_id if is_served else None


async def _newest(services: Services, chat_id: str, tenant: str) -> str | None:
    """The chat's last request, if it was submitted by this protocol and is kept."""
    path = (await services.conversations.outline(tenant, chat_id)).path
    is_served = bool(path) and await _is_served(services, path[-1].request_id, tenant)
    return path[-1].request_id if is_served else None


async def _is_served(services: Services, request_id: str, tenant: str) -> bool:
    """Whether this is a request of this protocol, which the call is then about to read."""
    if request_ids.parse_partition(request_id) is None:
        return False
    try:
        record = await services.requests.get(request_id, tenant)
    except RequestMissing:
        return False
    note_record(record)
    return record.head.get("wire") == ui_message.NAME


async def _stream(
    services: Services, request_id: str, locate: Locate = start_of_log, *, resets: bool
) -> Response:
    dialect = ui_message.dialect(request_id, resets=resets)
    return await services.streams.follow(request_id, dialect, locate)


def _ask(body: UiBody, turns: list[Turn], caller: Caller, *, resets: bool) -> Ask:
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
        # Without `reset-step`, text on the page cannot be taken back.
        on_interruption="restart" if resets else "continue",
        question=turn.question,
        links=turn.links,
        memory=not body.holds_history,
        echo={"message_id": continued_id} if continued_id else None,
    )


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
