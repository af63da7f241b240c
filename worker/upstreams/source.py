"""The table of upstreams as the source of an attempt."""

from typing import Any

from tickertape.broker.codec import Entry
from tickertape.worker.source import Origin, kept_text
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.answer import TableAnswer
from tickertape.worker.upstreams.roster import UpstreamTable


class TableSource:
    """Answers the request of one attempt. `tried` has the upstreams that failed for the request."""

    def __init__(self, table: UpstreamTable, tried: set[str]) -> None:
        self._table = table
        self._tried = tried
        self._answer: TableAnswer | None = None

    async def prepare(self) -> None:
        """The upstreams are known from their lists of models."""

    def kept(self, entries: list[Entry]) -> Tally:
        """The text, and whether there was other output, which no upstream continues."""
        return kept_text(entries)

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
        self._answer = self._table.stream(
            body, tally, limits, request_id=request_id, tried=self._tried
        )
        return self._answer
