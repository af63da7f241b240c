"""Pure: the data of upstream events to pieces of output, and the tally of what was produced."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from worker.chunk_json import Choice, Delta, Function, ToolCall, decode_chunk, decode_error
from worker.failures import UpstreamError, UpstreamFault
from worker.sse import ErrorData
from worker.surrogates import SurrogateMender
from worker.token_counts import read_usage
from worker.upstream_errors import error_from, read_report

_DONE = b"[DONE]"


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One output entry to be.

    `kind` is delta, reasoning or refusal, with `text` that is never empty and always encodable as
    UTF-8; or tool_call, with `data`: the call's index, and what the upstream sent of id, name and
    arguments (and type, if it is not a function's). `x` holds provider fields.
    """

    kind: str
    text: str = ""
    data: dict[str, Any] | None = None
    x: dict[str, Any] | None = None


class Tally:
    """What an answer amounts to so far.

    `sha256` is over the UTF-8 of all `delta` text, `deltas` counts them.
    `has_output` is true as soon as there was any output of any kind, `has_only_text` until there
    was one that is not a delta. `finish_reason` stays None until the upstream gave one; `usage` is
    the last it sent. For an attempt that continues a partial answer the tally starts from
    `kept_text`, which came in `kept_deltas` entries.
    """

    def __init__(self, kept_text: str = "", kept_deltas: int = 0) -> None:
        self._texts = [kept_text]
        self.deltas = kept_deltas
        self.has_output = bool(kept_text)
        self.has_only_text = True
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.model: str | None = None

    @property
    def text(self) -> str:
        """All `delta` text, kept text included."""
        return "".join(self._texts)

    @property
    def sha256(self) -> str:
        """The checksum of `text`, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def add(self, piece: Piece) -> None:
        """Count one piece of output."""
        self.has_output = True
        if piece.kind != "delta":
            self.has_only_text = False
            return
        self._texts.append(piece.text)
        self.deltas += 1


def error_without_text(said: object) -> UpstreamError:
    """The error for what an upstream says in a stream, without its words: they may quote a key."""
    return error_from(read_report(said))


class ChunkReader:
    """Turns the data of events into pieces and keeps `tally` up to date with them.

    After `[DONE]`, `is_done` is true and whatever follows is ignored. A first text that is `echo`
    again, as a whole, is dropped. `refuse` makes the error for what an upstream says about its
    failure.
    """

    def __init__(
        self,
        tally: Tally,
        echo: str = "",
        refuse: Callable[[object], UpstreamError] = error_without_text,
    ) -> None:
        self.tally = tally
        self.is_done = False
        self._echo = echo
        self._refuse = refuse
        self._mender = SurrogateMender()
        self._call_index = -1
        self._call_id: str | None = None

    def read(self, data: bytes) -> list[Piece]:
        """The pieces of one event, in the order a reader should see them: often one, or none.

        Raises UpstreamGarbage for data that is no chunk, and RateLimited, Rejected or UpstreamFault
        for an error that the upstream reports in it.
        """
        if self.is_done or not data:
            return []
        if type(data) is ErrorData:
            raise self._refuse(decode_error(data))
        if data.startswith(_DONE):
            self.is_done = True
            return []
        chunk = decode_chunk(data)
        if chunk.error:
            raise self._refuse(chunk.error)
        if chunk.usage:
            self.tally.usage = read_usage(chunk.usage)
        if chunk.model:
            self.tally.model = chunk.model
        for choice in chunk.choices or ():
            if choice.error:
                raise self._refuse(choice.error)
            if not choice.index:  # 0, or left out
                return self._take(choice)
        return []

    def close(self) -> list[Piece]:
        """What is held back at the end: U+FFFD for half a character whose other half never came."""
        pieces = []
        for channel, text in self._mender.close():
            kind, _, index = channel.partition(":")
            data = {"index": int(index), "arguments": text} if index else None
            pieces.append(Piece(kind, "" if index else text, data))
        return self._counted(pieces)

    def _take(self, choice: Choice) -> list[Piece]:
        if choice.finish_reason == "error":
            raise UpstreamFault("The upstream ended its answer with an error.")
        pieces = self._pieces(choice.delta, choice.logprobs) if choice.delta else []
        if choice.finish_reason:
            self.tally.finish_reason = choice.finish_reason
        return self._counted(pieces)

    def _pieces(self, delta: Delta, logprobs: dict[str, Any] | None) -> list[Piece]:
        pieces = []
        x = {"logprobs": logprobs} if logprobs else None
        mend = self._mender.mend
        # Some upstreams send their reasoning under both names, so one of them is taken.
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning and (text := mend("reasoning", reasoning)):
            pieces.append(Piece("reasoning", text))
        if delta.content and (text := mend("delta", delta.content)) and not self._is_echo(text):
            pieces.append(Piece("delta", text, None, x))
        if delta.refusal and (text := mend("refusal", delta.refusal)):
            pieces.append(Piece("refusal", text, None, x))
        for call in delta.tool_calls or ():
            data = self._partial_call(call)
            if len(data) > 1:
                pieces.append(Piece("tool_call", "", data))
        return pieces

    def _is_echo(self, text: str) -> bool:
        if not self._echo:
            return False
        echo, self._echo = self._echo, ""
        # Chat templates may trim the end of a message.
        return text in {echo, echo.rstrip()}

    def _partial_call(self, call: ToolCall) -> dict[str, Any]:
        function = call.function or call.custom or Function()
        index = self._index_of(call, function)
        data: dict[str, Any] = {"index": index}
        if call.id:
            data["id"] = call.id
        if call.type and call.type != "function":
            data["type"] = call.type
        if function.name:
            data["name"] = function.name
        arguments = function.arguments if call.custom is None else function.input
        if arguments is not None:
            data["arguments"] = self._mender.mend(f"tool_call:{index}", arguments)
        return data

    def _index_of(self, call: ToolCall, function: Function) -> int:
        """The call's index; for upstreams that leave it out, a new id or name begins the next."""
        if call.index is not None:
            self._call_index = call.index
        elif self._call_index < 0 or (
            call.id != self._call_id if call.id else function.name is not None
        ):
            self._call_index += 1
        self._call_id = call.id or self._call_id
        return self._call_index

    def _counted(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            self.tally.add(piece)
        return pieces
