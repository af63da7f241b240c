"""The AI SDK's UI message stream: one log as chunks of one assistant message.

Pure. It uses only chunks and fields that versions 5, 6 and 7 share, because clients end a stream at
an unknown one. The message's id comes from the log, so that a replay replaces the client's message
and does not add a second one. An answer that starts over after output ends with an error, unless
the client asked for `reset-step`, which only version 7 knows.
"""

import msgspec

from tickertape.api.fanout.wire import Dialect, Frame, Last
from tickertape.api.protocols.error_replies import LOG_GONE, STARTED_OVER, error_reply
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.provider_fields import metadata
from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.codec import Entry
from tickertape.broker.provider_fields import merge, without_logprobs
from tickertape.runtime.json_types import JsonObject

NAME = "ui_message"
RUN_ID = "x-workflow-run-id"
DONE = b"data: [DONE]\n\n"
_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}
# The prefix of a block's ids, and the block's kind. The protocol has no refusals, so they are text.
_BLOCKS = {
    "delta": ("text", "text"),
    "reasoning": ("reasoning", "reasoning"),
    "refusal": ("refusal", "text"),
}
# Clients refuse a chunk with these keys, which could change the prototypes of their objects.
# https://github.com/vercel/ai/blob/main/packages/provider-utils/src/secure-json-parse.ts
_REFUSED_KEYS = (b'"__proto__":', b'"constructor":{"prototype"')


HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}


def dialect(request_id: str, *, resets: bool = False) -> Dialect:
    """The wire for a request; with `resets`, for clients that know `reset-step`."""
    headers = {**HEADERS, RUN_ID: request_id}
    name = (NAME, "resets") if resets else NAME
    return Dialect(name, lambda: UiMessageWire(request_id, resets=resets), headers=headers)


def message_id(request_id: str) -> str:
    """The id of the message, unless the request continues a message of the client."""
    return f"msg_{request_id}"


class UiMessageWire:
    """The chunks of one log."""

    def __init__(self, request_id: str, *, resets: bool = False) -> None:
        self._request_id = request_id
        self._resets = resets
        self._calls = Calls(request_id)
        self._started_calls: set[int] = set()
        self._whole_calls: set[int] = set()
        self._has_begun = False
        self._has_step = self._has_results = False
        self._answered_calls: set[int] = set()
        self._open: tuple[str, str] | None = None
        self._blocks = 0
        self._x: JsonObject = {}
        self._sources = 0

    def frame(self, entry: Entry) -> Frame:
        """The chunks for an entry. The start of the message precedes those of the first entry."""
        start = b"" if self._has_begun else self._start(entry)
        if entry.kind in {"started", "reset"} and self._has_step:
            return self._reset()
        return start + self._chunks(entry)

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """An error for `gone`, empty for other notices."""
        del data
        return _error(LOG_GONE.message) if kind == "gone" else b""

    def _chunks(self, entry: Entry) -> bytes:
        match entry.kind:
            case "delta" | "reasoning" | "refusal":
                step = self._step()
                text = self._write(*_BLOCKS[entry.kind], entry.text) if entry.text else b""
                return step + text + (self._take_fields(entry.x) if entry.x else b"")
            case "tool_call":
                return self._take_call(entry.data)
            case "tool_result":
                return self._take_result(entry.data)
            case "data":
                return (b"" if self._has_step else self._step()) + _data(entry.data)
            case "completed":
                return self._end(entry.data)
            case "cancelled":
                # A transport that resumes by itself asks for more until it gets a `finish`.
                return self._close() + ABORT + (FINISH if self._resets else b"") + DONE
            case "failed":
                return _error(error_reply(entry).message)
        return b""

    def _start(self, entry: Entry) -> bytes:
        self._has_begun = True
        echo = entry.data.get("echo") or {}
        return _chunk("start", messageId=echo.get("message_id") or message_id(self._request_id))

    def _reset(self) -> Frame:
        """Take back what the step has shown; the end of the stream where clients cannot."""
        if not self._resets:
            return Last(_error(STARTED_OVER.message), whole=True)
        self._calls = Calls(self._request_id)
        for calls in (self._started_calls, self._whole_calls, self._answered_calls):
            calls.clear()
        self._has_results = False
        self._open, self._x = None, {}
        return RESET_STEP

    def _step(self) -> bytes:
        # Behind the results of all calls, the function's model goes on with another step. A client
        # that takes text back knows one step only.
        is_done = self._has_results and len(self._answered_calls) == len(self._calls)
        is_done = is_done and not self._resets
        if self._has_step and not is_done:
            return b""
        before = self._end_step() if self._has_step else b""
        self._has_step, self._has_results = True, False
        return before + START_STEP

    def _end_step(self) -> bytes:
        return self._close() + b"".join(map(self._whole, self._calls)) + _chunk("finish-step")

    def _write(self, block: str, kind: str, text: str) -> bytes:
        """Text for a block. If a block of another kind is open, it ends first."""
        before = self._step()
        if self._open is None or not self._open[1].startswith(f"{block}-"):
            before += self._close()
            self._open = (kind, f"{block}-{self._blocks}")
            self._blocks += 1
            before += _chunk(f"{kind}-start", id=self._open[1])
        return before + _chunk(f"{kind}-delta", id=self._open[1], delta=text)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        (kind, block_id), self._open = self._open, None
        x, self._x = self._x, {}
        return _chunk_with_fields(x, f"{kind}-end", id=block_id)

    def _take_fields(self, fields: JsonObject) -> bytes:
        """The chunks of images and citations. Other fields are kept for the end of the block."""
        x = without_logprobs(fields)
        chunks = b"".join(map(_image, _list(x.pop("images", None))))
        for annotation in _list(x.pop("annotations", None)):
            self._sources += 1
            chunks += _source(annotation, f"source-{self._sources}")
        merge(self._x, x)
        return chunks

    def _take_call(self, piece: JsonObject) -> bytes:
        before = self._step() + self._close()
        call, _ = self._calls.add(piece)
        if call.index not in self._started_calls:
            # The call starts once its name is known, because clients require it at the start.
            return before + (self._start_call(call) if call.name else b"")
        return before + _input_delta(call, piece.get("arguments") or "")

    def _start_call(self, call: Call) -> bytes:
        self._started_calls.add(call.index)
        start = _chunk("tool-input-start", toolCallId=call.id, toolName=call.name)
        return start + _input_delta(call, call.arguments)

    def _take_result(self, result: JsonObject) -> bytes:
        """A result of a tool that the function ran.

        The page must not run the tool, nor send the result back as if the page had run it.
        """
        call = self._calls.at(result.get("index"))
        if call is None or not self._has_step:
            return b""
        self._has_results = True
        self._answered_calls.add(call.index)
        return self._close() + self._whole(call, providerExecuted=True) + _output(call, result)

    def _whole(self, call: Call, **fields: object) -> bytes:
        """The rest of a call up to its input, unless the client has it."""
        if call.index in self._whole_calls:
            return b""
        self._whole_calls.add(call.index)
        start = b"" if call.index in self._started_calls else self._start_call(call)
        return start + _input(call, **fields)

    def _end(self, end: JsonObject) -> bytes:
        frames = [b"" if self._has_step else self._step(), self._close()]
        if self._x:
            # Provider fields that arrived without an open block are sent with an empty block.
            frames.append(self._write(*_BLOCKS["delta"], ""))
        frames.append(self._end_step())
        reason = _FINISH_REASONS.get(end.get("finish_reason") or "stop", "other")
        frames += [_chunk("finish", finishReason=reason), DONE]
        return b"".join(frames)


