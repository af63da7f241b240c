"""Pure: the data of upstream events to pieces of output, and the tally of what was produced."""

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
    """The error for what an upstream says in a stream, without its words: they may quote a key."""
    return error_from(read_report(said))


class ChunkReader:
    """Turns the data of events into pieces and keeps `tally` up to date with them.

    After `[DONE]`, `is_done` is true and whatever follows is ignored; so it is after a
    finish_reason that stands for the `failure` then set. A first text that is `echo` again, as a
    whole, is dropped. `refuse` makes the error for what an upstream says about its failure. Ids
    that the upstream does not give are made from `request_id`.
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
        self._held_x: dict[str, Any] = {}
        self._has_messages = False

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
        try:
            chunk = decode_chunk(data)
        except UpstreamGarbage:
            if self.tally.ending.stands and not data.startswith(b"{"):
                return []  # a note behind the answer, such as another word for [DONE]
            raise
        if chunk.error:
            raise self._refuse(chunk.error)
        self.tally.note(chunk)
        for choice in chunk.choices or ():
            if choice.error:
                raise self._refuse(choice.error)
            if not choice.index:  # 0, or left out
                return self._take(choice)
        return []

    def end_document(self) -> None:
        """Say that what was read is a whole document, and so an answer that was not streamed.

        Its last bracket is a word for its end, so the finish_reason may be missing. Raises
        UpstreamGarbage if there was no answer in it.
        """
        ending = self.tally.ending
        if ending.reason is None:
            if not (self.tally.has_new_output or self._held_x):
                raise UpstreamGarbage("The upstream answered 200 with JSON that is no completion.")
            reason = "tool_calls" if self.tally.calls else "stop"
            ending.note(reason, has_output=False)
        self.is_done = True

    def close(self) -> list[Piece]:
        """What is held back at the end.

        Calls without a name, U+FFFD for half a character whose other half never came, and provider
        fields of an answer that has an end or other output.
        """
        pieces = [Piece("tool_call", "", data) for data in self._calls.close()]
        if self._held_x and (self.tally.finish_reason or self.tally.has_output):
            pieces.append(Piece("delta", "", None, self._held_x))
            self._held_x = {}
        for channel, text in self._mender.close():
            kind, _, index = channel.partition(":")
            data = {"index": int(index), "arguments": text} if index else None
            pieces.append(Piece(cast("Output", kind), "" if index else text, data))
        return self._counted(pieces)

    def _take(self, choice: Choice) -> list[Piece]:
        delta = choice.delta
        if delta is None or choice.message is not None:
            delta = self._said_otherwise(choice)
        pieces = self._pieces(delta, choice.logprobs) if delta else []
        if choice.finish_reason or self.tally.ending.reason is not None:
            self._note_end(choice.finish_reason or "", delta)
        return self._counted(pieces)

    def _said_otherwise(self, choice: Choice) -> Delta | None:
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

    def _note_end(self, sent: str, delta: Delta | None) -> None:
        has_output = delta is not None and _has_output(delta)
        reason = translate_finish_reason(sent)
        self.tally.ending.note(reason, has_output=has_output)
        if reason and (failure := failure_for(reason)):
            self.failure, self.is_done = failure, True
            self.tally.ending = Ending()

    def _pieces(self, delta: Delta, logprobs: dict[str, Any] | None) -> list[Piece]:
        pieces = []
        mend = self._mender.mend
        # Some upstreams send their reasoning under both names, so one of them is taken.
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning and (text := mend("reasoning", reasoning)):
            pieces.append(Piece("reasoning", text))
        if delta.content and (text := mend("delta", delta.content)) and not self._is_echo(text):
            pieces.append(Piece("delta", text))
        if delta.refusal and (text := mend("refusal", delta.refusal)):
            pieces.append(Piece("refusal", text))
        if delta.tool_calls:
            read = map(self._calls.read, delta.tool_calls)
            pieces += [Piece("tool_call", "", data) for data in read if data is not None]
        if logprobs or delta.x or self._held_x:
            return self._with_fields(pieces, delta.x, logprobs)
        return pieces

    def _with_fields(
        self, pieces: list[Piece], x: dict[str, Any] | None, logprobs: dict[str, Any] | None
    ) -> list[Piece]:
        """The pieces with provider fields: the delta's, and what is held back of earlier ones.

        They go with the last text, or are a piece of their own where there is none. Before there is
        any output they are held back, since they alone do not make an answer.
        """
        fields = {**(x or {}), LOGPROBS: logprobs} if logprobs else x or {}
        if self._held_x:
            merge(self._held_x, fields)
            fields, self._held_x = self._held_x, {}
        if not pieces and not self.tally.has_output:
            self._held_x = fields
            return pieces
        texts = [number for number, piece in enumerate(pieces) if piece.text]
        if not texts:
            return [Piece("delta", "", None, fields), *pieces]
        piece = pieces[texts[-1]]
        pieces[texts[-1]] = Piece(piece.kind, piece.text, None, fields)
        return pieces

    def _is_echo(self, text: str) -> bool:
        if not self._echo:
            return False
        echo, self._echo = self._echo, ""
        # Chat templates may trim the end of a message.
        return text in {echo, echo.rstrip()}

    def _counted(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            self.tally.add(piece)
        return pieces


def _has_output(delta: Delta) -> bool:
    """Whether there is output in it, such as is no piece yet (half a character) included."""
    texts = delta.content or delta.reasoning_content or delta.reasoning or delta.refusal
    return bool(texts or delta.tool_calls)
