"""Responses in their present state, from their records and logs."""

from dataclasses import dataclass, field, replace

import msgspec

from tickertape.api.edge.problems import Problem
from tickertape.api.heavy_work import HEAVY_BYTES, mark_call
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.openai_responses import wire as responses
from tickertape.api.protocols.openai_responses.input_items import chat_messages
from tickertape.api.request_trace import note_record
from tickertape.api.services import Services
from tickertape.broker.codec import Entry, decode
from tickertape.broker.errors import RequestMissing
from tickertape.broker.exchanges import Chain
from tickertape.broker.log import decoded, size_of
from tickertape.broker.patient_json import decode_patiently
from tickertape.broker.requests import Record
from tickertape.broker.segments import Stored
from tickertape.runtime.json_types import JsonObject

# Over several partitions, so many exchanges may be read in a second.
_MOST_EXCHANGES = 4096


@dataclass(frozen=True)
class StoredResponse:
    """A response: its record, and the fold of its log."""

    record: Record
    fold: responses.ResponseFold

    @property
    def is_background(self) -> bool:
        """Whether the caller created it with `background`."""
        return bool(self.fold.echo.get("response", {}).get("background"))

    def object(self) -> JsonObject:
        """The response as a JSON object, with the time of its end, which only the record has."""
        response = self.fold.object()
        if response["status"] == "completed" and self.record.ended_ms is not None:
            response["completed_at"] = self.record.ended_ms // 1000
        return response


async def find(services: Services, request_id: str, tenant: str) -> Record:
    """The record of a response; raises RequestMissing, also for requests of other protocols."""
    record = await services.requests.get(request_id, tenant)
    if record.head.get("wire") != responses.NAME:
        raise RequestMissing
    note_record(record)
    return record


async def load(services: Services, request_id: str, tenant: str) -> StoredResponse:
    """Load a response; raises RequestMissing, also for a response with `store` false.

    From then on the call is heavy if the response is: a call of 90 bytes may name one of 20 MB.
    """
    record = await find(services, request_id, tenant)
    async with services.turn_to_read(record):
        stored = await services.logs.stored(request_id)
        size_bytes = size_of(stored)
        if size_bytes >= HEAVY_BYTES:
            mark_call(is_heavy=True)
        response, is_over = await services.heavy.run_for(
            tenant, len(stored), lambda: _load(record, stored), size_bytes=size_bytes
        )
    if is_over and not record.is_over:
        # The request ended after its record was read.
        response = replace(response, record=await find(services, request_id, tenant))
    return response


def _load(record: Record, stored: list[Stored]) -> tuple[StoredResponse, bool]:
    entries = decoded(stored)
    _check_stored(entries)
    return stored_of(record, entries), entries[-1].is_terminal


async def check_stored(services: Services, request_id: str, tenant: str) -> None:
    """Raise RequestMissing as `load` does, without reading the whole log."""
    await find(services, request_id, tenant)
    first = await services.logs.read(request_id, count=1)
    _check_stored([decode(*entry) for entry in first])


def stored_of(record: Record, entries: list[Entry]) -> StoredResponse:
    """The response that a log folds to."""
    fold = responses.ResponseFold(record.request_id)
    for entry in entries:
        fold.feed(entry)
    return StoredResponse(record, fold)


@dataclass(frozen=True)
class Context:
    """The messages before a response, and the responses that these are of."""

    messages: list[JsonObject] = field(default_factory=list)
    after: Chain = field(default_factory=Chain)


async def context_after(services: Services, response_id: str, principal: str) -> Context:
    """The messages up to and including a response, as the context of the next; raises Problem.

    Its instructions are not part of the context. An active response cannot be followed, because a
    chain of responses is a conversation, which has one active request.
    """
    request_id = responses.request_id_of(response_id)
    try:
        previous = await load(services, request_id, principal)
        if not previous.record.is_over:
            raise _refusal("previous_response_active", "That response is still in progress.")
        return await _context(services, previous, principal)
    except RequestMissing:
        message = "This response, or one that it follows, does not exist."
        raise _refusal("previous_response_not_found", message) from None


async def _context(services: Services, previous: StoredResponse, principal: str) -> Context:
    request_id, echo = previous.record.request_id, previous.fold.echo
    before = msgspec.convert(echo.get("after", {}), Chain)
    run = services.heavy.run_if_heavy
    messages, own = await run(principal, lambda: _messages_of(previous))
    after = before.with_next(request_id, len(own))
    if after.size_bytes > services.settings.max_body_bytes or after.count > _MOST_EXCHANGES:
        message = "The messages up to there exceed the size limit of a body."
        raise _refusal("context_too_large", message)
    retention_s = services.retention_of(principal).request_s
    earlier = await services.exchanges.follow_encoded(
        request_id, principal, own, before.request_id, retention_s=retention_s
    )
    if after.size_bytes >= HEAVY_BYTES:
        mark_call(is_heavy=True)
    return await run(principal, lambda: Context(_joined(earlier, messages), after))


def _messages_of(previous: StoredResponse) -> tuple[list[JsonObject], bytes]:
    """What a response was asked and answered, and the same as JSON."""
    echo = previous.fold.echo
    messages = in_chat_order(
        [
            # Version 0.1 stored the whole context with each response.
            *(echo.get("context") or []),
            *chat_messages(echo.get("input", [])),
            *chat_messages(previous.fold.output.objects()),
        ]
    )
    return messages, msgspec.json.encode(messages)


def _joined(earlier: list[bytes], messages: list[JsonObject]) -> list[JsonObject]:
    before = (message for exchange in earlier for message in decode_patiently(exchange))
    return in_chat_order([*before, *messages])


def _check_stored(entries: list[Entry]) -> None:
    echo = entries[0].data.get("echo", {}) if entries else {}
    if not entries or echo.get("response", {}).get("store") is False:
        raise RequestMissing


def _refusal(code: str, message: str) -> Problem:
    param = "previous_response_id"
    return Problem(400, code, f"{param}: {message}", param=param)
