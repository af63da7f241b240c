"""The rules that write: each asks the model what is to come, then the broker."""

from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    precondition,
    rule,
)
from pydantic import SecretStr

from tests.broker.model import MAX_CRASHES, POOLS, QUEUE_LIMIT, TENANT_LIMIT, Model
from tests.broker.stories import Request
from tests.broker.subject import Subject
from tests.support.given_settings import GivenSettings
from tickertape.broker import errors, request_ids
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.kinds import OnBusy, Policy, Terminal
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.queue import Gap
from tickertape.broker.submission import Submission, Submitted

LIMITS = GivenSettings(
    lease_s=300,
    max_crashes=MAX_CRASHES,
    queue_limit=QUEUE_LIMIT,
    tenant_limit=TENANT_LIMIT,
    webhooks=Path("not read here"),
    history_url=SecretStr("sqlite:///not-opened-here"),
)
REFUSALS = {
    "CONFLICT": errors.IdempotencyConflict,
    "FULL": errors.QueueFull,
    "TENANT_LIMIT": errors.TenantLimitReached,
    "BUSY": errors.ConversationBusy,
    "FENCED": errors.Fenced,
    "GAP": errors.LogLost,
    "MISSING": errors.RequestMissing,
    "ACTIVE": errors.NotFinished,
}
tenants = st.sampled_from(["ann", "bob"])
conversations = st.sampled_from([None, None, "one", "two"])
texts = st.lists(st.sampled_from(["a", "é", ""]), min_size=1, max_size=3)
replies_lost = st.sampled_from([1, 1, 1, 2])  # how often a call is made: its reply was lost, once
pools = st.sampled_from(["", "", *POOLS])
# Workers with one pool, with two, and with functions only.
WORKERS = {"w": ("",), "both": ("", "agent"), "functions": ("agent", "other/agent")}
# The upstreams of each worker that keep answers.
KEEPS = {"w": ("a",), "both": ("b", "a"), "functions": ()}
drifts = st.sampled_from([0, 0, 0, -2, -1, 1])  # where the writer believes the log to end


