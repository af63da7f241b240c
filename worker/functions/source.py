"""A function as the source of one attempt."""

from collections.abc import Awaitable, Callable
from typing import Any

from tickertape.broker.codec import Entry
from tickertape.broker.keys import tenant_of
from tickertape.broker.queue import Lease
from tickertape.worker.functions.answer import FunctionAnswer
from tickertape.worker.functions.context import Context
from tickertape.worker.functions.definition import Function
from tickertape.worker.functions.pieces import PieceMaker
from tickertape.worker.functions.request import Request
from tickertape.worker.source import Origin
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.tally import Tally

ReadLog = Callable[[], Awaitable[list[Entry]]]


class FunctionSource:
    """Answers the request of one lease with a function. `read_log` reads the request's log.

    A function that is cancelled may close what it holds for `stop_grace_s`.
    """

    continues = False

    def __init__(
        self, function: Function, lease: Lease, read_log: ReadLog, *, stop_grace_s: float
    ) -> None:
        self._stop_grace_s = stop_grace_s
        self._function = function
        self._lease = lease
        self._read_log = read_log

    def can_continue(self, body: dict[str, Any], tally: Tally) -> bool:
        """Never: a function starts over."""
        del body, tally
        return False

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
        """The answer of the function, which begins with an empty tally."""

        async def read_request() -> Request:
            queued = (await self._read_log())[0]
            return request_of(self._lease, body, queued.data)

        context = Context(request_id, self._lease.n, limits.deadline_s)
        maker = PieceMaker(tally, request_id, limits.document_bytes)
        return FunctionAnswer(
            self._function, read_request, context, maker, limits, stop_grace_s=self._stop_grace_s
        )


def request_of(lease: Lease, body: dict[str, Any], queued: dict[str, Any]) -> Request:
    """The request for a function. `queued` is the data of the log's first entry."""
    payload = lease.payload
    messages, new = body["messages"], payload["messages"]
    first_new = len(messages) - len(new)
    _, _, user = lease.tenant.partition("~")
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
    )
