"""The upstreams of the table while a worker runs: their clients, and how they fare."""

from collections import Counter
from typing import Any

import structlog

from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import (
    DeadlineExceeded,
    NoModelList,
    RateLimited,
    Rejected,
    UpstreamError,
)
from tickertape.worker.upstream.keeping import OnKept, keeping_of
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.breaker import Breaker, State
from tickertape.worker.upstreams.reading import KeyedRow

log = structlog.get_logger()

# An upstream that asks for a pause without a time gets this one, and none a longer one than that.
_REST_S, _LONGEST_REST_S = 1.0, 600.0
_FIRST_MEAN_OUTPUT, _MEAN_OVER = 512, 8
# What stands in a row in place of these settings.
_FIELDS = {"OPENAI_BASE_URL": "base_url", "OPENAI_API_KEY": "key", "OPENAI_MODEL": "models"}
# This key, this account or this upstream lacks what the request needs.
_REFUSED_HERE = frozenset({401, 402, 403, 404})


class Member:
    """One upstream of the table in this worker.

    `outcomes` counts the calls by how they ended: `completed`, the code of a failure, `stopped` if
    the worker ended the call, or `limited` if a limit of this server kept a request away.
    """

    def __init__(self, keyed: KeyedRow, upstream: Upstream, breaker: Breaker) -> None:
        self.row = keyed.row
        self.key_file = keyed.file
        self.upstream = upstream
        self.breaker = breaker
        self.keeping = keeping_of(keyed.row.resume, upstream)
        self.running = 0
        self.outcomes: Counter[str] = Counter()
        self.problem: str | None = None
        self.full_until_s = 0.0
        # What an answer of this upstream uses, for the next reservation.
        self.mean_output = _FIRST_MEAN_OUTPUT
        self._listed: frozenset[str] | None = None

    @property
    def is_full(self) -> bool:
        """Whether it runs as many calls as the row allows this worker."""
        return self.row.concurrency is not None and self.running >= self.row.concurrency

    def serves(self, model: str | None) -> bool:
        """Whether this upstream has a model, by its row or, without models there, by its list."""
        return model is None or model in (self._listed or self.row.names)

    @property
    def may_serve_others(self) -> bool:
        """Whether it may have models that it does not list, such as other names of those."""
        return not self.row.models

    def body_for(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with this upstream's own name of the model."""
        own_name = self.row.own_name(body.get("model"))
        return body if own_name is None else {**body, "model": own_name}

    def stream(
        self,
        body: dict[str, Any],
        tally: Tally,
        limits: Limits,
        *,
        request_id: str,
        on_kept: OnKept,
    ) -> AnswerStream:
        """The answer of this upstream, which keeps it if it can; `on_kept` then gets the id."""
        own, keeping = self.body_for(body), self.keeping
        if keeping is None or tally.has_output or not keeping.takes(own):
            return self.upstream.stream(own, tally, limits, request_id=request_id)
        return keeping.ask(own, tally, limits, request_id=request_id, on_kept=on_kept)

    def context_tokens(self, model: str | None) -> int | None:
        """The context of a model in tokens, from the row or from the upstream's list."""
        return self.row.context or self.upstream.context_tokens(self.row.own_name(model))

    async def list_models(self) -> list[dict[str, Any]]:
        """The models that requests may name, as the upstream describes them. Raises UpstreamError.

        Those that the row names are in the list even if the upstream has no list.
        """
        try:
            described = {str(each["id"]): each for each in await self.upstream.list_models()}
        except NoModelList:
            if not self.row.names:
                raise
            described = {}
        names = self.row.names if self.row.models else (*described, *self.row.aliases)
        self._listed = frozenset(names)
        return [self._described(name, described) for name in names]

    def declared(self) -> list[dict[str, Any]]:
        """The models that the row names, without asking the upstream."""
        return [{"id": name, "object": "model"} for name in self.row.names]

    def _described(self, name: str, described: dict[str, dict[str, Any]]) -> dict[str, Any]:
        own = described.get(self.row.aliases.get(name, name), {"object": "model"})
        return {**own, "id": name}

    def began(self) -> None:
        """Take note of a call."""
        self.running += 1
        self.breaker.begun()

    def completed(self, output_tokens: int) -> None:
        """Take note that the call is complete."""
        self.mean_output += (output_tokens - self.mean_output) // _MEAN_OVER
        self.outcomes["completed"] += 1
        self.answers()

    def answers(self) -> None:
        """Take note that the upstream answers."""
        self.problem = None
        self._close()

    def refused(self, error: UpstreamError) -> None:
        """Take note of a failure, and of what it says about calls to come."""
        self.outcomes[error.code.value] += 1
        speak_of_row(error)
        is_rate = isinstance(error, RateLimited)
        if is_rate or error.retry_after_s:
            self.breaker.rest(min(error.retry_after_s or _REST_S, _LONGEST_REST_S))
        if is_rate or (isinstance(error, Rejected) and error.problem is None):
            # It answered: what it refused was this request.
            self._close()
            return
        self.problem = error.problem
        if self.breaker.failed():
            log.warning(
                "upstream rests",
                upstream=self.row.name,
                code=error.code.value,
                reason=error.message,
                upstream_said=error.detail,
            )

    def stopped(self) -> None:
        """Take note that the worker ended the call, which says nothing about the upstream."""
        self.outcomes["stopped"] += 1
        self.breaker.abandoned()

    def _close(self) -> None:
        if self.breaker.state is not State.CLOSED:
            log.info("upstream answers again", upstream=self.row.name)
        self.breaker.succeeded()


def speak_of_row(error: UpstreamError) -> None:
    """Name the fields of a row in an error that speaks of the settings of a single upstream.

    Tenants read the message, so the name of the row stands beside it in the log only.
    """
    for setting, field in _FIELDS.items():
        error.message = error.message.replace(setting, f"the {field} of the upstream")


def another_may_answer(error: UpstreamError) -> bool:
    """Pure: whether another upstream may answer a request that one has failed with this error.

    A request that is wrong in itself is wrong everywhere. One may lack a model, or a right to it.
    """
    if isinstance(error, Rejected):
        return error.problem is not None or error.status in _REFUSED_HERE
    return not isinstance(error, DeadlineExceeded)
