"""What routes use: the broker, the roles, the streams and the metrics.

Each app has one Services object, made at its start; api/dependencies.py passes it to routes.
"""

import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256

from tickertape.api.asking import Ask, submission_of
from tickertape.api.edge.access import POLL_INTERVAL_S, START_WAIT_S
from tickertape.api.edge.caller import EVERYBODY, Caller
from tickertape.api.edge.listed_keys import RELOAD_INTERVAL_S, CurrentKeys
from tickertape.api.edge.prices import Price
from tickertape.api.edge.problems import Problem, draining
from tickertape.api.edge.tenant_rules import TenantRulebook, TenantRules, refuse_other_models
from tickertape.api.edge.tickets import Tickets
from tickertape.api.fanout.streams import Streams
from tickertape.api.fanout.watchers import INTERVAL_S
from tickertape.api.fleet_status import FleetStatus
from tickertape.api.fleet_watch import FleetWatch
from tickertape.api.functions import pool_of
from tickertape.api.heavy_work import CallTurns, HeavyWork
from tickertape.api.metrics import Metrics
from tickertape.api.past import Past
from tickertape.api.rates import RESTS, input_tokens, limits_of
from tickertape.api.readiness import Readiness
from tickertape.api.request_log import log_cancelled, log_erased, log_refused, log_submitted
from tickertape.api.request_trace import SubmitSpan, begin_submit, trace_known
from tickertape.api.retention import keep_of, limits_of_settings
from tickertape.broker.access import AccessRecords
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import BrokerError, RateReached, RequestMissing
from tickertape.broker.exchanges import Exchanges
from tickertape.broker.fleet import REPORT_INTERVAL_S, REPORT_TTL_S
from tickertape.broker.keys import digest
from tickertape.broker.log import Logs
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.principals import tenant_of
from tickertape.broker.requests import Record, Requests
from tickertape.broker.retention import Keep, Retention
from tickertape.broker.rights import Rights
from tickertape.broker.submission import Submission, Submitted, Tries
from tickertape.broker.summaries import ConversationList
from tickertape.broker.work_check import LOOK_AGE_S, LOOK_INTERVAL_S
from tickertape.roles import Roles
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.runtime.secret_watch import LOOK_S as SECRET_LOOK_S
from tickertape.runtime.settings import Settings


@dataclass(frozen=True)
class ApiTiming:
    """The intervals, pauses and limits of the API. Tests pass shorter ones."""

    # The file of the API keys is checked for changes at most this often.
    key_reload_s: float = RELOAD_INTERVAL_S
    # Other files of secrets are looked at this often.
    secret_look_s: float = SECRET_LOOK_S
    # The readers of waiting requests receive a new place in the queue at most this often.
    position_interval_s: float = 1.0
    # The response head of a stream is delayed this long, so that an early failure has an HTTP
    # status.
    head_delay_s: float = 10.0
    # The pause before a stream of a conversation is read again while Redis is away.
    unavailable_pause_s: float = 0.5
    # The process reports itself, and looks whether a worker is at work, this often.
    fleet_interval_s: float = REPORT_INTERVAL_S
    # A call to a process that starts waits for Redis this long.
    start_wait_s: float = START_WAIT_S
    # A change of keys or tickets is seen after this time.
    access_interval_s: float = POLL_INTERVAL_S
    # Readers of waiting requests learn that no worker is at work after this time without a sign.
    no_worker_after_s: float = REPORT_TTL_S
    # The process looks whether it can do its work this often, and a look is good for so long.
    look_interval_s: float = LOOK_INTERVAL_S
    look_age_s: float = LOOK_AGE_S
    # The readers of a conversation receive a new count of them at most this often.
    watchers_interval_s: float = INTERVAL_S


TIMING = ApiTiming()
# Two such logs of a tenant are in memory at a time, and their views.
_LARGE_LOG_BYTES = 256 * 1024


