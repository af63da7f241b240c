"""Pure: an answer as AG-UI's events, version 1.0 of the protocol.

An entry may make several events, of which the last one carries the entry's id: TanStack AI ignores
an event whose id it has seen. A client that comes back after that id has all of them. Text,
reasoning and calls are blocks, and each block ends before one of another kind begins.

No event takes back a message. A snapshot of the messages of the call replaces all that a client
has, and the next attempt writes messages with other ids.
"""

from tickertape.api.fanout.wire import Dialect
from tickertape.api.protocols.agui.usage import usage_of
from tickertape.api.protocols.error_replies import LOG_GONE, error_reply
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.provider_fields import NAME as FIELDS
from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.codec import Entry
from tickertape.broker.provider_fields import merge, without_logprobs
from tickertape.runtime.json_types import JsonObject

NAME = "agui"
PROTOCOL_VERSION = "1.0"
Events = list[JsonObject]

_MESSAGE, _REFUSAL, _REASONING = "msg", "refusal", "reasoning"
# The prefix of a block's ids. The protocol has no refusals, so they are messages of text.
_BLOCKS = {"delta": _MESSAGE, "refusal": _REFUSAL, "reasoning": _REASONING}


def dialect(request_id: str) -> Dialect:
    """The wire for a request."""
    return Dialect(NAME, lambda: AguiWire(request_id))


def request_of_message(message_id: str) -> str | None:
    """The request that wrote a message; None for a message of somebody else."""
    prefix, _, rest = message_id.partition("_")
    request_id, _, number = rest.rpartition("_")
    is_known = prefix in {_MESSAGE, _REFUSAL} and request_id and number.isdecimal()
    return request_id if is_known else None


def opening(echo: JsonObject) -> JsonObject:
    """The event that begins a run."""
    named = ("threadId", "runId", "parentRunId")
    ids: JsonObject = {name: echo[name] for name in named if name in echo}
    return {"type": "RUN_STARTED", **ids, "protocolVersion": PROTOCOL_VERSION}


def snapshot(messages: Events) -> JsonObject:
    """The event that replaces all messages of a client."""
    return {"type": "MESSAGES_SNAPSHOT", "messages": messages}


def event(fields: JsonObject, cursor: object = None) -> bytes:
    """One event of the stream, with an id to resume after unless `cursor` is None."""
    if cursor is None:
        return b"data: %b\n\n" % encode_json(fields)
    return b"id: %b\ndata: %b\n\n" % (str(cursor).encode(), encode_json(fields))


