"""Responses as they are now: read from their logs, for as long as those are kept."""

from dataclasses import dataclass
from typing import Any

import msgspec

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.openai_responses import wire as responses
from tickertape.api.protocols.openai_responses.input_items import chat_messages
from tickertape.api.services import Services
from tickertape.broker.codec import Entry, decode
from tickertape.broker.errors import RequestMissing
from tickertape.broker.requests import Record


@dataclass(frozen=True)
class StoredResponse:
    """A response: its record, and the fold of its log."""

    record: Record
    fold: responses.ResponseFold

    @property
    def is_background(self) -> bool:
        """Whether it was asked for without waiting for it."""
        return bool(self.fold.echo.get("response", {}).get("background"))

    def object(self) -> dict[str, Any]:
        """The object that is said of it; only here is it known when it was completed."""
        told = self.fold.object()
        if told["status"] == "completed" and self.record.ended_ms is not None:
            told["completed_at"] = self.record.ended_ms // 1000
        return told


async def find(services: Services, response_id: str, tenant: str) -> Record:
    """The record of a response; raises RequestMissing, also for what came in over other wires."""
    record = await services.requests.get(responses.request_id_of(response_id), tenant)
    if record.head.get("wire") != responses.NAME:
        raise RequestMissing
    return record


async def load(services: Services, response_id: str, tenant: str) -> StoredResponse:
    """The response as it is now; raises RequestMissing, also for one that was not to be stored."""
    record = await find(services, response_id, tenant)
    entries = await services.logs.entries(record.request_id)
    _check_stored(entries)
    if entries[-1].is_terminal and not record.is_over:
        # It ended between the two looks.
        record = await find(services, response_id, tenant)
    return stored_of(record, entries)


async def find_stored(services: Services, response_id: str, tenant: str) -> Record:
    """As `find`, for who reads the log itself: raises RequestMissing for what was not stored."""
    record = await find(services, response_id, tenant)
    stored = await services.logs.read(record.request_id, count=1)
    _check_stored([decode(*entry) for entry in stored])
    return record


def stored_of(record: Record, entries: list[Entry]) -> StoredResponse:
    """The response that a log amounts to."""
    fold = responses.ResponseFold(record.request_id)
    for entry in entries:
        fold.feed(entry)
    return StoredResponse(record, fold)


async def context_after(services: Services, response_id: str, tenant: str) -> list[dict[str, Any]]:
    """The messages up to and including a response, for the one that follows it; raises Problem.

    Each response holds all that was said before it, so only the one before has to be still there.
    Its instructions are not passed on. As long as it is active nothing can follow it: a chain of
    responses is a conversation, and has one active request.
    """
    try:
        previous = await load(services, response_id, tenant)
    except RequestMissing:
        raise _refusal("previous_response_not_found", "There is no such response.") from None
    if not previous.record.is_over:
        raise _refusal("previous_response_active", "That response is still being written.")
    fold = previous.fold
    messages = in_chat_order(
        [
            *fold.echo.get("context", []),
            *chat_messages(fold.echo.get("input", [])),
            *chat_messages(fold.output.objects()),
        ]
    )
    size_bytes = len(msgspec.json.encode(messages))
    if size_bytes > services.settings.max_body_bytes:
        raise _refusal("context_too_large", "What was said up to there is more than a body holds.")
    return messages


def _check_stored(entries: list[Entry]) -> None:
    echo = entries[0].data.get("echo", {}) if entries else {}
    if not entries or echo.get("response", {}).get("store") is False:
        raise RequestMissing


def _refusal(code: str, message: str) -> Problem:
    param = "previous_response_id"
    return Problem(400, code, f"{param}: {message}", param=param)
