"""Pure: turns the values that a function yields into pieces, and counts these in the tally."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from tickertape.broker.codec import made_call_id
from tickertape.broker.errors import TooLong
from tickertape.broker.kinds import TextOutput
from tickertape.worker.functions import values
from tickertape.worker.functions.errors import WrongValue
from tickertape.worker.functions.json_values import json_text
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.surrogates import SurrogateMender, without_orphans
from tickertape.worker.upstream.tally import Tally

_YIELD = (
    "yield text (str), or a value of tickertape: Text, Reasoning, Refusal, ToolCall, ToolResult,"
    " Data, Usage, Finish"
)
_MOST_NAME_CHARS = 256
# The AI SDK and AG-UI put the name into the name of a part or an event.
_DATA_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class PieceMaker:
    """Makes the pieces of one answer, in order, and adds these to `tally`.

    A value of more than `most_bytes` is refused. Missing ids of calls are made from `request_id`.
    """

    def __init__(self, tally: Tally, request_id: str, most_bytes: int) -> None:
        self._tally = tally
        self._request_id = request_id
        self._most_bytes = most_bytes
        self._mender = SurrogateMender()
        self._call_ids: set[str] = set()
        # The indices of the calls without a result, by their ids, in their order.
        self._open_calls: dict[str, int] = {}
        # The id of the last call that has the same id for the function.
        self._made_ids: dict[str, str] = {}
        self._tokens: Counter[str] = Counter()
        self._finish_reason: str | None = None

    def read(self, value: object) -> list[Piece]:
        """The pieces of a value: mostly one, or none. Raises WrongValue and TooLong."""
        match value:
            case str():
                pieces = self._text("delta", value)
            case values.Text(text):
                pieces = self._text("delta", text)
            case values.Reasoning(text):
                pieces = self._text("reasoning", text)
            case values.Refusal(text):
                pieces = self._text("refusal", text)
            case values.ToolCall():
                pieces = [self._call(value)]
            case values.ToolResult():
                pieces = [self._result(value)]
            case values.Data():
                pieces = [self._data(value)]
            case values.Usage():
                self._count(value)
                return []
            case values.Finish(reason):
                self._finish_reason = _checked_name(reason, "the reason of Finish")
                return []
            case _:
                raise WrongValue(f"it yielded a value of type {type(value).__name__}: {_YIELD}")
        return self._counted(pieces)

    def keep(self, pieces: list[Piece]) -> None:
        """Go on from pieces of an earlier attempt, which readers have and the tally counts."""
        for piece in pieces:
            if piece.kind == "tool_call" and piece.data:
                call_id = str(piece.data["id"])
                self._call_ids.add(call_id)
                self._open_calls[call_id] = piece.data["index"]
            elif piece.kind == "tool_result" and piece.data:
                self._open_calls.pop(piece.data["id"], None)

    def repeat(self, pieces: list[Piece]) -> list[Piece]:
        """Go on from pieces of an earlier attempt that readers get again."""
        self.keep(pieces)
        return self._counted(pieces)

    def close(self) -> list[Piece]:
        """The pieces that were kept back until the end, and the end itself in the tally."""
        pieces = [
            Piece(kind, text)
            for channel, text in self._mender.close()
            for kind in _TEXT_KINDS
            if kind == channel
        ]
        has_results = not self._open_calls and self._finish_reason is None
        self._tally.runs_tools = self._finish_reason == "stop" or has_results
        self._tally.ending.record(self._finish_reason or "stop", has_output=False)
        return self._counted(pieces)

    def _text(self, kind: TextOutput, text: object) -> list[Piece]:
        if not isinstance(text, str):
            raise WrongValue(f"its {kind} has a text of type {type(text).__name__}, and not str")
        # A character has at least one byte.
        if len(text) > self._most_bytes:
            raise TooLong
        mended = self._mender.mend(kind, text) if text else ""
        return [Piece(kind, mended)] if mended else []

    def _call(self, call: values.ToolCall) -> Piece:
        index = len(self._call_ids)
        call_id = call.id if call.id is None else _checked_name(call.id, "the id of ToolCall")
        if not call_id or call_id in self._call_ids:
            call_id = made_call_id(self._request_id, index)
        self._call_ids.add(call_id)
        self._open_calls[call_id] = index
        self._made_ids[call.id or call_id] = call_id
        arguments = _json_text(call.arguments)
        if len(arguments) > self._most_bytes:
            raise TooLong
        name = _checked_name(call.name, "the name of ToolCall")
        data = {"index": index, "id": call_id, "name": name, "arguments": arguments}
        return Piece("tool_call", "", data)

    def _result(self, given: values.ToolResult) -> Piece:
        last = next(reversed(self._open_calls), "")
        call_id = last if given.id is None else self._made_ids.get(given.id, given.id)
        if call_id not in self._open_calls:
            raise WrongValue("its ToolResult belongs to no ToolCall that still has no result")
        data: dict[str, Any] = {"index": self._open_calls.pop(call_id), "id": call_id}
        data["result"] = self._json(given.result, "the result of its ToolResult")
        return Piece("tool_result", "", data | ({"is_error": True} if given.is_error else {}))

    def _data(self, given: values.Data) -> Piece:
        if not _DATA_NAME.fullmatch(_checked_name(given.name, "the name of Data")):
            raise WrongValue("the name of Data is not 1 to 64 letters, digits, '_', '.' and '-'")
        part_id = {} if given.id is None else {"id": _checked_name(given.id, "the id of Data")}
        value = self._json(given.value, "the value of its Data")
        return Piece("data", "", {"name": given.name, **part_id, "value": value})

    def _json(self, value: object, what: str) -> msgspec.Raw:
        text = json_text(value, what)
        if len(text) > self._most_bytes:
            raise TooLong
        return msgspec.Raw(text)

    def _count(self, usage: values.Usage) -> None:
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
            count = getattr(usage, name)
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**53:
                raise WrongValue(f"its Usage has {name} that is not a whole number of tokens")
            self._tokens[name] = min(self._tokens[name] + count, 2**53)
        self._tally.usage = _reported(self._tokens)

    def _counted(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            self._tally.add(piece)
        return pieces


_TEXT_KINDS: tuple[TextOutput, ...] = ("delta", "reasoning", "refusal")


def _reported(tokens: Counter[str]) -> dict[str, Any]:
    """The usage in OpenAI's form."""
    prompt, completion = tokens["prompt_tokens"], tokens["completion_tokens"]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if tokens["cached_tokens"]:
        usage["prompt_tokens_details"] = {"cached_tokens": tokens["cached_tokens"]}
    if tokens["reasoning_tokens"]:
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens["reasoning_tokens"]}
    return usage


def _json_text(arguments: str | Mapping[str, Any]) -> str:
    if isinstance(arguments, str):
        return without_orphans(arguments)
    return json_text(arguments, "the arguments of its ToolCall")


def _checked_name(name: object, what: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME_CHARS:
        raise WrongValue(f"{what} is not a text of 1 to {_MOST_NAME_CHARS} characters")
    return without_orphans(name)