class AguiWire:
    """The events of one log."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._echo: JsonObject = {}
        self._model: str | None = None
        self._written = 0
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._calls = Calls(self._request_id)
        self._open_calls: dict[int, Call] = {}
        # The open block: the prefix and the id of its message.
        self._open: tuple[str, str] | None = None
        # The message that calls belong to.
        self._caller: str | None = None
        self._thoughts: list[str] = []
        self._has_output = False
        self._x: JsonObject = {}

    def frame(self, entry: Entry) -> bytes:
        """The events of an entry."""
        events = self._events(entry)
        if not events:
            return b""
        *before, last = events
        return b"".join([*map(event, before), event(last, entry.cursor)])

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """An error for `gone`. A stream breaks off at `rewind`, and clients come back."""
        match kind:
            case "gone":
                return event(_error(LOG_GONE.message, LOG_GONE.code))
            case "position" | "waiting":
                return event({"type": "CUSTOM", "name": f"{FIELDS}.{kind}", "value": data})
        return b""

    def _events(self, entry: Entry) -> Events:
        match entry.kind:
            case "queued":
                self._echo = entry.data.get("echo") or {}
                return [opening(self._echo)]
            case "started" | "reset":
                self._model = entry.data.get("model") or self._model
                return self._take_back()
            case "delta" | "reasoning" | "refusal":
                return self._write(_BLOCKS[entry.kind], entry)
            case "tool_call":
                return self._take_call(entry.data)
            case "completed":
                return [*self._end(), self._finished(entry.data)]
            case "cancelled":
                return [*self._close_all(), self._finish({"type": "cancelled"})]
            case "failed":
                reply = error_reply(entry)
                return [*self._close_all(), _error(reply.message, reply.code)]
        return []

    def _write(self, block: str, entry: Entry) -> Events:
        """Text for a block. If a block of another kind is open, it ends first."""
        begin: Events = []
        if entry.text and (self._open is None or self._open[0] != block):
            begin = [*self._close_block(), *self._start_block(block)]
        merge(self._x, without_logprobs(entry.x))
        if not entry.text:
            return []
        kind = "REASONING_MESSAGE" if block == _REASONING else "TEXT_MESSAGE"
        return [*begin, _of(f"{kind}_CONTENT", self._open_id, delta=entry.text)]

    @property
    def _open_id(self) -> str:
        return self._open[1] if self._open else ""

    def _start_block(self, block: str) -> Events:
        message_id = self._new_id(block)
        self._open = (block, message_id)
        self._has_output = True
        if block == _REASONING:
            self._thoughts.append(message_id)
            start = _of("REASONING_MESSAGE_START", message_id, role="reasoning")
            return [_of("REASONING_START", message_id), start]
        self._caller = message_id
        return [_of("TEXT_MESSAGE_START", message_id, role="assistant")]

    def _new_id(self, block: str) -> str:
        self._written += 1
        return f"{block}_{self._request_id}_{self._written - 1}"

    def _close_block(self) -> Events:
        if self._open is None:
            return []
        (block, message_id), self._open = self._open, None
        metadata = self._take_fields()
        if block == _REASONING:
            ended = _of("REASONING_MESSAGE_END", message_id, **metadata)
            return [ended, _of("REASONING_END", message_id)]
        return [_of("TEXT_MESSAGE_END", message_id, **metadata)]

    def _take_fields(self) -> JsonObject:
        x, self._x = self._x, {}
        return {"metadata": {FIELDS: x}} if x else {}

    def _take_call(self, piece: JsonObject) -> Events:
        before = self._close_block()
        call, _ = self._calls.add(piece)
        if call.index in self._open_calls:
            arguments = piece.get("arguments") or ""
            return [*before, *_arguments(call, arguments)]
        # The call starts once its name is known, because clients require it at the start.
        return [*before, *(self._start_call(call) if call.name else [])]

    def _start_call(self, call: Call) -> Events:
        self._has_output = True
        self._open_calls[call.index] = call
        if self._caller is None:
            self._caller = self._new_id(_MESSAGE)
        start: JsonObject = {
            "type": "TOOL_CALL_START",
            "toolCallId": call.id,
            "toolCallName": call.name,
            "parentMessageId": self._caller,
        }
        if fields := _fields_of(call):
            start["metadata"] = {FIELDS: fields}
        return [start, *_arguments(call, call.arguments)]

    def _close_all(self) -> Events:
        """End the open block, and the calls: text may come between two pieces of a call."""
        ended = self._close_block()
        for call in self._open_calls.values():
            fields = _fields_of(call)
            metadata: JsonObject = {"metadata": {FIELDS: fields}} if fields else {}
            ended.append({"type": "TOOL_CALL_END", "toolCallId": call.id, **metadata})
        self._open_calls.clear()
        return ended

    def _take_back(self) -> Events:
        """End what is open, and replace all messages by those of the call.

        A client keeps reasoning that a snapshot does not have, so it is emptied.
        """
        ended, has_output = self._close_all(), self._has_output
        emptied = [{"id": each, "role": "reasoning", "content": ""} for each in self._thoughts]
        self._begin_attempt()
        if not has_output:
            return []
        return [*ended, snapshot([*self._echo.get("messages", []), *emptied])]

    def _end(self) -> Events:
        late = [call for call in self._calls if call.index not in self._open_calls]
        events = [*self._close_block(), *(e for call in late for e in self._start_call(call))]
        if self._x:
            # Provider fields that arrived without an open block are sent with an empty message.
            events += self._start_block(_MESSAGE)
        return [*events, *self._close_all()]

    def _finished(self, end: JsonObject) -> JsonObject:
        reason = end.get("finish_reason") or "stop"
        outcome: JsonObject = {"type": "success"}
        if reason in {"tool_calls", "function_call"} and self._calls:
            outcome["pendingToolCallIds"] = [call.id for call in self._calls]
        usage = usage_of(end.get("usage"), self._model)
        return self._finish(outcome, reason) | ({"usage": [usage]} if usage else {})

    def _finish(self, outcome: JsonObject, reason: str | None = None) -> JsonObject:
        ids = {name: self._echo.get(name, "") for name in ("threadId", "runId")}
        # TanStack AI reads the reason from its own key.
        metadata = {FIELDS: {"finish_reason": reason}, "tanstack": {"finishReason": reason}}
        finished: JsonObject = {"type": "RUN_FINISHED", **ids, "outcome": outcome}
        return finished | ({"metadata": metadata} if reason else {})


def _of(kind: str, message_id: str, **fields: object) -> JsonObject:
    return {"type": kind, "messageId": message_id, **fields}


def _arguments(call: Call, text: str) -> Events:
    if not text:
        return []
    return [{"type": "TOOL_CALL_ARGS", "toolCallId": call.id, "delta": text}]


def _fields_of(call: Call) -> JsonObject:
    """The provider fields of a call, and its type unless it is a function."""
    return {**call.x, "type": call.kind} if call.kind == "custom" else call.x


def _error(message: str, code: str) -> JsonObject:
    return {"type": "RUN_ERROR", "message": message, "code": code}
