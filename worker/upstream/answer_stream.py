"""One streamed answer: reads bytes, returns pieces, and limits every wait.

This module handles bytes and time, but not HTTP; worker/upstream/client.py opens the body.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from tickertape.worker.upstream.body_decoder import BodyDecoder
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.ending import End
from tickertape.worker.upstream.errors import (
    DeadlineExceeded,
    Stalled,
    Truncated,
    UpstreamError,
    UpstreamGarbage,
)
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.watchdog import Watchdog

# Time for the body to end after [DONE]. Only then can the connection serve the next request.
DRAIN_S = 0.1

T = TypeVar("T")


class Body(Protocol):
    """An open response body."""

    def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they arrive."""
        ...

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an upstream may take, and the size of an answer that is not streamed.

    `first_byte_s` bounds each silence until the first output, because a model that reasons without
    output is silent for minutes after its first bytes. `stall_s` bounds each later silence.
    `deadline_s` bounds the whole answer. Comments are bytes, too, and so end a silence.
    """

    first_byte_s: float = 300.0
    stall_s: float = 60.0
    deadline_s: float = 1800.0
    document_bytes: int = 4 * 1024 * 1024


class AnswerStream:
    """An answer while it is generated: an async context manager and an async iterator.

    Entering opens the body. Each item is a list of the pieces of one network read, never empty. The
    iteration ends when Ending reports a complete answer, and `tally.finish_reason` is then set. In
    all other cases it raises an UpstreamError or TooLong, after all earlier pieces were returned.
    Leaving the block, or cancelling the task inside it, closes the upstream's connection at once,
    so that the upstream stops generating.
    """

    def __init__(
        self, open_body: Callable[[], Awaitable[Body]], reader: ChunkReader, limits: Limits
    ) -> None:
        self.tally = reader.tally
        self._open_body = open_body
        self._reader = reader
        self._limits = limits
        self._decoder = BodyDecoder(limits.document_bytes)
        self._has_begun = False
        self._is_over = False
        self._break: UpstreamError | None = None
        self._failure: UpstreamError | None = None
        self._is_trailing = False
        self._attempt_until = 0.0
        self._deadline_at = 0.0
        self._watchdog: Watchdog
        self._body: Body
        self._segments: AsyncGenerator[bytes, None]

    async def __aenter__(self) -> Self:
        self._watchdog = Watchdog()
        self._attempt_until = self._watchdog.time() + self._limits.deadline_s
        self._deadline_at = self._attempt_until
        try:
            self._body = await self._within(self._limits.first_byte_s, self._open_body)
        except BaseException:
            self._watchdog.stop()
            raise
        self._segments = self._body.aiter_bytes()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._watchdog.stop()
        try:
            if self._reader.is_done:
                await self._drain()
        finally:
            # The connection is abandoned, so errors at its end do not matter.
            with contextlib.suppress(Exception):
                await self._segments.aclose()
            with contextlib.suppress(Exception):
                await self._body.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Piece]:
        while not self._is_over:
            pieces = self._pieces_in(await self._read())
            if self.tally.finish_reason is not None:
                self._time_trailer()
            if pieces:
                self._has_begun = True
                return pieces
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def _pieces_in(self, segment: bytes | None) -> list[Piece]:
        """The pieces in a segment, or the last pieces at the end (None). Records how it ended."""
        pieces: list[Piece] = []
        decoder = self._decoder
        try:
            for data in decoder.close() if segment is None else decoder.feed(segment):
                pieces += self._reader.read(data)
            if segment is None and decoder.is_document:
                self._reader.end_document()
        except UpstreamGarbage as error:
            self.tally.ending.record_loss()
            # At the end of a stream, and after a cut, the data is an incomplete event.
            is_rest = segment is None and (decoder.is_stream or self._break is not None)
            if not is_rest:
                self._end(End.BROKEN, error)
        except UpstreamError as error:
            self._end(End.BROKEN, error)
        if self._reader.is_done:
            self._end(End.DECLARED, self._reader.failure or _without_reason())
        elif segment is None:
            end = End.CLOSED if self._break is None else End.BROKEN
            self._end(end, self._break or _without_reason())
        if self._is_over:
            pieces += self._reader.close()
        return pieces

    def _end(self, end: End, failure: UpstreamError) -> None:
        if not self._is_over and not self.tally.is_completed_by(end):
            self._failure = failure
        self._is_over = True

    def _time_trailer(self) -> None:
        """Shorten the deadline after a final finish_reason: only usage can follow."""
        is_final = self.tally.is_completed_by(End.BROKEN)
        if is_final and not self._is_trailing:
            trailer_until = self._watchdog.time() + self._limits.stall_s
            self._deadline_at = min(self._attempt_until, trailer_until)
        elif not is_final:
            self._deadline_at = self._attempt_until
        self._is_trailing = is_final

    async def _read(self) -> bytes | None:
        limits = self._limits
        silence_s = limits.stall_s if self._has_begun else limits.first_byte_s
        try:
            return await self._within(silence_s, self._next_segment)
        except UpstreamError as error:
            self._break = error
            return None

    async def _next_segment(self) -> bytes | None:
        try:
            return await anext(self._segments, None)
        except Exception:  # noqa: BLE001  # any error of a transport means that the body broke off
            raise Truncated(
                "The connection to the upstream closed before the answer's end."
            ) from None

    async def _within(self, silence_s: float, wait: Callable[[], Awaitable[T]]) -> T:
        now = self._watchdog.time()
        if now >= self._deadline_at:  # a read that returns at once would not be timed
            raise DeadlineExceeded
        due = min(now + silence_s, self._deadline_at)
        try:
            return await self._watchdog.wait(wait, due)
        except TimeoutError:
            if due == self._deadline_at:
                raise DeadlineExceeded from None
            raise Stalled(f"The upstream was silent for {silence_s:g} s.") from None

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._segments:
                    pass


def _without_reason() -> Truncated:
    message = "The upstream's answer ended without a finish_reason."
    return Truncated(message, may_differ=False)
