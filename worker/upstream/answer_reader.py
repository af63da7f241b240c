"""Pure: turns the bytes of a body into pieces, and decides whether its end completes the answer."""

from tickertape.worker.upstream.body_decoder import BodyDecoder
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.ending import End
from tickertape.worker.upstream.errors import Truncated, UpstreamError, UpstreamGarbage
from tickertape.worker.upstream.pieces import Piece


class AnswerReader:
    """Reads one body with `feed`, and with `close` at its end.

    `is_over`: nothing more of the body is part of the answer. `failure` is then the reason why the
    answer is not complete, or None.
    """

    def __init__(self, reader: ChunkReader, max_document_bytes: int) -> None:
        self.tally = reader.tally
        self.is_over = False
        self.failure: UpstreamError | None = None
        self._reader = reader
        self._decoder = BodyDecoder(max_document_bytes)

    @property
    def is_declared(self) -> bool:
        """Whether the upstream has declared the end, so that the body is about to end, too."""
        return self._reader.is_done

    def feed(self, segment: bytes) -> list[Piece]:
        """The pieces in a segment. Raises TooLong for a document that is too large."""
        pieces: list[Piece] = []
        reader = self._reader
        try:
            for data in self._decoder.feed(segment):
                pieces += reader.read(data)
        except UpstreamGarbage as error:
            self.tally.ending.record_loss()
            self._end(End.BROKEN, error)
        except UpstreamError as error:
            self._end(End.BROKEN, error)
        if reader.is_done or self.is_over:
            self._end_if_declared(pieces)
        return pieces

    def close(self, cut: UpstreamError | None) -> list[Piece]:
        """The last pieces, after the body ended, or broke off because of `cut`."""
        pieces: list[Piece] = []
        decoder = self._decoder
        try:
            for data in decoder.close():
                pieces += self._reader.read(data)
            if decoder.is_document:
                self._reader.end_document()
        except UpstreamGarbage as error:
            self.tally.ending.record_loss()
            # At the end of a stream, and after a cut, the data is an incomplete event.
            if not decoder.is_stream and cut is None:
                self._end(End.BROKEN, error)
        except UpstreamError as error:
            self._end(End.BROKEN, error)
        if not self._reader.is_done:
            self._end(End.CLOSED if cut is None else End.BROKEN, cut or _without_reason())
        self._end_if_declared(pieces)
        return pieces

    def _end_if_declared(self, pieces: list[Piece]) -> None:
        if self._reader.is_done:
            self._end(End.DECLARED, self._reader.failure or _without_reason())
        pieces += self._reader.close()

    def _end(self, end: End, failure: UpstreamError) -> None:
        if not self.is_over and not self.tally.is_completed_by(end):
            self.failure = failure
        self.is_over = True


def _without_reason() -> Truncated:
    message = "The upstream's answer ended without a finish_reason."
    return Truncated(message, may_differ=False)
