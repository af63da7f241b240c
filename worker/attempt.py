"""One attempt at a request: call its source, and write the answer while it arrives."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.leases import Lease
from tickertape.broker.principals import tenant_of
from tickertape.broker.request_ids import partition_of
from tickertape.broker.turns import remember
from tickertape.worker import prompt
from tickertape.worker.attempt_trace import begin_attempt
from tickertape.worker.failures import SourceFailed
from tickertape.worker.log_writer import LogWriter
from tickertape.worker.outcome import (
    Broken,
    Completed,
    Failed,
    NotContinuable,
    Outcome,
    Stop,
    failure_of,
)
from tickertape.worker.tools import Tools
from tickertape.worker.upstream.errors import UpstreamError
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

log = structlog.get_logger()


class Attempt:
    """The call of the source, the tally of the answer and the log writer of one lease.

    `on_stop` is called if the log accepts no more: FENCED, LOG_FULL or LOG_LOST. `tried` gets the
    names of upstreams that failed for this request.
    """

    def __init__(
        self, lease: Lease, tools: Tools, on_stop: Callable[[Stop], None], tried: set[str]
    ) -> None:
        self.lease = lease
        self.tally = Tally()
        self.writer = LogWriter(tools.appender, lease, on_stop)
        self.trace = begin_attempt(tools.tracer, lease)
        self.source = tools.source_of(lease, self.writer, tried)
        self._tools = tools
        self._body: dict[str, Any] = {}
        self._kept_deltas = 0
        self._is_left = False
        self._begun_at_s = time.monotonic()
        self._first_output_at_s: float | None = None

    @property
    def can_be_continued(self) -> bool:
        """Whether the source could go on from the output so far."""
        return self.source.can_continue(self._body, self.tally)

    def has_another(self, *, to_continue: bool) -> bool:
        """Whether another upstream can answer now, or go on from the output so far."""
        return self.source.has_another(self._body, self.tally if to_continue else Tally())

    def leave_answer(self) -> None:
        """Leave the answer to the next attempt, which counts all of it if the upstream keeps it."""
        self._is_left = self.source.is_kept

    async def run(self) -> Outcome:
        """Call the source and write its whole answer to the log.

        Returns Completed, Broken, Failed or NotContinuable, after all output was passed to the
        writer. Cancelling ends the call.
        """
        try:
            return await self._write_answer()
        except UpstreamError as error:
            return Broken(failure_of(error))
        except SourceFailed as error:
            return Failed(error.failure)
        except Exception as error:
            # This is a defect of this program. The request must still end.
            log.exception("attempt failed", request_id=self.lease.request_id)
            return Failed(failure_of(error))

    async def _write_answer(self) -> Outcome:
        self._body = await self._whole_prompt()
        await self.source.prepare()
        if self.lease.opener == "resumed":
            read_log = partial(self._tools.logs.entries, self.lease.request_id)
            self.tally = self.source.kept(await self._tools.insist(read_log))
            self._kept_deltas = self.tally.deltas
            if not self.can_be_continued:
                return NotContinuable()
        source, body, tally = self.source, self._body, self.tally
        with self.trace.call(source.origin(body), body, tally) as call:
            try:
                async with source.stream(
                    body, tally, self._tools.limits, request_id=self.lease.request_id
                ) as answer:
                    await answer.deliver(self._take, self.writer.room)
            finally:
                call.answered_by(source.answered_by)
        return Completed()

    def _take(self, pieces: list[Piece]) -> bool:
        if self._first_output_at_s is None:
            self._note_first_output()
        return self.writer.write(list(map(encoded, pieces)))

    def _note_first_output(self) -> None:
        self._first_output_at_s = time.monotonic()
        self._tools.counters.times.first_output(self.lease)
        self.trace.first_output()
        log.info(
            "first token",
            request_id=self.lease.request_id,
            tenant=tenant_of(self.lease.tenant),
            attempt=self.lease.attempt,
            ms=self.timing()["first_output_ms"],
        )

    @property
    def deltas(self) -> int:
        """The deltas that this attempt has received, without those of an answer it continues."""
        return max(0, self.tally.deltas - self._kept_deltas)

    def timing(self) -> dict[str, int]:
        """The ms from the begin of the attempt to its first output and to now.

        Entries have no times of their own, so the log needs these for readers that come later.
        """
        now_s = time.monotonic()
        first_s = now_s if self._first_output_at_s is None else self._first_output_at_s
        return {
            "first_output_ms": round(1000 * (first_s - self._begun_at_s)),
            "total_ms": round(1000 * (now_s - self._begun_at_s)),
        }

    def completed(self) -> dict[str, Any]:
        """The data of the log's `completed` entry."""
        return {
            "finish_reason": self.tally.finish_reason,
            "usage": self.reported_usage(),
            "sha256": self.tally.sha256,
            "timing": self.timing(),
            **self.answered_by(),
        }

    def answered_by(self) -> dict[str, str]:
        """The name of the upstream that was called, if this worker has several."""
        name = self.source.answered_by
        return {} if name is None else {"upstream": name}

    def reported_usage(self) -> dict[str, Any] | None:
        """The usage that the upstream reported, as far as the tenant may see it."""
        usage = self.tally.usage
        return None if usage is None else self.source.shown_usage(self._body, usage)

    def usage(self) -> dict[str, Any] | None:
        """The usage that the upstream reported.

        Without a report, the number of deltas, marked as an estimate. None without output, and if
        another attempt counts.
        """
        if self._is_left:
            return None
        if (usage := self.reported_usage()) is not None:
            return usage
        # The kept deltas are in the usage of the attempt that wrote them, unless it left them.
        replayed = self.tally.replayed
        deltas = max(self.tally.deltas, replayed) if replayed else self.deltas
        return {"completion_tokens": deltas, "estimated": True} if deltas else None

    async def _whole_prompt(self) -> dict[str, Any]:
        """The body of the call. The conversation's earlier turns are read only now."""
        lease = self.lease
        if not lease.conversation or not lease.payload.get("memory", True):
            return prompt.build(lease.payload, [], self._tools.bounds)
        partition = partition_of(lease.request_id)
        conversations = self._tools.conversations
        turns = await self._tools.insist(
            lambda: conversations.newest_turns(partition, lease.conversation, lease.request_id)
        )
        model = lease.payload.get("params", {}).get("model")
        bounds = self._tools.bounds.known(self.source.context_tokens(model))
        return prompt.build(lease.payload, remember(turns, lease.request_id), bounds)


def encoded(piece: Piece) -> bytes:
    """The stored value of the entry for a piece."""
    match piece.kind:
        case "delta" | "reasoning" | "refusal":
            return encode_text(piece.kind, piece.text, piece.x)
        case _:
            return encode_data(piece.kind, piece.data or {})
