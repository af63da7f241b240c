"""One answer from the table: of the first upstream that has output.

As long as there is no output, a failure leads to the next upstream, within the same attempt. After
output it ends the attempt, and the request's policy decides what follows. But if the upstream keeps
the answer, a lost connection is made again, and the attempt goes on.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Self

import structlog

from tickertape.broker.leases import Attached
from tickertape.worker.prompt import estimated_tokens
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits, Take
from tickertape.worker.upstream.errors import (
    AtOwnLimit,
    DeadlineExceeded,
    Rejected,
    UpstreamError,
)
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.seen import AnswerDiffers
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.breaker import State
from tickertape.worker.upstreams.kept import KeptAnswer
from tickertape.worker.upstreams.members import Member, another_may_answer
from tickertape.worker.upstreams.room import Admitted, used_tokens

log = structlog.get_logger()

_NOT_SERVED = "The requested model is not served here. GET /v1/models lists the models."


class Roster(Protocol):
    """The table, as an answer sees it (worker/upstreams/roster.py)."""

    def able(self, body: dict[str, Any], tally: Tally) -> list[Member]:
        """The upstreams that can answer a request."""
        ...

    def in_order(self, able: Sequence[Member], tried: set[str]) -> list[Member]:
        """These upstreams, the one to call first at the front."""
        ...

    async def admit(self, members: Sequence[Member], tokens: Callable[[Member], int]) -> Admitted:
        """The first of the members that has room for a call."""
        ...

    def leave(self, admitted: Admitted, tokens: int) -> None:
        """Give the room back."""
        ...

    def member(self, name: str) -> Member | None:
        """The upstream of a row."""
        ...

    def end_answer(self, at: Attached) -> None:
        """Have an upstream end an answer that it keeps and that nobody will read."""
        ...


class TableAnswer:
    """An answer while it is generated: an async context manager, like AnswerStream.

    `answered_by` is the name of the upstream that was called last, or None before the first call.
    """

    def __init__(
        self,
        roster: Roster,
        body: dict[str, Any],
        tally: Tally,
        limits: Limits,
        request_id: str,
        tried: set[str],
        kept: KeptAnswer | None = None,
    ) -> None:
        self.tally = tally
        self._roster = roster
        self._body = body
        self._limits = limits
        self._request_id = request_id
        self._tried = tried
        self._kept = kept or KeptAnswer()
        self._asked: set[str] = set()
        self._errors: list[UpstreamError] = []
        self._before = tally.has_output, tally.deltas
        self._until_s = 0.0
        self._admitted: Admitted | None = None
        self._stream: AnswerStream | None = None
        self.member: Member | None = None

    @property
    def answered_by(self) -> str | None:
        """The name of the upstream that was called last; None before the first call."""
        return None if self.member is None else self.member.row.name

    async def __aenter__(self) -> Self:
        self._until_s = time.monotonic() + self._limits.deadline_s
        if self._kept.at is None or not await self._attached(self._kept.at):
            await self._open_next()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        error = exc_info[1]
        await self._close(error if isinstance(error, BaseException) else None)

    async def deliver(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        """Pass the pieces to `take` as they arrive, until the answer is complete."""
        while self._stream is not None:
            try:
                await self._stream.deliver(self._kept.for_readers(self._observed(take)), room)
                if not self._kept.is_caught_up:
                    raise AnswerDiffers
            except UpstreamError as error:
                if await self._has_returned(error):
                    continue
                if self._has_output or not another_may_answer(error):
                    raise
                await self._close(error)
                await self._open_next()
            else:
                return

    def _observed(self, take: Take) -> Take:
        """`take`, which closes a breaker at the first output: the answer itself may be long."""
        member = self.member
        if member is None or member.breaker.state is State.CLOSED:
            return take

        def observe(pieces: list[Piece]) -> bool | None:
            member.answers()
            return take(pieces)

        return observe

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """The pieces of the first upstream that can be called."""
        if self._stream is not None:
            async for pieces in self._stream:
                yield pieces

    @property
    def _has_output(self) -> bool:
        tally = self.tally
        if self._kept.has_readers:
            return True
        return tally.has_new_output or (tally.has_output, tally.deltas) != self._before

    async def _attached(self, at: Attached) -> bool:
        """Read the answer that an upstream keeps. Raises UpstreamError if it is lost to readers."""
        member = self._roster.member(at.upstream)
        if member is None or member.keeping is None:
            return False
        self._kept.read_again(self.tally)
        limits, request_id = self._limits_left(), self._request_id
        stream = member.keeping.attach(at.id, self.tally, limits, request_id=request_id)
        if self._admitted is None:
            self._admitted, self.member = Admitted(member, None), member
            member.began()
        log.info("read on at the upstream", request_id=request_id, upstream=member.row.name)
        try:
            self._stream = await stream.__aenter__()
        except UpstreamError as error:
            # Nobody will read what may go on there, so `_left` has the upstream end the answer.
            log.info("answer lost at the upstream", request_id=request_id, reason=error.message)
            self._left(error)
            if self._kept.has_readers:
                raise
            return False
        except BaseException as error:
            self._left(error)
            raise
        return True

    async def _has_returned(self, error: UpstreamError) -> bool:
        """Whether a lost connection to an answer that goes on was made again."""
        stream, at = self._stream, self._kept.at
        if stream is None or at is None or not self._kept.may_return(error):
            return False
        self._stream = None
        try:
            await stream.__aexit__(type(error), error, None)
            return await self._attached(at)
        except UpstreamError:
            return False
        except BaseException as stop:
            # Nobody else closes a call without its stream.
            self._left(stop)
            raise

    async def _open_next(self) -> None:
        """Call one upstream after the other until one answers. Raises UpstreamError."""
        while True:
            members = self._next_members()
            if time.monotonic() >= self._until_s:
                raise DeadlineExceeded
            admitted = await self._room(members)
            self._admitted, self.member = admitted, admitted.member
            self._asked.add(admitted.member.row.name)
            self._kept.leave()
            self.tally.ask_again()
            stream = admitted.member.stream(
                self._body,
                self.tally,
                self._limits_left(),
                request_id=self._request_id,
                on_kept=partial(self._kept.keep, admitted.member.row.name),
            )
            try:
                self._stream = await stream.__aenter__()
            except UpstreamError as error:
                self._left(error)
                if not another_may_answer(error):
                    raise
            except BaseException as error:
                self._left(error)
                raise
            else:
                return

    def _limits_left(self) -> Limits:
        left_s = max(0.0, self._until_s - time.monotonic())
        return replace(self._limits, deadline_s=left_s)

    def _next_members(self) -> list[Member]:
        """The upstreams to choose from. Raises the failure of the last ones if none is left."""
        able = self._roster.able(self._body, self.tally)
        if not able:
            raise Rejected(_NOT_SERVED)
        left = [each for each in able if each.row.name not in self._asked]
        if self._asked:
            # One of them was called in spite of its breaker, if all others were open, too.
            left = [each for each in left if each.breaker.admits]
        if not left:
            raise self._failure()
        return self._roster.in_order(left, self._tried)

    async def _room(self, members: list[Member]) -> Admitted:
        try:
            return await self._roster.admit(
                members, lambda each: estimated_tokens(self._body["messages"]) + each.mean_output
            )
        except AtOwnLimit:
            # A call was made, so this counts as a try.
            if self._errors:
                raise self._failure() from None
            raise

    def _failure(self) -> UpstreamError:
        """Of all failures, the one after which a next try may succeed first."""
        hopeful = [each for each in self._errors if not isinstance(each, Rejected)]
        if not hopeful:
            return self._errors[-1]
        return min(hopeful, key=lambda each: each.retry_after_s or 0.0)

    async def _close(self, error: BaseException | None) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            await stream.__aexit__(type(error) if error else None, error, None)
        finally:
            self._left(error)

    def discard(self) -> None:
        """Have the upstream end an answer that it keeps and that nobody will read."""
        at, self._kept.at = self._kept.at, None
        if at is not None:
            self._roster.end_answer(at)

    def _left(self, error: BaseException | None) -> None:
        """Take note of how a call has ended, and give its room back."""
        admitted, self._admitted = self._admitted, None
        if admitted is None:
            return
        member = admitted.member
        if error is None:
            member.completed(self.tally.deltas - self._before[1])
            self._kept.at = None
        elif isinstance(error, UpstreamError):
            self._errors.append(error)
            self.discard()
            self._tried.add(member.row.name)
            member.refused(error)
            failed = {"upstream": member.row.name, "code": error.code.value}
            said = {"reason": error.message, "upstream_said": error.detail}
            log.info("upstream failed", request_id=self._request_id, **failed, **said)
        else:
            member.stopped()
        used = 0
        if admitted.place is not None:
            deltas = self.tally.deltas - self._before[1]
            used = used_tokens(self.tally, self._body["messages"], deltas)
        self._roster.leave(admitted, used)
