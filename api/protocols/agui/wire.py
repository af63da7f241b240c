"""Pure: an answer as AG-UI's events, version 1.0 of the protocol.

An entry may make several events, of which the last one carries the entry's id: TanStack AI ignores
an event whose id it has seen. A client that comes back after that id has all of them. Text,
reasoning and calls are blocks, and each block ends before one of another kind begins.

No event takes back a message. A snapshot of the messages of the call replaces all that a client
has, and the next attempt writes messages with other ids.
"""

from tickertape.api.fanout.wire import Dialect
from tickertape.api.protocols.agui import events as of
from tickertape.api.protocols.agui.events import Events, event
from tickertape.api.protocols.agui.usage import usage_of
from tickertape.api.protocols.error_replies import LOG_GONE, error_reply
from tickertape.api.protocols.provider_fields import NAME as FIELDS
from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.codec import Entry
from tickertape.broker.provider_fields import merge, without_logprobs
from tickertape.runtime.json_types import JsonObject

NAME = "agui"
STATE = "state"
"""The name under which data of a function is the state of a run."""

_MESSAGE, _REFUSAL, _REASONING, _RESULT = "msg", "refusal", "reasoning", "result"
# The prefix of a block's ids. The protocol has no refusals, so they are messages of text.
_BLOCKS = {"delta": _MESSAGE, "refusal": _REFUSAL, "reasoning": _REASONING}
_FOR_TOOLS = frozenset({"tool_calls", "function_call"})


def dialect(request_id: str) -> Dialect:
    """The wire for a request."""
    return Dialect(NAME, lambda: AguiWire(request_id))


def request_of_message(message_id: str) -> str | None:
    """The request that wrote a message; None for a message of somebody else."""
    prefix, _, rest = message_id.partition("_")
    request_id, _, number = rest.rpartition("_")
    is_known = prefix in {_MESSAGE, _REFUSAL} and request_id and number.isdecimal()
    return request_id if is_known else None