def _input_delta(call: Call, text: str) -> bytes:
    return _chunk("tool-input-delta", toolCallId=call.id, inputTextDelta=text) if text else b""


def _input(call: Call, **fields: object) -> bytes:
    """The complete input of a call, parsed; an error chunk if it is not JSON or is refused."""
    ids = {"toolCallId": call.id, "toolName": call.name}
    if call.kind == "custom":
        # The page sends the type back. Nothing else would distinguish the call from a function's.
        x = {**call.x, "type": call.kind}
        return _chunk_with_fields(x, "tool-input-available", **ids, input=call.arguments, **fields)
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (ValueError, RecursionError):
        return _input_error(call, "The model gave arguments that are not JSON.", **fields)
    if _is_refused(_chunk("tool-input-available", **ids, input=value)):
        return _input_error(call, "The model gave arguments that are not accepted.", **fields)
    return _chunk_with_fields(call.x, "tool-input-available", **ids, input=value, **fields)


def _input_error(call: Call, message: str, **fields: object) -> bytes:
    return _chunk_with_fields(
        call.x,
        "tool-input-error",
        toolCallId=call.id,
        toolName=call.name,
        input=call.arguments,
        errorText=message,
        **fields,
    )


def _output(call: Call, result: JsonObject) -> bytes:
    """What the tool of a call gave, or how it failed."""
    ids = {"toolCallId": call.id, "providerExecuted": True}
    value = result.get("result")
    if result.get("is_error"):
        text = value if isinstance(value, str) else encode_json(value).decode()
        return _chunk("tool-output-error", **ids, errorText=text)
    chunk = _chunk("tool-output-available", **ids, output=value)
    if _is_refused(chunk):
        return _chunk("tool-output-error", **ids, errorText="The tool gave what is not accepted.")
    return chunk


def _data(data: JsonObject) -> bytes:
    """A part of the page's own; none if a client would refuse the part."""
    part_id = {"id": data["id"]} if data.get("id") else {}
    chunk = _chunk(f"data-{data.get('name')}", **part_id, data=data.get("value"))
    return b"" if _is_refused(chunk) else chunk


def _image(image: object) -> bytes:
    """The chunk of an image in the form of OpenRouter and LiteLLM."""
    match image:
        case {"image_url": {"url": str(url)}}:
            media_type = url[5:].partition(";")[0] if url.startswith("data:image/") else "image/png"
            return _chunk("file", url=url, mediaType=media_type)
    return b""


def _source(annotation: object, source_id: str) -> bytes:
    """The chunk of a citation in the form of OpenAI's search models."""
    match annotation:
        case {"url_citation": {"url": str(url), **cited}}:
            title = {"title": cited["title"]} if isinstance(cited.get("title"), str) else {}
            return _chunk("source-url", sourceId=source_id, url=url, **title)
    return b""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _chunk_with_fields(x: JsonObject, kind: str, **fields: object) -> bytes:
    """A chunk with provider fields, or without them if a client would refuse the chunk."""
    chunk = _chunk(kind, **fields, **metadata(x))
    return _chunk(kind, **fields) if x and _is_refused(chunk) else chunk


def _is_refused(chunk: bytes) -> bool:
    return any(key in chunk for key in _REFUSED_KEYS)


def _error(message: str) -> bytes:
    return _chunk("error", errorText=message) + DONE


def _chunk(kind: str, **fields: object) -> bytes:
    return b"data: %b\n\n" % encode_json({"type": kind, **fields})


START_STEP, RESET_STEP = _chunk("start-step"), _chunk("reset-step")
ABORT, FINISH = _chunk("abort"), _chunk("finish")
