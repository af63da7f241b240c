"""The story of one request in this worker, from its claim to its end."""

import asyncio
import secrets
import time
from typing import Any

import structlog

from tickertape.broker.codec import encode_data
from tickertape.broker.errors import Fenced, TooLong, Unavailable
from tickertape.broker.queue import Lease
from tickertape.worker.attempt import Attempt, CannotContinueError, Tools, insist
from tickertape.worker.failures import Failure, FailureCode, UpstreamError, failure_of
from tickertape.worker.interruption import Interruption
from tickertape.worker.log_writer import LostWritesError
from tickertape.worker.retry import Continue, Fail, OnInterruption, Restart, Retry, decide

log = structlog.get_logger()

# Beyond an attempt's deadline there are the longest pause before a restart (see worker/retry.py)
# and the last writes.
_OVERDUE_AFTER_S = 900.0
# A drain waits this long for the last pieces to reach the log before it gives the request back.
_FLUSH_ON_DRAIN_S = 1.0
# A log that is ahead of us says so once. One that goes on saying it is not what was written to.
_MAX_GAPS = 5
_GAP_PAUSE_S = 0.2
# Each costs another call of the upstream: a log that takes no attempt must not cost one for ever.
_MAX_LOST_LOGS = 5
_CANNOT_CONTINUE = Failure(
    FailureCode.INTERRUPTED, "The answer was cut off and this upstream cannot continue it."
)


class DrainedError(Exception):
    """The worker stops; the request goes back to the queue."""


