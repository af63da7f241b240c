"""One request in this worker, from its claim to its end."""

import asyncio
import secrets
import time
from typing import Any

import structlog

from tickertape.broker.codec import encode_data
from tickertape.broker.errors import Fenced, TooLong, Unavailable
from tickertape.broker.kinds import Policy, Terminal
from tickertape.broker.leases import Lease
from tickertape.broker.principals import tenant_of
from tickertape.broker.queue import Gap
from tickertape.worker.attempt import Attempt
from tickertape.worker.failures import Failure, FailureCode
from tickertape.worker.functions.source import FunctionSource
from tickertape.worker.interruption import Interruption
from tickertape.worker.outcome import (
    Broken,
    Completed,
    Failed,
    NotContinuable,
    Outcome,
    Stop,
    failure_of,
)
from tickertape.worker.retry import Continue, Fail, Restart, Retry, decide
from tickertape.worker.tools import Tools

log = structlog.get_logger()

# A log may report a gap once. Repeated gaps mean that it is not the log this attempt wrote.
_MAX_GAPS = 5
_GAP_PAUSE_S = 0.2
# Each lost log costs another call of the upstream, so their number has a limit.
_MAX_LOST_LOGS = 5
_LOG_KEEPS_BEING_LOST = Failure(
    FailureCode.INTERNAL, "The worker failed, because Redis keeps losing the request's log."
)


