"""OpenAI's Responses: one log as numbered events, and as the response object.

Pure. Numbers, ids and times come from the log only, so a client can resume by number at any
process. Events cannot be taken back. If the answer starts over after output, the stream ends with
an error, while the response object shows the new answer.
"""

import math

from tickertape.api.fanout.wire import Dialect, Frame, Last
from tickertape.api.protocols.error_replies import LOG_GONE, STARTED_OVER, ErrorReply, error_reply
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.openai_responses.output_items import Event, Output
from tickertape.broker.codec import Entry
from tickertape.broker.kinds import OUTPUT
from tickertape.broker.provider_fields import without_logprobs
from tickertape.runtime.json_types import JsonObject

NAME = "responses"
_ID_PREFIX = "resp_"
# The protocol has no items for results of tools that the server ran, nor for data of functions.
_SHOWN = OUTPUT - {"tool_result", "data"}
_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
# OpenAI has two reasons for an incomplete answer. Another reason is passed on in the upstream's
# words, because clients treat an answer without a reason as complete.
_INCOMPLETE = {"length": "max_output_tokens"}
# OpenAI enumerates these codes, and has none for most failures of this server.
_ERROR_CODES = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "upstream_rejected": "invalid_prompt",
}


def dialect(request_id: str) -> Dialect:
    """The wire for a request."""
    return Dialect(NAME, lambda: ResponsesWire(request_id))


def response_id(request_id: str) -> str:
    """The id that OpenAI's clients see."""
    return _ID_PREFIX + request_id


def request_id_of(response_id: str) -> str:
    """The request of a response; for text without the prefix, an id that no request has."""
    return response_id.removeprefix(_ID_PREFIX) if response_id.startswith(_ID_PREFIX) else ""


