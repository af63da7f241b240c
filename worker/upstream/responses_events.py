"""Pure: turns the events of OpenAI's Responses into the pieces of a chat completion.

https://developers.openai.com/api/reference/resources/responses/streaming-events
"""

import re
from collections.abc import Callable
from typing import Any

from tickertape.worker.upstream.chunk_json import Choice, Chunk, Delta, Function, ToolCall
from tickertape.worker.upstream.chunk_json import decode_error as decode_value
from tickertape.worker.upstream.chunks import ChunkReader, error_without_text
from tickertape.worker.upstream.errors import Truncated, UpstreamError, UpstreamGarbage
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.sse import ErrorData
from tickertape.worker.upstream.tally import Tally

# An id becomes a part of an address. Without one of this form, the answer is not read again.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")
_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def _ignore(response_id: str) -> None:
    del response_id


class ResponsesReader(ChunkReader):
    """As ChunkReader, for events of Responses. `on_id` gets the id of the response."""

    def __init__(
        self,
        tally: Tally,
        echo: str = "",
        refuse: Callable[[object], UpstreamError] = error_without_text,
        *,
        request_id: str = "",
        on_id: Callable[[str], None] = _ignore,
    ) -> None:
        super().__init__(tally, echo, refuse, request_id=request_id)
        self._on_id = on_id
        self._refuse_report = refuse
        self._calls_at: dict[int, int] = {}

    def read(self, data: bytes) -> list[Piece]:
        """The pieces of one event. Raises as ChunkReader.read."""
        if self.is_done or not data:
            return []
        event = decode_value(data)
        if type(data) is ErrorData:
            raise self._refuse_report(event)
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise UpstreamGarbage("The upstream sent an event that is not one of a response.")
        delta = self._delta_of(event)
        if delta is not None:
            return self._read_choice(Choice(delta=delta))
        response = event.get("response")
        return self._follow(event, response if isinstance(response, dict) else {})

    def _delta_of(self, event: dict[str, Any]) -> Delta | None:
        """What an event adds to the message; None if it adds nothing."""
        match event:
            case {"type": "response.output_text.delta", "delta": str(text)}:
                return Delta(content=text)
            case {"type": "response.refusal.delta", "delta": str(text)}:
                return Delta(refusal=text)
            case {
                "type": "response.reasoning_text.delta" | "response.reasoning_summary_text.delta",
                "delta": str(text),
            }:
                return Delta(reasoning_content=text)
            case {
                "type": "response.output_item.added",
                "output_index": int(at),
                "item": {"type": "function_call", "call_id": str(call_id), "name": str(name)},
            }:
                index = self._calls_at.setdefault(at, len(self._calls_at))
                return _call(index, id=call_id, type="function", function=Function(name, ""))
            case {
                "type": "response.function_call_arguments.delta",
                "output_index": int(at),
                "delta": str(text),
            } if at in self._calls_at:
                return _call(self._calls_at[at], function=Function(arguments=text))
        return None

    def _follow(self, event: dict[str, Any], response: dict[str, Any]) -> list[Piece]:
        """Take note of where the response stands. Raises UpstreamError for its failure."""
        match event["type"]:
            case "response.created":
                response_id = response.get("id")
                if isinstance(response_id, str) and _ID.fullmatch(response_id):
                    self._on_id(response_id)
            case "response.completed":
                return self._end("tool_calls" if self._calls_at else "stop", response)
            case "response.incomplete":
                details = response.get("incomplete_details") or {}
                return self._end(_REASONS.get(str(details.get("reason")), "length"), response)
            case "response.cancelled":
                raise Truncated("The upstream's answer was cancelled there.")
            case "response.failed":
                raise self._refuse_report({"error": response.get("error") or "server_error"})
            case "error":
                raise self._refuse_report({"error": event})
        return []

    def _end(self, reason: str, response: dict[str, Any]) -> list[Piece]:
        if isinstance(usage := response.get("usage"), dict):
            self.tally.record_usage(Chunk(usage=_usage_of(usage)))
        pieces = self._read_choice(Choice(delta=Delta(), finish_reason=reason))
        self.is_done = True
        return pieces


def _call(index: int, **fields: Any) -> Delta:
    return Delta(tool_calls=[ToolCall(index=index, **fields)])


def _usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """The usage under the names of chat completions."""
    names = {
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "total_tokens": "total_tokens",
        "prompt_tokens_details": "input_tokens_details",
        "completion_tokens_details": "output_tokens_details",
    }
    return {name: usage[own] for name, own in names.items() if usage.get(own) is not None}