class Job:
    """Runs a claimed request. `lease` is the lease of the attempt under way."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.lease = lease
        self._tools = tools
        self._queue = tools.queue
        self._log = log.bind(request_id=lease.request_id, tenant=tenant_of(lease.tenant))
        self._policy: Policy = lease.payload.get("on_interruption", "restart")
        self._restarts = 0
        self._tried: set[str] = set()
        self._lost_logs = 0
        self._is_reopening = False
        self._stop: Stop | None = None
        self._interruption = Interruption()
        self._begun_at_s = time.monotonic()
        self._counters = tools.counters
        self._current: Attempt | None = None
        # After the end of the job: when the request, which went back to the queue, is due.
        self.due_in_ms: int | None = None
        # The monotonic time at which this worker learned that the request was cancelled.
        self.cancelled_at_s: float | None = None

    @property
    def deltas(self) -> int:
        """The deltas of the attempt under way."""
        return self._current.deltas if self._current is not None else 0

    @property
    def is_overdue(self) -> bool:
        """Whether the attempt has exceeded all its limits, so that it must be hanging."""
        limit_s = self._tools.limits.deadline_s + self._tools.timing.overdue_after_s
        return time.monotonic() - self._begun_at_s > limit_s

    def stop(self, reason: Stop) -> None:
        """Stop work on the request. FENCED: another attempt owns it. DRAINED: this worker stops."""
        self._stop = self._stop or reason
        self._interruption.interrupt(reason)

    def fenced(self, lease: Lease) -> None:
        """Stop work on the request if Redis refused to renew `lease`, and it is still current.

        A refused renewal of an earlier attempt does not concern the attempt that followed.
        """
        if lease is self.lease and not self._is_reopening:
            self.stop(Stop.FENCED)

    async def run(self) -> None:
        """Attempt the request until it ends, goes back to the queue, or belongs to another worker.

        Writes nothing once it is fenced. Cancelling leaves the request to its lease.
        """
        lease: Lease | None = self.lease
        self._counters.claimed(self.lease)
        while lease is not None:
            self.lease = lease
            self._counters.attempts[lease.opener] += 1
            self._log.info("attempt begun", attempt=lease.attempt, n=lease.n, opener=lease.opener)
            lease = await self._attempt(lease)

    async def _attempt(self, lease: Lease) -> Lease | None:
        """Run one attempt and record its end; returns the next attempt's lease, if there is one."""
        self._begun_at_s = time.monotonic()
        self._interruption = Interruption()
        if self._stop is not None:
            self._interruption.interrupt(self._stop)
        self._current = attempt = Attempt(
            lease, self._tools, self._interruption.interrupt, self._tried
        )
        try:
            step: Outcome | Lease | None = await self._interruption.run(attempt.run)
            while not (step is None or isinstance(step, Lease)):
                attempt.trace.concluded(step)
                step = await self._conclude(attempt, step)
            attempt.trace.followed_by(step, self.due_in_ms)
            return step
        finally:
            attempt.trace.end(is_cancelled=self.cancelled_at_s is not None)
            attempt.writer.close()
            self._current = None
            self._counters.deltas += attempt.deltas
            self._counters.used(attempt.usage())

    async def _conclude(self, attempt: Attempt, outcome: Outcome) -> Outcome | Lease | None:
        """Act on an outcome. Returns another outcome if that fails, or the next attempt's lease."""
        self._let_go(attempt, outcome)
        match outcome:
            case Completed():
                self._note_problem(attempt, None)
                return await self._finish(attempt, "completed", attempt.completed())
            case Broken(failure):
                return await self._after_break(attempt, failure)
            case Failed(failure):
                return await self._fail(attempt, failure)
            case NotContinuable(failure):
                return await self._start_over(attempt, failure)
            case Stop.LOG_FULL:
                # The log can be full at an append, before a restart, or at the last pieces. It
                # always has room for the terminal alone.
                attempt.writer.drop()
                return await self._fail(attempt, failure_of(TooLong()))
            case Stop.LOG_LOST:
                return await self._leave_lost_log(attempt)
            case Stop.DRAINED:
                await self._release(attempt)
            case Stop.FENCED:
                await self._account(attempt)
                self._log.info("attempt fenced", attempt=attempt.lease.attempt)
        return None

    def _let_go(self, attempt: Attempt, outcome: Outcome) -> None:
        """Leave an answer that is not complete to another worker, or end it at the upstream."""
        is_taken = outcome is Stop.FENCED and self.cancelled_at_s is None
        if is_taken or outcome is Stop.DRAINED:
            attempt.leave_answer()
        elif not isinstance(outcome, Completed):
            attempt.source.discard()

    async def _after_break(self, attempt: Attempt, failure: Failure) -> Outcome | Lease | None:
        """Act on the decision of the retry rule about an answer that broke off."""
        lease, has_output = attempt.lease, attempt.tally.has_output
        decision = decide(
            failure,
            1 + (self._restarts if has_output else lease.retries),
            has_output=has_output,
            policy=self._policy,
            can_continue=attempt.can_be_continued,
            rng=self._tools.rng,
            has_another=has_output and attempt.has_another(to_continue=self._policy == "continue"),
        )
        match decision:
            case Retry(delay_s):
                return await self._retry(attempt, failure, delay_s)
            case Restart(delay_s) | Continue(delay_s):
                return await self._restart(attempt, failure, delay_s)
            case Fail():
                return await self._fail(attempt, failure)

    async def _retry(self, attempt: Attempt, failure: Failure, delay_s: float) -> Stop | None:
        """Put the request back into the queue, due after a delay."""
        lease, code = attempt.lease, failure.code.value
        if failure.counts:
            self._counters.retried(code, failure.problem)
        self._log.info("retry later", code=code, delay_s=round(delay_s, 3))
        delay_ms = int(delay_s * 1000)
        try:
            await self._tools.insist(
                lambda: self._queue.retry(
                    lease, delay_ms, code, attempt.usage(), counts=failure.counts
                )
            )
        except Fenced:
            return Stop.FENCED
        self.due_in_ms = delay_ms
        return None

    async def _restart(
        self, attempt: Attempt, failure: Failure, delay_s: float
    ) -> Stop | Lease | None:
        """Open the next attempt in this worker, after the unwritten pieces and a delay."""
        self._log.info("begin again", code=failure.code.value, delay_s=round(delay_s, 3))
        if failure.counts:
            self._restarts += 1
            self._counters.retried(failure.code.value, failure.problem)

        async def pause() -> None:
            await attempt.writer.flushed()
            await asyncio.sleep(delay_s)

        stop = await self._interruption.run(pause)
        if stop is not None:
            return stop
        await self._account(attempt)
        return await self._reopen(attempt, failure.code.value)

    async def _start_over(self, attempt: Attempt, failure: Failure) -> Stop | Lease | None:
        """Discard the output that cannot be continued; without leave to do so, fail the request.

        Under the policy `restart`, only an answer that was handed over is to be continued at all.
        """
        if self._policy != "restart":
            return await self._fail(attempt, failure)
        return await self._reopen(attempt, "worker_drained", may_continue=False)

    async def _fail(self, attempt: Attempt, failure: Failure) -> Stop | None:
        said = {"upstream_said": failure.detail} if failure.detail else {}
        self._log.warning(
            "request failed",
            code=failure.code.value,
            attempt=attempt.lease.attempt,
            **said,
            **attempt.answered_by(),
        )
        self._note_problem(attempt, failure.problem)
        data = failure.terminal() | attempt.answered_by()
        return await self._finish(attempt, "failed", data)

    async def _finish(self, attempt: Attempt, state: Terminal, data: dict[str, Any]) -> Stop | None:
        """Write the terminal, together with the pieces that Redis has not acknowledged yet."""
        lease, writer, tally = attempt.lease, attempt.writer, attempt.tally
        terminal = encode_data(state, data)
        is_remembered = state == "completed" and lease.conversation
        # To the user, a refusal is the answer.
        answered = "".join([tally.text, *tally.refusals]) if is_remembered else None
        called = tally.called if is_remembered else None

        async def write() -> Gap | None:
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
            try:
                gap = await self._tools.insist(write)
            except Fenced:
                return Stop.FENCED
            except TooLong:
                return Stop.LOG_FULL
            if gap is None:
                self._counters.end(lease, state, data.get("code", ""))
                self._log_end(attempt, state)
                listeners = [*self._tools.end_listeners]
                listeners += self._tools.answer_listeners if state == "completed" else []
                for listener in listeners:
                    listener(lease)
                return None
            first_seq = writer.first_unacked_seq
            if not writer.accept(gap.seq):
                break
            if writer.first_unacked_seq == first_seq:
                await asyncio.sleep(_GAP_PAUSE_S)
        return Stop.LOG_LOST

    def _note_problem(self, attempt: Attempt, problem: str | None) -> None:
        # A function says nothing about the upstream.
        if not isinstance(attempt.source, FunctionSource):
            self._counters.upstream_problem = problem

    def _log_end(self, attempt: Attempt, state: Terminal) -> None:
        number, timing = attempt.lease.attempt, attempt.timing()
        ended = {"state": state, "attempt": number, "deltas": attempt.deltas, **timing}
        self._log.info("request ended", **ended, **attempt.answered_by())

    async def _leave_lost_log(self, attempt: Attempt) -> Outcome | Lease | None:
        """Open an attempt with new ids. If logs keep being lost, fail the request instead."""
        self._lost_logs += 1
        if self._lost_logs > _MAX_LOST_LOGS:
            stop = await self._fail(attempt, _LOG_KEEPS_BEING_LOST)
            if stop is not Stop.LOG_LOST:
                return stop
        await self._account(attempt)
        return await self._reopen(attempt, "log_lost")

    async def _reopen(
        self, attempt: Attempt, reason: str, *, may_continue: bool = True
    ) -> Lease | None:
        lease, can_continue = attempt.lease, may_continue and attempt.source.continues
        nonce = secrets.token_hex(8)
        self._is_reopening = True
        try:
            reopened = await self._tools.insist(
                lambda: self._queue.reopen(lease, nonce, reason, can_continue=can_continue)
            )
            if reopened is None:
                self._counters.end(lease, "failed", FailureCode.INTERRUPTED)
            return reopened
        except Fenced:
            self._log.info("attempt fenced", attempt=lease.attempt)
            return None
        finally:
            self._is_reopening = False

    async def _release(self, attempt: Attempt) -> None:
        """Release the request to the queue, with the output so far in its log."""
        try:
            async with asyncio.timeout(self._tools.timing.flush_on_drain_s):
                await attempt.writer.flushed()
        except TimeoutError:
            self._log.warning("pieces not written before the release")
        attempt.writer.close()
        await self._account(attempt)
        try:
            await self._queue.release(attempt.lease)
            self._log.info("request released", attempt=attempt.lease.attempt)
        except (Fenced, Unavailable) as error:
            # Another worker claims the request when its lease runs out.
            self._log.warning("request not released", reason=type(error).__name__)

    async def _account(self, attempt: Attempt) -> None:
        usage = attempt.usage()
        if usage is None:
            return
        try:
            await self._queue.account(attempt.lease, usage)
        except Unavailable:
            self._log.warning("usage not noted", attempt=attempt.lease.attempt)
