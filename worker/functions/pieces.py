"""Pure: turns the values that a function yields into pieces, and counts these in the tally."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from tickertape.broker.codec import made_call_id
from tickertape.broker.errors import TooLong
from tickertape.broker.kinds import TextOutput
from tickertape.worker.functions import values
from tickertape.worker.functions.errors import WrongValue
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.surrogates import SurrogateMender, without_orphans
from tickertape.worker.upstream.tally import Tally

_YIELD = (
    "yield text (str), or a value of tickertape: Text, Reasoning, Refusal, ToolCall, Usage, Finish"
)
_MOST_NAME_CHARS = 256


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
        self._call_ids |= {str(piece.data["id"]) for piece in pieces if piece.data}

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
        self._tally.runs_tools = self._finish_reason == "stop"
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
        arguments = _json_text(call.arguments)
        if len(arguments) > self._most_bytes:
            raise TooLong
        name = _checked_name(call.name, "the name of ToolCall")
        data = {"index": index, "id": call_id, "name": name, "arguments": arguments}
        return Piece("tool_call", "", data)

    def _count(self, usage: values.Usage) -> None:
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
            count = getattr(usage, name)
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**53:
                raise WrongValue(f"its Usage has {name} that is not a whole number of tokens")
            self._tokens[name] += count
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
    try:
        return without_orphans(msgspec.json.encode(arguments).decode())
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the arguments of its ToolCall are not JSON ({type(error).__name__})"
        raise WrongValue(problem) from None


def _checked_name(name: object, what: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME_CHARS:
        raise WrongValue(f"{what} is not a text of 1 to {_MOST_NAME_CHARS} characters")
    return without_orphans(name)
