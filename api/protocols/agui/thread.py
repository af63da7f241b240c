"""A thread for a page that begins: its messages, and the run that it may join.

The form is that of TanStack AI, whose clients ask for a thread with `persistence: true`.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

from fastapi import Response

from tickertape.api.edge.caller import Caller
from tickertape.api.fanout.stream_response import StreamResponse
from tickertape.api.protocols.agui import wire as agui
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.kept_turns import outline_of, whole_pages
from tickertape.api.services import Services
from tickertape.broker.errors import RequestMissing
from tickertape.broker.turns import Turn
from tickertape.runtime.json_types import JsonObject

_JSON = {"Content-Type": "application/json"}


async def thread(services: Services, caller: Caller, thread_id: str) -> Response:
    """The messages of the latest branch of a thread, and its active run; nothing for a new one."""
    caller.require_conversation(thread_id)
    tenant = caller.principal
    turns: list[Turn] = []
    active_id, is_whole = None, True
    with contextlib.suppress(RequestMissing):
        conversation, is_whole = await outline_of(services, tenant, thread_id)
        turns = conversation.path
        active_id = await _joinable(services, tenant, conversation.active_request_id)
    pages = whole_pages(services, tenant, thread_id, turns, is_whole=is_whole)
    return StreamResponse(_pieces(pages, active_id), AsyncExitStack(), _JSON)


async def _joinable(services: Services, tenant: str, active_id: str | None) -> str | None:
    """The active request, if it is a run; others have no events of this protocol."""
    if active_id is not None:
        with contextlib.suppress(RequestMissing):
            record = await services.requests.get(active_id, tenant)
            return active_id if record.head.get("wire") == agui.NAME else None
    return None


async def _pieces(pages: AsyncIterator[list[Turn]], active_id: str | None) -> AsyncIterator[bytes]:
    """The JSON of a thread, read in pages while it is sent."""
    comma = b""
    yield b'{"messages":['
    async for page in pages:
        for turn in page:
            for message in messages_of(turn):
                yield comma + encode_json(message)
                comma = b","
    active = {"runId": active_id} if active_id else None
    yield b'],"activeRun":' + encode_json(active) + b"}"


def messages_of(turn: Turn) -> Iterator[JsonObject]:
    """Pure: the texts of a turn as messages of TanStack AI.

    The last question has the id that the page gave to it, and an answer names its request, so that
    the next run follows this turn.
    """
    for number, message in enumerate(turn.asked):
        is_last = number == len(turn.asked) - 1
        given = turn.links.message_id if is_last else None
        if message.get("role") == "user":
            yield _message(given or f"asked_{turn.request_id}_{number}", "user", message["content"])
    if turn.answered:
        yield _message(agui.message_of_request(turn.request_id), "assistant", turn.answered)


def _message(message_id: str, role: str, content: object) -> JsonObject:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part["text"] for part in parts if part.get("type") == "text"]
    shown = [{"type": "text", "content": text} for text in texts]
    return {"id": message_id, "role": role, "parts": shown}
