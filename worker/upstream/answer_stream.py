"""One streamed answer: its pieces as they arrive, with a limit on each wait.

A body that can be pushed calls `feed` from the event loop for each network read, and the task of
the answer sleeps until something ends: the answer, the room for its pieces, or a limit. Any other
body is read by that task. This module knows no HTTP; worker/upstream/client.py opens the body.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar

from tickertape.worker.upstream.answer_reader import AnswerReader
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.ending import End
from tickertape.worker.upstream.errors import DeadlineExceeded, Stalled, Truncated, UpstreamError
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.pushed_body import PushedBody
from tickertape.worker.upstream.watchdog import Watchdog

# Time for the body to end after [DONE]. Only then can the connection serve the next request.
DRAIN_S = 0.1

T = TypeVar("T")
Take = Callable[[list[Piece]], bool | None]


class Body(Protocol):
    """An open response body that a task reads."""

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
    """An answer while it is generated: an async context manager, read by `deliver` or `async for`.

    Entering opens the body. The pieces come in lists, one for each network read that has any. An
    answer is complete if Ending says so, and `tally.finish_reason` is then set. Otherwise an
    UpstreamError or TooLong is raised, after all earlier pieces were passed on. Leaving the block,
    or cancelling the task inside it, closes the upstream's connection at once, so that the upstream
    stops generating.
    """

    def __init__(
        self,
        open_body: Callable[[], Awaitable[Body | PushedBody]],
        reader: ChunkReader,
        limits: Limits,
    ) -> None:
        self.tally = reader.tally
        self._open_body = open_body
        self._reader = AnswerReader(reader, limits.document_bytes)
        self._limits = limits
        self._kept: deque[list[Piece]] = deque()
        # Without `deliver` there is room for one list, which `append` says by returning None.
        self._take: Take = self._kept.append
        self._silence_s = limits.first_byte_s
        self._has_begun = False
        self._is_trailing = False
        self._has_ended = False
        self._defect: Exception | None = None
        self._attempt_until = 0.0
        self._deadline_at = 0.0
        self._due = 0.0
        self._watchdog: Watchdog
        self._body: Body | PushedBody
        self._is_pushed = False
        self._segments: AsyncGenerator[bytes, None]
        self._woken: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._watchdog = Watchdog()
        self._attempt_until = self._watchdog.time() + self._limits.deadline_s
        self._deadline_at = self._attempt_until
        try:
            self._body = await self._within(self._open_body)
        except BaseException:
            self._watchdog.stop()
            raise
        if not isinstance(self._body, PushedBody):
            self._segments = self._body.aiter_bytes()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._watchdog.stop()
        try:
            if self._reader.is_declared and not self._has_ended:
                await self._drain()
        finally:
            # The connection is abandoned, so errors at its end do not matter.
            if not isinstance(self._body, PushedBody):
                with contextlib.suppress(Exception):
                    await self._segments.aclose()
            with contextlib.suppress(Exception):
                await self._body.aclose()

    async def deliver(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        """Pass the pieces of each network read to `take` until the answer is complete.

        `take` runs in the event loop's callbacks, so it must be quick. If it returns false, the
        upstream has to wait until `room` returns.
        """
        self._take = take
        while not self._is_over:
            await self._advance()
            await room()
        self._raise_failure()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Piece]:
        while not self._kept:
            if self._is_over:
                self._raise_failure()
                raise StopAsyncIteration
            await self._advance()
        return self._kept.popleft()

    def feed(self, segment: bytes) -> None:
        """Take the next bytes of the body; called by the body."""
        if self._reader.is_over or self._defect is not None:
            return  # the rest after [DONE], which is read for the connection's sake
        try:
            pieces = self._reader.feed(segment)
            if pieces:
                self._has_begun = True
                self._silence_s = self._limits.stall_s
                has_room = self._take(pieces)
                if not has_room:
                    self._hold()
        except Exception as error:  # noqa: BLE001  # it is the answer's task that must raise it
            self._defect = error
        if self.tally.ending.reason is not None:
            self._time_trailer()
        if self._is_over:
            self._wake()
        else:
            self._due = min(self._watchdog.time() + self._silence_s, self._deadline_at)
            self._watchdog.extend(self._due)

    def end(self, *, is_cut: bool) -> None:
        """Take the end of the body; called by the body."""
        self._has_ended = True
        self._close(_cut_off() if is_cut else None)

    @property
    def _is_over(self) -> bool:
        return self._reader.is_over or self._defect is not None

    def _raise_failure(self) -> None:
        failure = self._defect or self._reader.failure
        if failure is not None:
            raise failure

    def _close(self, cut: UpstreamError | None) -> None:
        if not self._is_over:
            try:
                pieces = self._reader.close(cut)
                if pieces:
                    self._take(pieces)
            except Exception as error:  # noqa: BLE001  # as in `feed`
                self._defect = error
        self._wake()

    def _hold(self) -> None:
        if isinstance(self._body, PushedBody):
            self._body.pause()
            self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _time_trailer(self) -> None:
        """Shorten the deadline after a final finish_reason: only usage can follow."""
        is_final = self.tally.is_completed_by(End.BROKEN)
        if is_final and not self._is_trailing:
            trailer_until = self._watchdog.time() + self._limits.stall_s
            self._deadline_at = min(self._attempt_until, trailer_until)
        elif not is_final:
            self._deadline_at = self._attempt_until
        self._is_trailing = is_final

    async def _advance(self) -> None:
        """Sleep until the answer is over, or `take` has no room. Without push: read once."""
        try:
            if isinstance(self._body, PushedBody):
                await self._within(partial(self._be_pushed, self._body))
            elif (segment := await self._within(self._next_segment)) is None:
                self.end(is_cut=False)
            else:
                self.feed(segment)
        except UpstreamError as error:
            self._close(error)

    async def _be_pushed(self, body: PushedBody) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        if self._is_pushed:
            body.resume()
        else:
            self._is_pushed = True
            body.push_to(self)
        await self._woken

    async def _next_segment(self) -> bytes | None:
        try:
            return await anext(self._segments, None)
        except Exception:  # noqa: BLE001  # any error of a transport means that the body broke off
            raise _cut_off() from None

    async def _within(self, wait: Callable[[], Awaitable[T]]) -> T:
        now = self._watchdog.time()
        if now >= self._deadline_at:  # a read that returns at once would not be timed
            raise DeadlineExceeded
        self._due = min(now + self._silence_s, self._deadline_at)
        try:
            return await self._watchdog.wait(wait, self._due)
        except TimeoutError:
            if self._due == self._deadline_at:
                raise DeadlineExceeded from None
            raise Stalled(f"The upstream was silent for {self._silence_s:g} s.") from None

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_S):
                if not isinstance(self._body, PushedBody):
                    async for _ in self._segments:
                        pass
                elif self._is_pushed:
                    await self._be_pushed(self._body)


def _cut_off() -> Truncated:
    return Truncated("The connection to the upstream closed before the answer's end.")