class ResponseFold:
    """The response after some entries of its log, in order."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self.echo: JsonObject = {}
        self.output = Output(request_id)
        self._created_at: int | None = None
        self._status = "in_progress"
        self._model = ""
        self._is_begun = False
        self._end: JsonObject = {}

    def feed(self, entry: Entry) -> list[Event]:
        """Add the next entry; returns its events."""
        if self._created_at is None:
            self._created_at = entry.cursor.attempt // 1000
        match entry.kind:
            case "queued":
                return self._queue(entry.data)
            case "started" | "reset" | "resumed":
                return self._open(entry)
            case "delta" | "reasoning" | "refusal":
                fields = without_logprobs(entry.x)
                return self.output.write(entry.kind, entry.text, _logprobs(entry), fields)
            case "tool_call":
                return self.output.add_call(entry.data)
            case "completed":
                return self._complete(entry.data)
            case "failed" | "cancelled":
                return self._break_off(entry)
        return []

    def object(self) -> JsonObject:
        """The response as it is now."""
        about = {
            "id": response_id(self._request_id),
            "object": "response",
            "created_at": self._created_at,
            "status": self._status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
        }
        echoed = self.echo.get("response", {})
        output = {"model": self._model, "output": self.output.objects(), "usage": None}
        return {**about, **echoed, **output, **self._end}

    def _queue(self, head: JsonObject) -> list[Event]:
        self.echo = head.get("echo") or {}
        self._model = head.get("model") or ""
        if not self.echo.get("response", {}).get("background"):
            return [self._response_event("response.created")]
        self._status = "queued"
        return [self._response_event("response.created"), self._response_event("response.queued")]

    def _open(self, entry: Entry) -> list[Event]:
        self._status = "in_progress"
        if entry.kind != "resumed":
            self.output = Output(self._request_id)
        if self._is_begun:
            return []
        self._is_begun = True
        self._model = self._model or entry.data.get("model") or ""
        return [self._response_event("response.in_progress")]

    def _complete(self, end: JsonObject) -> list[Event]:
        reason = end.get("finish_reason") or "stop"
        self._status = "completed" if reason in _WHOLE else "incomplete"
        events = self.output.close(self._status)
        self._end = {"usage": _usage(end.get("usage"))}
        if reason not in _WHOLE:
            self._end["incomplete_details"] = {"reason": _INCOMPLETE.get(reason, reason)}
        return [*events, self._response_event(f"response.{self._status}")]

    def _break_off(self, terminal: Entry) -> list[Event]:
        self._status = terminal.kind
        self.output.break_off()
        if terminal.kind == "failed":
            error = error_reply(terminal)
            code = _ERROR_CODES.get(error.code, "server_error")
            self._end = {"error": {"code": code, "message": error.message}}
        # For `cancelled`, OpenAI's API has no event; this one follows the pattern of the others.
        return [self._response_event(f"response.{self._status}")]

    def _response_event(self, kind: str) -> Event:
        return kind, {"response": self.object()}


class ResponsesWire:
    """The events of one log, numbered from 0."""

    def __init__(self, request_id: str) -> None:
        self._fold = ResponseFold(request_id)
        self._next_number = 0
        self._has_output = False

    def frame(self, entry: Entry) -> Frame:
        """The events for an entry."""
        if entry.kind in {"started", "reset"} and self._has_output:
            return Last(self._error(STARTED_OVER), whole=True)
        self._has_output = self._has_output or entry.kind in _SHOWN
        return b"".join(map(self._numbered, self._fold.feed(entry)))

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """An error for `gone`, empty for other notices."""
        del data
        return self._error(LOG_GONE) if kind == "gone" else b""

    def _error(self, error: ErrorReply) -> bytes:
        """An error event with both forms: clients parse the flat one, and raise the nested one."""
        flat = {"code": error.code, "message": error.message, "param": None}
        return _event("error", self._next_number, {**flat, **error.body()})

    def _numbered(self, event: Event) -> bytes:
        number, self._next_number = self._next_number, self._next_number + 1
        return _event(event[0], number, event[1])


def _event(kind: str, number: int, fields: JsonObject) -> bytes:
    data = encode_json({"type": kind, "sequence_number": number, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _logprobs(entry: Entry) -> list[JsonObject]:
    logprobs = _object((entry.x or {}).get("logprobs"))
    return [_token(token) for token in _objects(logprobs.get("content"))]


def _token(logprob: JsonObject) -> JsonObject:
    """A token's log probability with all fields, of which a chat completion may omit some."""
    others = [_alternative(other) for other in _objects(logprob.get("top_logprobs"))]
    return {**_alternative(logprob), "top_logprobs": others}


def _alternative(alternative: JsonObject) -> JsonObject:
    token, logprob = alternative.get("token"), alternative.get("logprob")
    token_bytes = alternative.get("bytes")
    token = token if isinstance(token, str) else ""
    return {
        "token": token,
        "logprob": logprob if isinstance(logprob, int | float) else 0.0,
        "bytes": token_bytes if _are_bytes(token_bytes) else list(token.encode()),
    }


# The upstream's data beside the text may have any form, so a wire checks it before use.


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _are_bytes(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def _usage(usage: JsonObject | None) -> JsonObject | None:
    """The usage with the names of the Responses API, in which the details are not optional."""
    if usage is None:
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    prompt_details = _object(usage.get("prompt_tokens_details"))
    completion_details = _object(usage.get("completion_tokens_details"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": _count(prompt_details, "cached_tokens"),
            "cache_write_tokens": _count(prompt_details, "cache_write_tokens"),
        },
        "output_tokens": completion,
        "output_tokens_details": {
            "reasoning_tokens": _count(completion_details, "reasoning_tokens")
        },
        "total_tokens": _count(usage, "total_tokens") or prompt + completion,
    }


def _count(counts: JsonObject, name: str) -> int:
    value = counts.get(name)
    # Logs of earlier versions hold floats where the upstream sent some.
    if isinstance(value, float) and math.isfinite(value):
        return round(value)
    return value if isinstance(value, int) else 0