class Job:
    """Runs a request that was claimed. `lease` is that of the attempt under way."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.lease = lease
        self._tools = tools
        self._queue = tools.queue
        self._log = log.bind(request_id=lease.request_id)
        self._policy = OnInterruption(lease.payload.get("on_interruption", OnInterruption.RESTART))
        self._restarts = 0
        self._lost_logs = 0
        self._is_reopening = False
        self._stopped: Exception | None = None
        self._interruption = Interruption()
        self._begun_at_s = time.monotonic()

    @property
    def is_overdue(self) -> bool:
        """Whether its attempt has missed every limit it has, and so hangs where none is."""
        limit_s = self._tools.limits.deadline_s + _OVERDUE_AFTER_S
        return time.monotonic() - self._begun_at_s > limit_s

    def stop(self, reason: Exception) -> None:
        """Leave the request: Fenced when it is not ours any more, DrainedError when we stop."""
        self._stopped = self._stopped or reason
        self._interruption.interrupt(reason)

    def fenced(self, lease: Lease) -> None:
        """A renewal was refused. It says nothing about an attempt that was opened meanwhile."""
        if lease is self.lease and not self._is_reopening:
            self.stop(Fenced())

    async def run(self) -> None:
        """Attempt the request until it ends, goes back to the queue, or is another worker's.

        Writes nothing once it is fenced. Cancelling leaves the request to its lease.
        """
        lease: Lease | None = self.lease
        while lease is not None:
            self.lease = lease
            self._log.info("attempt begun", attempt=lease.attempt, n=lease.n, opener=lease.opener)
            lease = await self._attempt(lease)

    async def _attempt(self, lease: Lease) -> Lease | None:
        """One attempt; the lease of the next one, if there has to be one in this worker."""
        self._begun_at_s = time.monotonic()
        self._interruption = Interruption()
        if self._stopped is not None:
            self._interruption.interrupt(self._stopped)
        attempt = Attempt(lease, self._tools, self._interruption.interrupt)
        try:
            return await self._outcome(attempt)
        except Fenced:
            await self._account(attempt)
            self._log.info("attempt fenced", attempt=lease.attempt)
        except DrainedError:
            await self._release(attempt)
        except LostWritesError:
            await self._account(attempt)
            return await self._reopen(lease, "log_lost")
        finally:
            attempt.writer.close()
        return None

    async def _outcome(self, attempt: Attempt) -> Lease | None:
        """Run the attempt and write how it ended; raises what has to be done without writing."""
        try:
            return await self._run(attempt)
        except TooLong as error:
            # It may show at an append, before a restart, or with the last pieces at the end. For a
            # terminal alone there is always room.
            attempt.writer.drop()
            return await self._fail(attempt, failure_of(error))
        except LostWritesError as error:
            self._lost_logs += 1
            if self._lost_logs <= _MAX_LOST_LOGS:
                raise
            return await self._fail(attempt, failure_of(error))

    async def _run(self, attempt: Attempt) -> Lease | None:
        try:
            async with self._interruption:
                await attempt.run()
        except UpstreamError as error:
            return await self._after_failure(attempt, failure_of(error))
        except CannotContinueError:
            return await self._fail(attempt, _CANNOT_CONTINUE)
        except (Fenced, DrainedError, LostWritesError, TooLong):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the request has to end
            self._log.exception("attempt failed", attempt=attempt.lease.attempt)
            return await self._fail(attempt, failure_of(error))
        tally = attempt.tally
        completed = {
            "finish_reason": tally.finish_reason,
            "usage": tally.usage,
            "sha256": tally.sha256,
        }
        return await self._finish(attempt, "completed", completed)

    async def _after_failure(self, attempt: Attempt, failure: Failure) -> Lease | None:
        """Do what the retry rule says."""
        lease, has_output = attempt.lease, attempt.tally.has_output
        decision = decide(
            failure,
            1 + (self._restarts if has_output else lease.retries),
            has_output=has_output,
            policy=self._policy,
            can_continue=attempt.can_be_continued,
            rng=self._tools.rng,
        )
        reason = failure.code.value
        match decision:
            case Retry(delay_s):
                self._log.info("retry later", code=reason, delay_s=round(delay_s, 3))
                delay_ms = int(delay_s * 1000)
                await insist(lambda: self._queue.retry(lease, delay_ms, reason, attempt.usage()))
                return None
            case Restart(delay_s) | Continue(delay_s):
                self._log.info("begin again", code=reason, delay_s=round(delay_s, 3))
                self._restarts += 1
                async with self._interruption:
                    await attempt.writer.flushed()
                    await asyncio.sleep(delay_s)
                await self._account(attempt)
                return await self._reopen(lease, reason)
            case Fail():
                return await self._fail(attempt, failure)

    async def _fail(self, attempt: Attempt, failure: Failure) -> Lease | None:
        self._log.warning("request failed", code=failure.code.value, attempt=attempt.lease.attempt)
        return await self._finish(attempt, "failed", failure.terminal())

    async def _finish(self, attempt: Attempt, state: str, data: dict[str, Any]) -> Lease | None:
        """Write the terminal; pieces that are not acknowledged yet ride along."""
        lease, writer, tally = attempt.lease, attempt.writer, attempt.tally
        terminal = encode_data(state, data)
        is_remembered = state == "completed" and lease.conversation
        # To the person who asked, a refusal is the answer.
        answered = "".join([tally.text, *tally.refusals]) if is_remembered else None
        called = tally.called if is_remembered else None

        async def write() -> Any:
            return await self._queue.finish(
                lease,
                state,
                writer.first_unacked_seq,
                [*writer.unacked, terminal],
                usage=attempt.usage(),
                answered=answered,
                called=called,
            )

        for _ in range(_MAX_GAPS):
            gap = await insist(write)
            if gap is None:
                self._log.info("request ended", state=state, attempt=lease.attempt)
                return None
            first_seq = writer.first_unacked_seq
            if not writer.accept(gap.seq):
                break
            if writer.first_unacked_seq == first_seq:
                await asyncio.sleep(_GAP_PAUSE_S)
        # It and we do not agree on what it holds, and will not.
        raise LostWritesError

    async def _reopen(self, lease: Lease, reason: str) -> Lease | None:
        nonce = secrets.token_hex(8)
        self._is_reopening = True
        try:
            return await insist(lambda: self._queue.reopen(lease, nonce, reason))
        except Fenced:
            self._log.info("attempt fenced", attempt=lease.attempt)
            return None
        finally:
            self._is_reopening = False

    async def _release(self, attempt: Attempt) -> None:
        """Give the request back, with all that was said so far in its log."""
        try:
            async with asyncio.timeout(_FLUSH_ON_DRAIN_S):
                await attempt.writer.flushed()
        except TimeoutError:
            self._log.warning("pieces not written before the release")
        attempt.writer.close()
        await self._account(attempt)
        try:
            await self._queue.release(attempt.lease)
            self._log.info("request released", attempt=attempt.lease.attempt)
        except (Fenced, Unavailable) as error:
            # Its lease runs out, and another worker takes it then.
            self._log.warning("request not released", reason=type(error).__name__)

    async def _account(self, attempt: Attempt) -> None:
        usage = attempt.usage()
        if usage is None:
            return
        try:
            await self._queue.account(attempt.lease, usage)
        except Unavailable:
            self._log.warning("usage not noted", attempt=attempt.lease.attempt)
