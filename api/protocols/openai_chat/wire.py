"""OpenAI's Chat Completions: one log as chunks, or a complete log as one object.

Pure. Ids and times come from the log, so all replays are equal. Chunks cannot be taken back, so an
answer that starts over after output ends with an error and without `[DONE]`.
"""

from tickertape.api.fanout.wire import Dialect, Frame, Last
from tickertape.api.protocols.error_replies import LOG_GONE, STARTED_OVER, ErrorReply, error_reply
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.codec import Entry
from tickertape.broker.fold import fold
from tickertape.broker.kinds import OUTPUT
from tickertape.broker.provider_fields import tool_of_call, without_logprobs
from tickertape.runtime.json_types import JsonObject

NAME = "chat_completions"
_DONE = b"data: [DONE]\n\n"


def dialect(request_id: str, *, include_usage: bool) -> Dialect:
    """The wire for a request; with `include_usage`, a last chunk has the usage, if known."""
    return Dialect(
        (NAME, include_usage), lambda: ChatCompletionsWire(request_id, include_usage=include_usage)
    )


def completion_id(request_id: str) -> str:
    """The id that OpenAI's clients see."""
    return f"chatcmpl-{request_id}"


class ChatCompletionsWire:
    """The chunks of one log."""

    def __init__(self, request_id: str, *, include_usage: bool) -> None:
        self._id = completion_id(request_id)
        self._include_usage = include_usage
        self._calls = Calls(request_id)
        self._named: set[int] = set()
        self._created_s: int | None = None
        self._model = ""
        self._has_begun = False
        self._head = self._tail = b""
        # The chunk of a delta, before and behind its text; empty until the first output.
        self._delta_head = self._delta_tail = b""

    def frame(self, entry: Entry) -> Frame:
        """The chunks for an entry. A chunk with the role precedes the first output."""
        if self._delta_head and entry.kind == "delta" and entry.x is None:
            # Nearly all entries are such deltas, which take a third of the time this way.
            return self._delta_head + encode_json(entry.text) + self._delta_tail
        if self._created_s is None:
            self._created_s = entry.cursor.attempt // 1000
        match entry.kind:
            case "started" | "reset" if self._has_begun:
                return Last(_error(STARTED_OVER), whole=True)
            case "queued" | "started" | "reset" | "resumed" if not self._has_begun:
                self._model = entry.data.get("model") or self._model
            case "delta" | "reasoning" | "refusal" | "tool_call":
                return self._begin() + self._chunk(self._delta(entry), x=entry.x)
            case "completed":
                return self._begin() + self._end(entry.data)
            case "failed" | "cancelled":
                return _error(error_reply(entry))
        return b""

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """An error for `gone`, empty for other notices."""
        del data
        return _error(LOG_GONE) if kind == "gone" else b""

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        shared = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created_s,
            "model": self._model,
        }
        self._head = b"data: " + encode_json(shared)[:-1]
        # If usage is requested, OpenAI sends a null in every chunk before the last.
        self._tail = b',"usage":null}\n\n' if self._include_usage else b"}\n\n"
        # The text is the last string of such a chunk.
        self._delta_head, _, self._delta_tail = self._chunk({"content": ""}).rpartition(b'""')
        return self._chunk({"role": "assistant", "content": ""})

    def _delta(self, entry: Entry) -> JsonObject:
        match entry.kind:
            case "delta":
                return {"content": entry.text}
            case "reasoning":
                # OpenAI has no such field. Most clients of other upstreams read this one.
                return {"reasoning_content": entry.text}
            case "refusal":
                return {"refusal": entry.text}
        call, is_new = self._calls.add(entry.data)
        is_named = call.index in self._named
        if call.name:
            self._named.add(call.index)
        name = "" if is_named else call.name
        return {"tool_calls": [_call_delta(call, entry.data, name, is_new=is_new)]}

    def _chunk(
        self, delta: JsonObject, *, x: JsonObject | None = None, finish: str | None = None
    ) -> bytes:
        choice = {
            "index": 0,
            "delta": {**without_logprobs(x), **delta} if x else delta,
            "logprobs": x.get("logprobs") if x else None,
            "finish_reason": finish,
        }
        return b'%b,"choices":[%b]%b' % (self._head, encode_json(choice), self._tail)

    def _end(self, end: JsonObject) -> bytes:
        last = self._chunk({}, finish=end.get("finish_reason") or "stop")
        usage = end.get("usage")
        if self._include_usage and usage is not None:
            last += b'%b,"choices":[],"usage":%b}\n\n' % (self._head, encode_json(usage))
        return last + _DONE


def completion(request_id: str, entries: list[Entry]) -> JsonObject:
    """The object for a completed log; `entries` are all of its entries."""
    answer = fold(entries)
    first = entries[0]
    return {
        "id": completion_id(request_id),
        "object": "chat.completion",
        "created": first.cursor.attempt // 1000,
        "model": answer.model or first.data.get("model") or "",
        "choices": [_choice(request_id, entries)],
        "usage": answer.end.get("usage"),
    }


def _choice(request_id: str, entries: list[Entry]) -> JsonObject:
    answer = fold(entries)
    calls = Calls(request_id)
    logprobs: dict[str, list[object]] = {}
    for entry in _valid_output(entries):
        if entry.kind == "tool_call":
            calls.add(entry.data)
        for name, tokens in ((entry.x or {}).get("logprobs") or {}).items():
            if isinstance(tokens, list):
                logprobs.setdefault(name, []).extend(tokens)
    text, refusal = "".join(answer.text), "".join(answer.refusal)
    message: JsonObject = {
        **answer.x,
        "role": "assistant",
        "content": text if text or not (refusal or calls) else None,
        "refusal": refusal or None,
    }
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if calls:
        message["tool_calls"] = [_whole_call(call) for call in calls]
    return {
        "index": 0,
        "message": message,
        "logprobs": {"content": None, "refusal": None, **logprobs} if logprobs else None,
        "finish_reason": answer.end.get("finish_reason") or "stop",
    }


def _valid_output(entries: list[Entry]) -> list[Entry]:
    """The valid output: the entries after the last `started` or `reset`."""
    kept: list[Entry] = []
    for entry in entries:
        if entry.kind in {"started", "reset"}:
            kept.clear()
        elif entry.kind in OUTPUT:
            kept.append(entry)
    return kept


def _call_delta(call: Call, piece: JsonObject, name: str, *, is_new: bool) -> JsonObject:
    delta: JsonObject = {"index": call.index}
    if is_new:
        delta |= {"id": call.id, "type": call.kind}
    return delta | tool_of_call(call.kind, piece.get("x") or {}, name, piece.get("arguments") or "")


def _whole_call(call: Call) -> JsonObject:
    shared = {"id": call.id, "type": call.kind}
    return shared | tool_of_call(call.kind, call.x, call.name, call.arguments)


def _error(error: ErrorReply) -> bytes:
    return b"data: %b\n\n" % encode_json(error.body())