def message_of_request(request_id: str) -> str:
    """An id of a message that names its request."""
    return f"{_MESSAGE}_{request_id}_0"


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
        self._started_calls: set[int] = set()
        self._answered_calls: set[int] = set()
        # The open block: the prefix and the id of its message.
        self._open: tuple[str, str] | None = None
        # The message that calls belong to.
        self._caller: str | None = None
        self._thoughts: list[str] = []
        self._has_output = self._has_state = False
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
                return event(of.run_error(LOG_GONE.message, LOG_GONE.code))
            case "position" | "waiting":
                return event(of.custom(f"{FIELDS}.{kind}", data))
        return b""

    def _events(self, entry: Entry) -> Events:
        match entry.kind:
            case "queued":
                self._echo = entry.data.get("echo") or {}
                return [of.run_started(self._echo)]
            case "started" | "reset":
                self._model = entry.data.get("model") or self._model
                return self._take_back()
            case "completed":
                return [*self._end(), *self._finished(entry.data)]
            case "cancelled":
                outcome: JsonObject = {"type": "cancelled"}
                return [*self._close_all(), of.run_finished(self._echo, outcome)]
            case "failed":
                reply = error_reply(entry)
                return [*self._close_all(), of.run_error(reply.message, reply.code)]
        return self._output(entry)

    def _output(self, entry: Entry) -> Events:
        match entry.kind:
            case "delta" | "reasoning" | "refusal":
                return self._write(_BLOCKS[entry.kind], entry)
            case "tool_call":
                return self._take_call(entry.data)
            case "tool_result":
                return self._take_result(entry.data)
            case "data":
                return self._take_data(entry.data)
        return []

    def _write(self, block: str, entry: Entry) -> Events:
        """Text for a block. If a block of another kind is open, it ends first."""
        begin: Events = []
        if entry.text and (self._open is None or self._open[0] != block):
            begin = [*self._close_block(), *self._start_block(block)]
        merge(self._x, without_logprobs(entry.x))
        if not entry.text or self._open is None:
            return []
        kind = "REASONING_MESSAGE" if block == _REASONING else "TEXT_MESSAGE"
        return [*begin, of.message(f"{kind}_CONTENT", self._open[1], delta=entry.text)]

    def _start_block(self, block: str) -> Events:
        message_id = self._new_id(block)
        self._open = (block, message_id)
        self._has_output = True
        if block == _REASONING:
            self._thoughts.append(message_id)
            start = of.message("REASONING_MESSAGE_START", message_id, role="reasoning")
            return [of.message("REASONING_START", message_id), start]
        self._caller = message_id
        return [of.message("TEXT_MESSAGE_START", message_id, role="assistant")]

    def _new_id(self, block: str) -> str:
        self._written += 1
        return f"{block}_{self._request_id}_{self._written - 1}"

    def _close_block(self) -> Events:
        if self._open is None:
            return []
        (block, message_id), self._open = self._open, None
        x, self._x = self._x, {}
        metadata: JsonObject = {"metadata": {FIELDS: x}} if x else {}
        if block == _REASONING:
            ended = of.message("REASONING_MESSAGE_END", message_id, **metadata)
            return [ended, of.message("REASONING_END", message_id)]
        return [of.message("TEXT_MESSAGE_END", message_id, **metadata)]

    def _take_call(self, piece: JsonObject) -> Events:
        before = self._close_block()
        call, _ = self._calls.add(piece)
        if call.index in self._answered_calls:
            # Clients refuse a piece of a call that has ended.
            return before
        if call.index in self._started_calls:
            return [*before, *of.arguments(call, piece.get("arguments") or "")]
        # The call starts once its name is known, because clients require it at the start.
        return [*before, *(self._start_call(call) if call.name else [])]

    def _start_call(self, call: Call) -> Events:
        self._has_output = True
        self._open_calls[call.index] = call
        self._started_calls.add(call.index)
        if self._caller is None:
            self._caller = self._new_id(_MESSAGE)
        return [of.call_start(call, self._caller), *of.arguments(call, call.arguments)]

    def _take_result(self, result: JsonObject) -> Events:
        """A result of a tool that the function ran. What follows is another message."""
        call = self._calls.at(result.get("index"))
        if call is None or call.index in self._answered_calls:
            return []
        events = self._close_block()
        if call.index not in self._started_calls:
            events += self._start_call(call)
        if call.index in self._open_calls:
            events.append(of.call_end(self._open_calls.pop(call.index)))
        self._answered_calls.add(call.index)
        if len(self._answered_calls) == len(self._calls):
            self._caller = None
        return [*events, of.call_result(self._new_id(_RESULT), call, result)]

    def _take_data(self, data: JsonObject) -> Events:
        """Data of a function: the state of the run, or an event with the name of the data."""
        self._has_output = True
        name, value = str(data.get("name")), data.get("value")
        if name == STATE:
            self._has_state = True
            return [of.state(value)]
        return [of.custom(name, value, data.get("id"))]

    def _close_all(self) -> Events:
        """End the open block, and the calls: text may come between two pieces of a call."""
        ended = [*self._close_block(), *map(of.call_end, self._open_calls.values())]
        self._open_calls.clear()
        return ended

    def _take_back(self) -> Events:
        """End what is open, and replace all messages and the state by those of the call.

        Most clients keep reasoning that a snapshot does not have, so it is emptied.
        """
        events, has_output = self._close_all(), self._has_output
        if self._has_state:
            events.append(of.state(self._echo.get("state", {})))
        kept = [] if self._echo.get("drops_reasoning") else self._thoughts
        emptied = [{"id": each, "role": "reasoning", "content": ""} for each in kept]
        self._begin_attempt()
        if not has_output:
            return []
        return [*events, of.snapshot([*self._echo.get("messages", []), *emptied])]

    def _end(self) -> Events:
        events = self._close_block()
        for call in self._calls:
            if call.index not in self._started_calls:
                events += self._start_call(call)
        if self._x:
            # Provider fields that arrived without an open block are sent with an empty message.
            events += self._start_block(_MESSAGE)
        return [*events, *self._close_all()]

    def _finished(self, end: JsonObject) -> Events:
        """The end of a whole answer. Its calls without a result are for the client."""
        reason = end.get("finish_reason") or "stop"
        pending: list[Call] = []
        if reason in _FOR_TOOLS:
            pending = [call for call in self._calls if call.index not in self._answered_calls]
        outcome: JsonObject = {"type": "success"}
        if pending:
            outcome["pendingToolCallIds"] = [call.id for call in pending]
        finished = of.run_finished(self._echo, outcome, reason)
        if usage := usage_of(end.get("usage"), self._model):
            finished["usage"] = [usage]
        return [*map(of.call_for_client, pending), finished]