class WritingMachine(RuleBasedStateMachine):
    """Calls come twice (a reply was lost), from where no log ends, and long after their time."""

    url: str | None = None
    ids = Bundle("ids")
    leases = Bundle("leases")  # every lease ever given: most are stale

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.subject = Subject(self.url, LIMITS, WORKERS, KEEPS)
        self.turns = {name: deque(served) for name, served in WORKERS.items()}
        self.attempts: dict[str, list[int]] = {}
        self.nonces = 0
        self.order = 0

    def teardown(self) -> None:
        self.subject.close()

    @rule(
        target=ids,
        tenant=tenants,
        conversation=conversations,
        policy=st.sampled_from(["restart", "restart", "continue", "fail"]),
        on_busy=st.sampled_from(["queue", "queue", "reject", "replace"]),
        key=st.sampled_from([None, None, "k"]),
        fingerprint=st.sampled_from(["f", "f", "g"]),
        pool=pools,
        times=replies_lost,
    )
    def submit(
        self,
        *,
        tenant: str,
        conversation: str | None,
        policy: Policy,
        on_busy: OnBusy,
        key: str | None,
        fingerprint: str,
        pool: str,
        times: int,
    ) -> str:
        id_ = request_ids.new_request_id(0)
        submission = Submission(
            tenant=tenant,
            payload={"id": id_},
            question=[{"role": "user", "content": id_}],
            on_interruption=policy,
            conversation_id=conversation,
            on_busy=on_busy,
            idempotency_key=key,
            fingerprint=fingerprint,
            pool=pool,
        )
        scope = (tenant, conversation, key) if key else None
        new = Request(id_, tenant, conversation, policy, scope, pool)
        for _ in range(times):
            word, found = self.model.submit(new, fingerprint, on_busy)
            outcome = self.subject.outcome(self.subject.requests.submit(submission, id_))
            expected = REFUSALS.get(word) or Submitted(str(found), is_new=word == "OK")
            assert outcome == expected
        return id_

    @rule(
        target=leases,
        worker=st.sampled_from([*WORKERS]),
        is_new=st.sampled_from([True, True, True, False]),
        take=st.sampled_from([True, True, True, True, False]),
        suspect_ok=st.booleans(),
        can_continue=st.booleans(),
        stays_idle=st.booleans(),
        times=replies_lost,
    )
    def claim(
        self,
        worker: str,
        is_new: bool,
        take: bool,
        suspect_ok: bool,
        can_continue: bool,
        stays_idle: bool,
        times: int,
    ) -> Lease | None:
        self.nonces += is_new
        nonce = f"{worker}{self.nonces}"
        lease = None
        options = {
            "take": take,
            "suspect_ok": suspect_ok,
            "can_continue": can_continue,
            "stays_idle": stays_idle,
        }
        for _ in range(times):
            self.turns[worker].rotate(-1)
            served, keeps = self.turns[worker], KEEPS[worker]
            expected = self.model.claim(worker, served, nonce, keeps=keeps, **options)
            got = self.subject.run(self.subject.queues[worker].claim(0, nonce, **options))
            if expected is None:
                assert isinstance(got, Nothing)
                return None
            assert isinstance(got, Lease)
            self.agrees(got, expected)
            lease = got
        return lease

    @rule(lease=leases, texts=texts, drift=drifts, times=replies_lost)
    def append(self, lease: Lease | None, texts: list[str], drift: int, times: int) -> None:
        if lease is None:
            return
        first = max(1, self.seq_after(lease) + drift)
        for _ in range(times):
            word, seq = self.model.append(lease.request_id, lease.n, first, texts)
            values = [encode_text("delta", text) for text in texts]
            answer = self.subject.append(lease, first, values)
            assert answer == (word, -1 if seq is None else seq)

    @rule(drawn=st.lists(leases, max_size=3))
    def renew(self, drawn: list[Lease | None]) -> None:
        held = [lease for lease in drawn if lease is not None]
        words = [self.model.renew(lease.request_id, lease.n) for lease in held]
        refused = self.subject.run(self.subject.queue.renew(held)) if held else []
        assert [lease in refused for lease in held] == [word == "FENCED" for word in words]

    @rule(target=leases, lease=leases, can_continue=st.booleans(), times=replies_lost)
    def reopen(self, lease: Lease | None, can_continue: bool, times: int) -> Lease | None:
        if lease is None:
            return None
        self.nonces += 1
        new = None
        for _ in range(times):
            nonce = f"n{self.nonces}"
            id_, n = lease.request_id, lease.n
            expected = self.model.reopen(id_, n, nonce, can_continue=can_continue)
            got = self.subject.outcome(
                self.subject.queue.reopen(lease, nonce, "cut", can_continue=can_continue)
            )
            if not isinstance(expected, Request):
                assert got == (None if expected is None else errors.Fenced)
                return None
            assert isinstance(got, Lease)
            self.agrees(got, expected)
            new = got
        return new

    @rule(lease=leases, verb=st.sampled_from(["retry", "release"]), times=replies_lost)
    def give_back(self, lease: Lease | None, verb: str, times: int) -> None:
        if lease is None:
            return
        for _ in range(times):
            word = getattr(self.model, verb)(lease.request_id, lease.n)
            call: Coroutine[Any, Any, None] = (
                self.subject.queue.retry(lease, 3_600_000, "later")
                if verb == "retry"
                else self.subject.queue.release(lease)
            )
            assert self.subject.outcome(call) == REFUSALS.get(word)

    @rule(
        lease=leases,
        state=st.sampled_from(["completed", "completed", "failed"]),
        texts=st.just([]) | texts,
        drift=drifts,
        times=replies_lost,
    )
    def finish(
        self, lease: Lease | None, state: Terminal, texts: list[str], drift: int, times: int
    ) -> None:
        if lease is None:
            return
        first = max(1, self.seq_after(lease) + drift)
        answered = "answer" if state == "completed" else None
        values = [*(encode_text("delta", text) for text in texts), encode_data(state, {})]
        for _ in range(times):
            word, seq = self.model.finish(lease.request_id, lease.n, state, first, texts, answered)
            outcome = self.subject.outcome(
                self.subject.queue.finish(lease, state, first, values, answered=answered)
            )
            assert outcome == (Gap(int(str(seq))) if word == "GAP" else REFUSALS.get(word))

    @rule(id_=ids, tenant=tenants, times=replies_lost)
    def cancel(self, id_: str, tenant: str, times: int) -> None:
        for _ in range(times):
            word = self.model.cancel(id_, tenant)
            outcome = self.subject.outcome(self.subject.requests.cancel(id_, tenant))
            status = getattr(outcome, "status", outcome)
            assert status == REFUSALS.get(word, word)

    @rule(id_=ids, tenant=tenants)
    def erase(self, id_: str, tenant: str) -> None:
        word = self.model.erase(id_, tenant)
        assert self.subject.outcome(self.subject.requests.erase(id_, tenant)) == REFUSALS.get(word)

    @rule(id_=ids, parent=st.none() | ids, tenant=tenants, times=replies_lost)
    def follow(self, id_: str, parent: str | None, tenant: str, times: int) -> None:
        after = "" if parent is None else parent
        messages = [{"of": id_}]
        for _ in range(times):
            expected = self.model.follow(id_, tenant, after)
            call = self.subject.exchanges.follow(id_, tenant, messages, after, retention_s=60)
            outcome = self.subject.outcome(call)
            if expected is None:
                assert outcome == errors.RequestMissing
            else:
                assert outcome == [{"of": each} for each in expected]

    @rule(id_=ids, times=replies_lost)
    def compact(self, id_: str, times: int) -> None:
        r = self.model.requests.get(id_)
        for _ in range(times):
            word = self.subject.run(self.subject.compaction.compact(0, id_))
            if r is None:
                assert word == "MISSING"
            elif r.is_over:
                assert word in {"OK", "DUP"}
            else:
                assert word == "FENCED"

    @rule(tenant=tenants, conversation=st.sampled_from(["one", "two"]), really=st.integers(0, 5))
    def forget(self, tenant: str, conversation: str, really: int) -> None:
        if really:
            return
        erased = self.model.forget(tenant, conversation)
        outcome = self.subject.outcome(self.subject.conversations.forget(tenant, conversation))
        assert outcome == (errors.RequestMissing if erased is None else erased)

    @precondition(lambda self: self.in_state("running"))
    @rule(data=st.data())
    def let_a_lease_run_out(self, data: st.DataObject) -> None:
        self.lose_worker(data.draw(st.sampled_from(self.in_state("running"))))

    def lose_worker(self, id_: str) -> None:
        if id_ not in self.model.expired:
            self.order += 1
            self.model.expired.append(id_)
            self.subject.end_lease(id_, self.order)

    @precondition(lambda self: self.in_state("delayed"))
    @rule(data=st.data())
    def let_a_delay_pass(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(self.in_state("delayed")))
        if id_ not in self.model.due:
            self.order += 1
            self.model.due.append(id_)
            self.subject.make_due(id_, self.order)

    def agrees(self, got: Lease, expected: Request) -> None:
        note(f"attempt {got.n} of {got.request_id}")
        assert (got.request_id, got.n, got.opener) == (expected.id, expected.n, expected.opener)
        assert (got.tenant, got.payload["id"]) == (expected.tenant, expected.id)
        assert got.pool == expected.pool
        attached = None if got.attached is None else (got.attached.upstream, got.attached.id)
        assert attached == (expected.attached and expected.attached[:2])
        assert bool(got.conversation) == (expected.conversation is not None)

    def seq_after(self, lease: Lease) -> int:
        r = self.model.requests.get(lease.request_id)
        return 1 if r is None else r.seq + 1

    def in_state(self, state: str) -> list[str]:
        return [id_ for id_, r in self.model.requests.items() if r.state == state]
