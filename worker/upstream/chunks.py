"""Pure: turns the data of upstream events into pieces, and counts these in the tally."""

from collections.abc import Callable
from typing import Any, cast

from tickertape.broker.kinds import Output
from tickertape.broker.provider_fields import LOGPROBS, merge
from tickertape.worker.upstream.chunk_json import Choice, Delta, decode_chunk, decode_error
from tickertape.worker.upstream.ending import Ending
from tickertape.worker.upstream.error_reports import error_from, read_report
from tickertape.worker.upstream.errors import UpstreamError, UpstreamGarbage
from tickertape.worker.upstream.finish_reasons import failure_for, translate_finish_reason
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.sse import ErrorData
from tickertape.worker.upstream.surrogates import SurrogateMender
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstream.tool_calls import CallReader
from tickertape.worker.upstream.whole_messages import delta_of, remaining_delta

_DONE = b"[DONE]"


def error_without_text(said: object) -> UpstreamError:
    """The error for a report in a stream, without its message, which may quote a key."""
    return error_from(read_report(said))


class ChunkReader:
    """Turns the data of events into pieces, and adds these to `tally`.

    `is_done` is true after `[DONE]`, and later data is ignored. It is also true after a
    finish_reason that reports a failure, which is then `failure`. A first text that repeats all of
    `echo` is dropped. `refuse` makes the error for an upstream's report of a failure. Missing ids
    of tool calls are made from `request_id`.
    """

    def __init__(
        self,
        tally: Tally,
        echo: str = "",
        refuse: Callable[[object], UpstreamError] = error_without_text,
        *,
        request_id: str = "",
    ) -> None:
        self.tally = tally
        self.is_done = False
        self.failure: UpstreamError | None = None
        self._echo = echo
        self._refuse = refuse
        self._mender = SurrogateMender()
        self._calls = CallReader(request_id, self._mender)
        self._kept_x: dict[str, Any] = {}
        self._has_messages = False

    def read(self, data: bytes) -> list[Piece]:
        """The pieces of one event, in the order for readers: mostly one, or none.

        Raises UpstreamGarbage for data that is not a chunk, and RateLimited, Rejected or
        UpstreamFault for an error that the upstream reports in the data.
        """
        if self.is_done or not data:
            return []
        if type(data) is ErrorData:
            raise self._refuse(decode_error(data))
        if data.startswith(_DONE):
            self.is_done = True
            return []
        try:
            chunk = decode_chunk(data)
        except UpstreamGarbage:
            if self.tally.ending.is_final and not data.startswith(b"{"):
                return []  # a remark after the answer, such as another word for [DONE]
            raise
        if chunk.error:
            raise self._refuse(chunk.error)
        self.tally.record_usage(chunk)
        for choice in chunk.choices or ():
            if choice.error:
                raise self._refuse(choice.error)
            if not choice.index:  # 0, or left out
                return self._read_choice(choice)
        return []

    def end_document(self) -> None:
        """Treat the data so far as one whole document: an answer that was not streamed.

        The document's last bracket declares its end, so the finish_reason may be missing. Raises
        UpstreamGarbage if the document had no answer.
        """
        ending = self.tally.ending
        if ending.reason is None:
            if not (self.tally.has_new_output or self._kept_x):
                raise UpstreamGarbage(
                    "The upstream answered 200 with JSON that is not a completion."
                )
            reason = "tool_calls" if self.tally.calls else "stop"
            ending.record(reason, has_output=False)
        self.is_done = True

    def close(self) -> list[Piece]:
        """The pieces that were kept back until the end.

        These are tool calls without a name, U+FFFD for half a character without the other half, and
        provider fields of an answer that has an end or other output.
        """
        pieces = [Piece("tool_call", "", data) for data in self._calls.close()]
        if self._kept_x and (self.tally.finish_reason or self.tally.has_output):
            pieces.append(Piece("delta", "", None, self._kept_x))
            self._kept_x = {}
        for channel, text in self._mender.close():
            kind, _, index = channel.partition(":")
            data = {"index": int(index), "arguments": text} if index else None
            pieces.append(Piece(cast("Output", kind), "" if index else text, data))
        return self._counted(pieces)

    def _read_choice(self, choice: Choice) -> list[Piece]:
        delta = choice.delta
        if delta is None or choice.message is not None:
            delta = self._delta_of_choice(choice)
        pieces = self._pieces(delta, choice.logprobs) if delta else []
        if choice.finish_reason or self.tally.ending.reason is not None:
            self._record_end(choice.finish_reason or "", delta)
        return self._counted(pieces)

    def _delta_of_choice(self, choice: Choice) -> Delta | None:
        delta, message = choice.delta, choice.message
        if message is None:
            return Delta(content=choice.text)
        if delta is not None and _has_output(delta):
            return delta
        if self._has_messages or not self.tally.has_new_output:
            self._has_messages = True
            return delta_of(message)
        tally = self.tally
        return remaining_delta(
            message, tally.new_text, tally.reasoning, tally.refusals, tally.calls
        )

    def _record_end(self, sent: str, delta: Delta | None) -> None:
        has_output = delta is not None and _has_output(delta)
        reason = translate_finish_reason(sent)
        self.tally.ending.record(reason, has_output=has_output)
        if reason and (failure := failure_for(reason)):
            self.failure, self.is_done = failure, True
            self.tally.ending = Ending()

    def _pieces(self, delta: Delta, logprobs: dict[str, Any] | None) -> list[Piece]:
        pieces = []
        mend = self._mender.mend
        # Some upstreams send their reasoning under both names, so only one is used.
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning and (text := mend("reasoning", reasoning)):
            pieces.append(Piece("reasoning", text))
        text = mend("delta", delta.content) if delta.content else ""
        if text and not (self._echo and self._is_echo(text)):
            pieces.append(Piece("delta", text))
        if delta.refusal and (text := mend("refusal", delta.refusal)):
            pieces.append(Piece("refusal", text))
        if delta.tool_calls:
            read = map(self._calls.read, delta.tool_calls)
            pieces += [Piece("tool_call", "", data) for data in read if data is not None]
        if logprobs or delta.x or self._kept_x:
            return self._with_fields(pieces, delta.x, logprobs)
        return pieces

    def _with_fields(
        self, pieces: list[Piece], x: dict[str, Any] | None, logprobs: dict[str, Any] | None
    ) -> list[Piece]:
        """The pieces with the provider fields of this delta, and of earlier deltas.

        The fields are added to the last text, or become a separate piece if there is no text.
        Before any output they are kept back, because they alone are not an answer.
        """
        fields = {**(x or {}), LOGPROBS: logprobs} if logprobs else x or {}
        if self._kept_x:
            merge(self._kept_x, fields)
            fields, self._kept_x = self._kept_x, {}
        if not pieces and not self.tally.has_output:
            self._kept_x = fields
            return pieces
        texts = [number for number, piece in enumerate(pieces) if piece.text]
        if not texts:
            return [Piece("delta", "", None, fields), *pieces]
        piece = pieces[texts[-1]]
        pieces[texts[-1]] = Piece(piece.kind, piece.text, None, fields)
        return pieces

    def _is_echo(self, text: str) -> bool:
        echo, self._echo = self._echo, ""
        # Chat templates may trim the end of a message.
        return text in {echo, echo.rstrip()}

    def _counted(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            self.tally.add(piece)
        return pieces


def _has_output(delta: Delta) -> bool:
    """Whether a delta has output. Half a character counts, although it is not a piece yet."""
    texts = delta.content or delta.reasoning_content or delta.reasoning or delta.refusal
    return bool(texts or delta.tool_calls)
