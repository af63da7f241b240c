"""A function as the source of one attempt."""

import json
from typing import Any

from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.leases import Lease
from tickertape.broker.marks import Checkpoint
from tickertape.broker.principals import tenant_of
from tickertape.worker.functions.answer import FunctionAnswer, Start
from tickertape.worker.functions.context import Context
from tickertape.worker.functions.definition import Function
from tickertape.worker.functions.marking import AttemptMarking
from tickertape.worker.functions.pieces import PieceMaker
from tickertape.worker.functions.request import Request
from tickertape.worker.source import Origin, Stored, output_until
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.tally import Tally


class FunctionSource:
    """Answers the request of one lease with a function.

    A function that is cancelled may close what it holds for `stop_grace_s`.
    """

    # Each of its checkpoints says by itself where an answer may go on.
    continues = False
    answered_by = None
    is_kept = False

    def __init__(
        self,
        function: Function,
        lease: Lease,
        marking: AttemptMarking,
        stored: Stored,
        *,
        stop_grace_s: float,
    ) -> None:
        self._function = function
        self._lease = lease
        self._marking = marking
        self._stored = stored
        self._stop_grace_s = stop_grace_s
        self._checkpoint: Checkpoint | None = None

    async def prepare(self) -> None:
        """Read the checkpoint of an earlier attempt."""
        if self._lease.n > 1:
            request_id, marks = self._lease.request_id, self._stored.marks
            self._checkpoint = await self._stored.insist(lambda: marks.checkpoint(request_id))

    @property
    def _is_at_checkpoint(self) -> bool:
        """Whether all output that readers have belongs to the checkpoint."""
        at = Cursor(self._lease.attempt, 0)
        return self._checkpoint is not None and self._checkpoint.at == at

    def can_continue(self, body: dict[str, Any], tally: Tally) -> bool:
        """Whether the function has a checkpoint behind all of the output."""
        del body, tally
        return self._is_at_checkpoint

    def has_another(self, body: dict[str, Any], tally: Tally) -> bool:
        """A function is no matter of upstreams."""
        del body, tally
        return False

    def kept(self, entries: list[Entry]) -> Tally:
        """The output of earlier attempts."""
        tally = Tally()
        for piece in output_until(entries, Cursor(self._lease.attempt, 0)):
            tally.add(piece)
        return tally

    def discard(self) -> None:
        """A function is stopped with its attempt."""

    def context_tokens(self, model: str | None) -> int | None:
        """Not known."""
        del model
        return None

    def shown_usage(self, body: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """All of it."""
        del body
        return usage

    def origin(self, body: dict[str, Any]) -> Origin:
        """The function's name."""
        del body
        return Origin("function", self._function.name)

    def stream(
        self, body: dict[str, Any], tally: Tally, limits: Limits, *, request_id: str
    ) -> FunctionAnswer:
        """The answer of the function."""
        maker = PieceMaker(tally, request_id, limits.document_bytes)

        async def prepare() -> Start:
            logs = self._stored.logs
            entries = await self._stored.insist(lambda: logs.entries(request_id))
            return self._start(entries, body, maker, limits)

        return FunctionAnswer(
            self._function,
            prepare,
            maker,
            self._marking,
            limits,
            stop_grace_s=self._stop_grace_s,
        )

    def _start(
        self, entries: list[Entry], body: dict[str, Any], maker: PieceMaker, limits: Limits
    ) -> Start:
        lease, checkpoint = self._lease, self._checkpoint
        pieces = output_until(entries, checkpoint.at) if checkpoint else []
        if self._is_at_checkpoint:
            maker.keep(pieces)
        context = Context(
            lease.request_id,
            lease.n,
            limits.deadline_s,
            state=json.loads(checkpoint.state) if checkpoint else None,
            text="".join(piece.text for piece in pieces if piece.kind == "delta"),
            keep=self._marking.keep,
        )
        # A fail-over of Redis can lose the whole log. The first write then ends the attempt.
        request = request_of(lease, body, entries[0].data if entries else {})
        return Start(request, context, [] if self._is_at_checkpoint else pieces)


def request_of(lease: Lease, body: dict[str, Any], queued: dict[str, Any]) -> Request:
    """The request for a function. `queued` is the data of the log's first entry."""
    payload = lease.payload
    messages, new = body["messages"], payload["messages"]
    first_new = len(messages) - len(new)
    _, _, user = lease.tenant.partition("~")
    given = payload.get("for_functions", {})
    return Request(
        messages=messages,
        input=messages[first_new:],
        history=messages[len(payload.get("role_messages", ())) : first_new],
        id=lease.request_id,
        model=str(body.get("model", "")),
        params=dict(payload.get("params", {})),
        metadata=queued.get("metadata") or {},
        tenant=tenant_of(lease.tenant),
        user=user or None,
        conversation_id=queued.get("conversation_id"),
        state=given.get("state"),
        forwarded_props=given.get("forwarded_props", {}),
    )
