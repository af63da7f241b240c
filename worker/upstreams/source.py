"""The table of upstreams as the source of an attempt."""

from functools import partial
from typing import Any

from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.errors import Fenced
from tickertape.broker.leases import Attached, Lease
from tickertape.worker.source import Origin, Stored, Written, kept_text, output_until
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.answer import TableAnswer
from tickertape.worker.upstreams.kept import KeptAnswer
from tickertape.worker.upstreams.roster import UpstreamTable


class TableSource:
    """Answers the request of one attempt. `tried` has the upstreams that failed for the request."""

    def __init__(
        self,
        table: UpstreamTable,
        tried: set[str],
        lease: Lease,
        written: Written,
        stored: Stored,
    ) -> None:
        self._table = table
        self._tried = tried
        self._lease = lease
        self._written = written
        self._stored = stored
        self._answer: TableAnswer | None = None
        # The answer that attempts after this one are to find, and the one that they would find.
        self._wanted: Attached | None = None
        self._recorded = at = lease.attached
        is_within_reach = at is not None and table.keeping_of(at) is not None
        self._attached = at if is_within_reach else None
        self._is_recording = False
        self._kept: KeptAnswer | None = None

    async def prepare(self) -> None:
        """The lease names the answer of an earlier attempt that an upstream keeps."""

    def kept(self, entries: list[Entry]) -> Tally:
        """The text, and whether there was other output, which no upstream continues.

        All output, if the upstream keeps the answer.
        """
        if self._attached is None:
            return kept_text(entries)
        tally = Tally()
        for piece in output_until(entries, Cursor(self._lease.attempt, 0)):
            tally.add(piece)
        return tally

    @property
    def continues(self) -> bool:
        """Whether any upstream of the table continues partial answers."""
        return self._table.continues

    @property
    def answered_by(self) -> str | None:
        """The name of the upstream that was called last."""
        return None if self._answer is None else self._answer.answered_by

    def can_continue(self, body: dict[str, Any], tally: Tally) -> bool:
        """Whether any upstream that serves the model can go on from the output in `tally`."""
        if self._attached is not None and self._answer is None:
            return tally.has_output
        return tally.has_output and bool(self._table.able(body, tally))

    def has_another(self, body: dict[str, Any], tally: Tally) -> bool:
        """Whether an upstream that has not failed for this request can answer now.

        With output in `tally`, one that can go on from that output.
        """
        able = self._table.able(body, tally)
        return any(each.row.name not in self._tried and each.breaker.admits for each in able)

    def context_tokens(self, model: str | None) -> int | None:
        """The smallest context of the upstreams that serve a model, so that each can answer."""
        known = (each.context_tokens(model) for each in self._table.serving(model))
        return min((each for each in known if each is not None), default=None)

    def shown_usage(self, body: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """The usage as far as the tenant may see it."""
        member = None if self._answer is None else self._answer.member
        return usage if member is None else member.upstream.shown_usage(body, usage)

    def origin(self, body: dict[str, Any]) -> Origin:
        """The model in use. Which upstream is called is not known before the call."""
        return Origin("upstream", "table", body.get("model") or self._table.model)

    def stream(
        self, body: dict[str, Any], tally: Tally, limits: Limits, *, request_id: str
    ) -> TableAnswer:
        """The answer of the first upstream that gives one."""
        self._kept = KeptAnswer(self._attached, self._record)
        self._answer = self._table.stream(
            body, tally, limits, request_id=request_id, tried=self._tried, kept=self._kept
        )
        return self._answer

    @property
    def is_kept(self) -> bool:
        """Whether an upstream keeps the answer."""
        at = self._attached if self._kept is None else self._kept.at
        return at is not None

    def discard(self) -> None:
        """Have the upstream end the last answer, if it keeps it.

        Before this attempt has an answer, that is the answer of an earlier attempt.
        """
        if self._answer is not None:
            self._answer.discard()
        elif self._attached is not None:
            self._table.end_answer(self._attached)

    def _record(self, at: Attached | None) -> None:
        self._wanted = at
        if not self._is_recording:
            self._is_recording = True
            self._table.do_later(self._record_wanted())

    async def _record_wanted(self) -> None:
        """Record the answer that is wanted last. One call at a time, because calls are repeated."""
        try:
            while (at := self._wanted) != self._recorded:
                await self._stored.insist(partial(self._stored.marks.attach, self._lease, at))
                self._recorded = at
        except Fenced:
            self._written.fenced()
        finally:
            self._is_recording = False