@dataclass(frozen=True)
class Services:
    """Everything below the routes. The parts raise the errors of the broker."""

    settings: Settings
    roles: Roles
    connections: Connections
    rights: Rights
    requests: Requests
    conversations: Conversations
    conversation_list: ConversationList
    past: Past
    logs: Logs
    exchanges: Exchanges
    access: AccessRecords
    tickets: Tickets
    streams: Streams
    fleet: FleetWatch
    fleet_status: FleetStatus
    metrics: Metrics
    keys: CurrentKeys | None = None
    rules: TenantRulebook = field(default_factory=lambda: TenantRulebook(None))
    timing: ApiTiming = TIMING
    readiness: Readiness = field(default_factory=Readiness)
    heavy: HeavyWork = field(default_factory=HeavyWork)
    large_reads: CallTurns = field(default_factory=lambda: CallTurns(8, 2))
    loop_watch: LoopWatch = field(default_factory=LoopWatch)

    def turn_to_read(self, record: Record) -> AbstractAsyncContextManager[None]:
        """The tenant's turn to read a large log whole; any other log is read at once."""
        if record.size_bytes < _LARGE_LOG_BYTES:
            return nullcontext()
        return self.large_reads.turn(tenant_of(record.tenant))

    async def submit(
        self,
        ask: Ask,
        *,
        caller: Caller,
        idempotency_key: str | None = None,
        sdk_try: int | None = None,
    ) -> Submitted:
        """Render the role and accept the request.

        `sdk_try` is how often an SDK has repeated the call, None if no SDK counts that. A repeated
        call finds the request of an earlier one of the same caller with the same body.

        Raises as Requests.submit and submission_of, ParentMissing, and Problem for a retention
        above the limit, for a ticket of another conversation, for a model that the caller may
        not use, for one that nobody runs, for what its tenant may not pass on to the upstream, and
        for a key that was revoked since the call began.
        """
        caller.require_conversation(ask.conversation_id)
        if ask.on_busy == "replace":
            caller.require("cancel")
        if ask.retention_s is not None and ask.conversation_id is not None:
            caller.require("erase")  # what is kept for a second is erased
        begun_s = time.monotonic()
        try:
            with begin_submit(ask.wire, caller.tenant) as span:
                submitted = await self._submit(ask, caller, idempotency_key, sdk_try, span)
        except (BrokerError, Problem) as error:
            log_refused(error, ask.wire)
            if isinstance(error, RateReached):
                RESTS.set(error.rests)
            raise
        log_submitted(submitted.request_id, ask.wire, begun_s, is_new=submitted.is_new)
        RESTS.set(submitted.rests)
        return submitted

    async def _submit(
        self,
        ask: Ask,
        caller: Caller,
        idempotency_key: str | None,
        sdk_try: int | None,
        span: SubmitSpan,
    ) -> Submitted:
        rules = self.rules.of(caller.tenant)
        keep = keep_of(
            ask.retention_s,
            self.retention_of(caller.tenant),
            self.settings,
            has_conversation=ask.conversation_id is not None,
        )
        submission = await self.heavy.run_if_heavy(
            caller.tenant,
            lambda: _with_tries(
                self._checked(ask, rules, caller, idempotency_key, keep), caller, sdk_try
            ),
        )
        caller.require_model(submission.model)
        if ask.links.parent and ask.conversation_id is not None:
            await self.conversations.check_parent(
                caller.principal, ask.conversation_id, ask.links.parent
            )
        # The body may have taken minutes to arrive.
        caller.require_permit()
        try:
            submitted = await self.requests.submit(span.marked(submission))
        except BrokerError as error:
            self.metrics.count_failed_submit(error)
            raise
        self.metrics.count_submit(is_new=submitted.is_new)
        span.accepted(submitted)
        return submitted

    def _checked(
        self, ask: Ask, rules: TenantRules, caller: Caller, idempotency_key: str | None, keep: Keep
    ) -> Submission:
        """The submission of a call that may pass on what it has; raises Problem, RoleNotFound."""
        rules.check(ask)
        if caller.models is not None or rules.models is not None:
            refuse_other_models(ask)
        submission = submission_of(
            ask,
            self.roles,
            tenant=caller.principal,
            idempotency_key=idempotency_key,
            keep=keep,
            cache_key=self._cache_key(caller),
            limited=rules.limited,
        )
        model = submission.model or self.settings.openai_model
        pool = pool_of(
            model,
            self.fleet.members,
            lambda name: rules.allows_model(name) and caller.may_use(name),
        )
        if pool != UPSTREAM and ask.for_functions:
            payload = {**submission.payload, "for_functions": ask.for_functions}
            submission = replace(submission, payload=payload)
        price = self.rules.price(rules, model)
        return _limited(submission, pool, rules, caller, price)

    def _cache_key(self, caller: Caller) -> str | None:
        # A tenant of a closed API may have the name of the only one of an open API.
        is_shared = caller == EVERYBODY or self.settings.prompt_cache == "shared"
        return None if is_shared else digest("prompt cache", caller.principal)

    def retention_of(self, principal: str) -> Retention:
        """How long the data of a tenant, or of one of its users, may be kept."""
        limits = limits_of_settings(self.settings)
        if self.keys is None:
            return limits
        return limits.limited(*self.keys().retention(tenant_of(principal)))

    def refuse_while_draining(self) -> None:
        """Accept no call that could not be answered before the process stops; raises Problem."""
        if self.streams.is_draining:
            raise draining()

    async def cancel(self, request_id: str, tenant: str) -> str:
        """End a request; returns its status. Raises RequestMissing, Unavailable."""
        begun_s = time.monotonic()
        self.metrics.count_cancel()
        with trace_known("cancel", request_id, tenant, self.requests.get):
            cancelled = await self.requests.cancel(request_id, tenant)
        if cancelled.is_new:
            self.metrics.count_cancelled(time.monotonic() - begun_s)
        log_cancelled(request_id, cancelled.status)
        return cancelled.status

    async def erase(self, request_id: str, tenant: str) -> None:
        """Erase a request, which is cancelled first. Raises RequestMissing, Unavailable."""
        await self.past.erase(request_id, tenant, self._erase(request_id, tenant))
        log_erased(request_id)

    async def _erase(self, request_id: str, tenant: str) -> None:
        await self.cancel(request_id, tenant)
        await self.requests.erase(request_id, tenant)

    async def forget(self, tenant: str, conversation_id: str) -> None:
        """Erase a conversation with all its requests. Raises RequestMissing, Unavailable."""
        forgetting = self.conversations.forget(tenant, conversation_id)
        await self.past.forget(tenant, conversation_id, forgetting)
        log_erased()

    async def erase_turn(self, tenant: str, conversation_id: str, request_id: str) -> None:
        """Erase a turn, and its request with its log; an active request is cancelled first.

        Raises RequestMissing when the conversation has no such turn, and Unavailable.
        """
        erasing = self._erase_turn(tenant, conversation_id, request_id)
        await self.past.erase(request_id, tenant, erasing, conversation_id=conversation_id)

    async def _erase_turn(self, tenant: str, conversation_id: str, request_id: str) -> None:
        try:
            record = await self.requests.get(request_id, tenant)
        except RequestMissing:
            await self.conversations.erase_turn(tenant, conversation_id, request_id)
            return
        if record.head.get("conversation_id") != conversation_id:
            raise RequestMissing("The conversation has no such turn.")
        await self._erase(request_id, tenant)
        log_erased(request_id)

    async def position(self, record: Record) -> int | None:
        """How many requests are started before this one; None if it is not queued."""
        if record.state != "queued":
            return None
        return await self.requests.position(record.request_id, record.tenant)


def _limited(
    submission: Submission, pool: str, rules: TenantRules, caller: Caller, price: Price | None
) -> Submission:
    """A submission with its pool and limits, and encoded, which the loop need not make."""
    prompt_tokens = input_tokens(submission.encoded.payload)
    return submission.limited(
        pool=pool,
        tenant_limit=rules.concurrent,
        user_limit=rules.user_concurrent if caller.user is not None else None,
        kept_limit=rules.kept_bytes,
        weight=str(rules.weight or 1),
        rates=limits_of(rules, caller, submission.payload["params"], prompt_tokens, price),
        input_tokens=prompt_tokens,
    )


def _with_tries(submission: Submission, caller: Caller, sdk_try: int | None) -> Submission:
    if sdk_try is None:
        return submission
    encoded = submission.encoded
    bodies = (sha256(body).hexdigest() for body in (encoded.payload, encoded.queued))
    name = digest("tries", caller.principal, caller.key_id or "", *bodies)
    return submission.limited(tries=Tries(name, is_retry=sdk_try > 0))
