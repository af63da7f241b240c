"""Pure: AG-UI's events, and their bytes in a stream.

https://docs.ag-ui.com/concepts/events
"""

import msgspec

from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.provider_fields import NAME as FIELDS
from tickertape.api.protocols.tool_calls import Call
from tickertape.runtime.json_types import JsonObject

PROTOCOL_VERSION = "1.0"
Events = list[JsonObject]


def event(fields: JsonObject, cursor: object = None) -> bytes:
    """One event of the stream, with an id to resume after unless `cursor` is None."""
    if cursor is None:
        return b"data: %b\n\n" % encode_json(fields)
    return b"id: %b\ndata: %b\n\n" % (str(cursor).encode(), encode_json(fields))


def run_started(echo: JsonObject) -> JsonObject:
    """The begin of a run."""
    named = ("threadId", "runId", "parentRunId")
    ids: JsonObject = {name: echo[name] for name in named if name in echo}
    return {"type": "RUN_STARTED", **ids, "protocolVersion": PROTOCOL_VERSION}


def run_finished(echo: JsonObject, outcome: JsonObject, reason: str | None = None) -> JsonObject:
    """The end of a run, with the reason for the end of its answer."""
    ids = {name: echo.get(name, "") for name in ("threadId", "runId")}
    finished: JsonObject = {"type": "RUN_FINISHED", **ids, "outcome": outcome}
    if reason is not None:
        # TanStack AI reads the reason from its own key.
        metadata = {FIELDS: {"finish_reason": reason}, "tanstack": {"finishReason": reason}}
        finished["metadata"] = metadata
    return finished


def run_error(text: str, code: str) -> JsonObject:
    """The failure of a run."""
    return {"type": "RUN_ERROR", "message": text, "code": code}


def snapshot(messages: Events) -> JsonObject:
    """The event that replaces all messages of a client."""
    return {"type": "MESSAGES_SNAPSHOT", "messages": messages}


def state(value: object) -> JsonObject:
    """The event that replaces the state of a client."""
    return {"type": "STATE_SNAPSHOT", "snapshot": value}


def custom(name: str, value: object, data_id: object = None) -> JsonObject:
    """An event of a name that the protocol does not know."""
    metadata: JsonObject = {"metadata": {FIELDS: {"id": data_id}}} if data_id is not None else {}
    return {"type": "CUSTOM", "name": name, "value": value, **metadata}


def message(kind: str, message_id: str, **fields: object) -> JsonObject:
    """An event about a message."""
    return {"type": kind, "messageId": message_id, **fields}


def call_start(call: Call, parent_id: str) -> JsonObject:
    """The begin of a call, which belongs to a message."""
    ids = {"toolCallId": call.id, "toolCallName": call.name, "parentMessageId": parent_id}
    return {"type": "TOOL_CALL_START", **ids, **_fields_of(call)}


def arguments(call: Call, text: str) -> Events:
    """A piece of the arguments of a call, unless the piece is empty."""
    return [{"type": "TOOL_CALL_ARGS", "toolCallId": call.id, "delta": text}] if text else []


def call_end(call: Call) -> JsonObject:
    """The end of a call."""
    return {"type": "TOOL_CALL_END", "toolCallId": call.id, **_fields_of(call)}


def call_result(message_id: str, call: Call, result: JsonObject) -> JsonObject:
    """What the tool of a call gave, as text."""
    value = result.get("result")
    content = value if isinstance(value, str) else encode_json(value).decode()
    fields: JsonObject = {"toolCallId": call.id, "content": content, "role": "tool"}
    if result.get("is_error"):
        # The protocol has no failed results, and TanStack AI reads its own key.
        fields["metadata"] = {FIELDS: {"is_error": True}, "tanstack": {"state": "output-error"}}
    return message("TOOL_CALL_RESULT", message_id, **fields)


def call_for_client(call: Call) -> JsonObject:
    """The event that lets TanStack AI run one of its tools; other clients read the outcome."""
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (ValueError, RecursionError):
        value = call.arguments
    fields = {"toolCallId": call.id, "toolName": call.name, "input": value}
    return custom("tool-input-available", fields)


def _fields_of(call: Call) -> JsonObject:
    """The provider fields of a call, and its type unless it is a function."""
    fields = {**call.x, "type": call.kind} if call.kind == "custom" else call.x
    return {"metadata": {FIELDS: fields}} if fields else {}
